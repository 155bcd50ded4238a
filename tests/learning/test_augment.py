"""Augmentation: what it must keep and what it must not do."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from wristmir_jax.learning import config as configs
from wristmir_jax.learning.augment import augment, to_tower_frame

NOTHING = ml_collections.ConfigDict(dict.fromkeys(configs.base().augment, 0.0))


def blob(size=33, at=(10, 20)):
    image = np.zeros((1, size, size), np.float32)
    image[0, at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2] = 1
    return jnp.array(image)


def centre(image):
    weight = np.asarray(image[0])
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(y * weight).sum(), (x * weight).sum()]) / weight.sum()


def test_nothing_asked_for_nothing_done():
    image = jax.random.uniform(jax.random.key(0), (2, 16, 16))
    np.testing.assert_allclose(augment(jax.random.key(1), image, NOTHING), image, atol=2e-4)


def test_rotation_stays_within_its_range_and_keeps_the_radius():
    config = NOTHING.copy_and_resolve_references()
    config.rotation_degrees = 20.0
    before = centre(blob()) - 16
    angles = []
    for seed in range(20):
        after = centre(augment(jax.random.key(seed), blob(), config)) - 16
        np.testing.assert_allclose(np.linalg.norm(after), np.linalg.norm(before), atol=0.3)
        cross = before[0] * after[1] - before[1] * after[0]
        angles.append(np.degrees(np.arcsin(cross / (before @ before))))
    assert max(np.abs(angles)) < 22
    assert np.ptp(angles) > 15


def test_never_a_flip():
    """A marker on the left half stays there under every other disturbance."""
    config = configs.base().augment
    for seed in range(20):
        after = centre(augment(jax.random.key(seed), blob(at=(16, 4)), config))
        assert after[1] < 16


def test_right_wrists_are_mirrored_and_left_ones_are_not():
    image = np.zeros((2, 4, 4), np.uint8)
    image[:, :, 0] = 255
    left, right = to_tower_frame(jnp.array(image), jnp.array([False, True]))
    assert (left[:, 0] == 1).all()
    assert (right[:, 3] == 1).all()
    assert (right[:, 0] == 0).all()


def test_pixels_stay_in_range():
    image = jax.random.uniform(jax.random.key(0), (8, 16, 16))
    after = augment(jax.random.key(1), image, configs.base().augment)
    assert after.min() >= 0
    assert after.max() <= 1
