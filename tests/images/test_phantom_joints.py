import numpy as np
import pytest

from wristmir_jax.images.bone_outlines import blob_outline, phantom_outlines
from wristmir_jax.images.phantom_anatomy import sample_anatomy
from wristmir_jax.images.phantom_bones import epiphyses, long_bones
from wristmir_jax.images.phantom_fractures import Injury
from wristmir_jax.images.phantom_joints import beyond, interlock
from wristmir_jax.images.phantom_parts import Blob, undulation

NEIGHBOURS = [
    ("capitate", "hamate"),
    ("capitate", "scaphoid"),
    ("scaphoid", "lunate"),
    ("lunate", "triquetrum"),
    ("hamate", "triquetrum"),
]


def ball(x: float, radius: float = 6.0) -> Blob:
    return Blob(center_x=x, half_length=radius, half_height=radius, mu_inside=0.02)


def gap(one: np.ndarray, two: np.ndarray) -> float:
    """Least distance of two outlines, mm."""
    return float(np.hypot(*(one[:, None] - two[None]).transpose(2, 0, 1)).min())


def test_neighbours_that_overlap_get_a_joint_space():
    bones = {"capitate": ball(0.0), "hamate": ball(-9.0)}
    fitted = interlock(bones, 1.5, 0.0)
    capitate, hamate = (blob_outline(fitted[name]) for name in bones)
    assert beyond([fitted["hamate"]], capitate).min() > 0.5
    assert gap(capitate, hamate) == pytest.approx(0.8 * 1.5, abs=0.5)
    # What does not face the neighbour keeps its form.
    moved = fitted["capitate"].center_x
    assert capitate[:, 0].max() - moved == pytest.approx(6.0, abs=0.4)


def test_bones_grow_towards_neighbours_within_reach_alone():
    bones = {"capitate": ball(0.0), "hamate": ball(-15.0)}
    apart, near = interlock(bones, 1.0, 0.0), interlock(bones, 1.0, 4.0)
    for name, blob in bones.items():
        np.testing.assert_allclose(blob_outline(apart[name]), blob_outline(blob), atol=1e-6)
    gaps = [gap(*map(blob_outline, bones.values())) for bones in (apart, near)]
    assert gaps[0] == pytest.approx(3.0, abs=0.05)
    assert 0.6 < gaps[1] < 2.2
    # Growth has an end, wherever the neighbour is.
    far = interlock({"capitate": ball(0.0), "hamate": ball(-22.0)}, 1.0, 1.0)
    assert gap(*map(blob_outline, far.values())) > 10.0 - 2.0 * 1.0


def test_hidden_bones_neither_change_nor_are_made_room_for():
    hidden = ball(-7.0)._replace(mu_inside=0.0)
    fitted = interlock({"capitate": ball(0.0), "hamate": hidden}, 1.5, 3.0)
    assert fitted["hamate"] == hidden
    np.testing.assert_allclose(blob_outline(fitted["capitate"]), blob_outline(ball(0.0)), atol=1e-6)


@pytest.mark.parametrize("age", [11.0, 14.0])
def test_carpals_of_the_grown_hand_lie_beside_each_other(age):
    rng = np.random.default_rng(3)
    overlaps, gaps = [], []
    for _ in range(8):
        anatomy = sample_anatomy(age, True, rng)
        bones = {name: parts[0] for name, parts in phantom_outlines(anatomy, "pa").items()}
        for one, two in NEIGHBOURS:
            gaps.append(gap(bones[one], bones[two]) / anatomy.width)
            overlaps.append(_inside(bones[one], bones[two]).mean())
    assert np.mean(overlaps) < 0.02
    assert max(overlaps) < 0.15
    assert 0.01 < np.median(gaps) < 0.09


@pytest.mark.parametrize("view", ["pa", "lateral"])
def test_the_two_sides_of_a_growth_plate_undulate_alike(view):
    rng = np.random.default_rng(5)
    for _ in range(4):
        anatomy = sample_anatomy(12.0, True, rng)
        radius, ulna = long_bones(anatomy, view)
        epiphysis, *_ = epiphyses(anatomy, Injury(), view == "lateral", 1.0, radius, ulna)
        tube = radius.tube(anatomy, 1.0)
        x = radius.end_x + np.linspace(-0.7, 0.7, 9) * radius.half
        below = undulation(x - tube.origin_x, tube.end_frequency, tube.end_phase)
        above = undulation(x - epiphysis.center_x, epiphysis.base_frequency, epiphysis.base_phase)
        np.testing.assert_allclose(below, above, atol=0.12)


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    (x, y), (x0, y0) = points.T[:, :, None], polygon.T[:, None, :]
    x1, y1 = np.roll(x0, -1, 1), np.roll(y0, -1, 1)
    crosses = (y0 > y) != (y1 > y)
    at = x0 + (y - y0) * (x1 - x0) / np.where(y1 == y0, 1.0, y1 - y0)
    return (crosses & (x < at)).sum(1) % 2 == 1
