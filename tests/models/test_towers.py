"""The towers: shapes, unit lengths, and what must not matter does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.learning.tiny import SHAPES, tiny_config
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.state import make_model
from wristmir_jax.models import parameters
from wristmir_jax.models.dual_encoder import GLOBAL_LEVEL, REGION_LEVEL
from wristmir_jax.models.layers import ACTIVATIONS
from wristmir_jax.models.text import token_vectors

TOWERS = {"vit": configs.vit(8, 32, 2, 2), "convolutional": configs.convolutional(2, (16, 24), 1)}


@pytest.fixture(scope="module", params=TOWERS)
def model(request):
    config = tiny_config()
    config.model.global_tower = TOWERS[request.param]
    config.model.local_tower = TOWERS[request.param]
    return make_model(config, **SHAPES)


def pixels(*shape):
    return jax.random.uniform(jax.random.key(0), shape)


def test_vectors_have_unit_length(model):
    vectors = [
        model.encode_global(pixels(3, 32, 32)),
        model.encode_regions(pixels(3, 3, 16, 16)),
        model.encode_text(jnp.array([[2, 7, 3, 0], [2, 8, 9, 3]]), GLOBAL_LEVEL),
    ]
    for vector in vectors:
        np.testing.assert_allclose(jnp.linalg.norm(vector, axis=-1), 1, rtol=1e-5)


def test_a_row_does_not_depend_on_the_others_in_its_batch(model):
    crops = pixels(4, 3, 16, 16)
    together, alone = model.encode_regions(crops), model.encode_regions(crops[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_local_tower_is_told_which_region_it_sees(model):
    """After any training step; a FiLM that starts at zero is moved by hand here."""
    graph, params = parameters.split(model)
    params["local_tower/kind"] = jax.random.normal(
        jax.random.key(1), params["local_tower/kind"].shape
    )
    crop = jnp.broadcast_to(pixels(1, 1, 16, 16), (1, 3, 16, 16))
    vectors = parameters.merge(graph, params).encode_regions(crop)[0]
    assert jnp.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_padding_changes_no_text_vector(model):
    short = jnp.array([[2, 7, 11, 3]])
    padded = jnp.array([[2, 7, 11, 3, 0, 0, 0, 0]])
    np.testing.assert_allclose(
        model.encode_text(short, REGION_LEVEL), model.encode_text(padded, REGION_LEVEL), atol=1e-5
    )


def test_a_row_of_padding_is_finite_with_finite_gradients(model):
    graph, params = parameters.split(model)

    def total(params):
        tokens = jnp.array([[0, 0, 0], [2, 7, 3]])
        return parameters.merge(graph, params).encode_text(tokens, GLOBAL_LEVEL).sum()

    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.grad(total)(params)))


def test_split_and_merge_are_inverse(model):
    graph, params = parameters.split(model)
    image = pixels(2, 32, 32)
    np.testing.assert_array_equal(
        parameters.merge(graph, params).encode_global(image), model.encode_global(image)
    )


def test_bfloat16_towers_give_float32_vectors_close_to_float32_ones():
    config = tiny_config()
    exact = make_model(config, **SHAPES)
    config.model.dtype = "bfloat16"
    rounded = make_model(config, **SHAPES)
    image = pixels(2, 32, 32)
    vectors = rounded.encode_global(image)
    assert vectors.dtype == jnp.float32
    np.testing.assert_allclose(vectors, exact.encode_global(image), atol=0.05)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("gelu", lambda x: jax.nn.gelu(x, approximate=False)),
        ("gelu_tanh", lambda x: jax.nn.gelu(x, approximate=True)),
        ("quick_gelu", lambda x: x * jax.nn.sigmoid(1.702 * x)),
    ],
)
def test_activations_have_the_gradients_that_jax_takes(name, reference):
    x = jnp.linspace(-8, 8, 4001)
    ours, theirs = (jax.vmap(jax.value_and_grad(f))(x) for f in (ACTIVATIONS[name], reference))
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_the_gradient_of_a_frequent_word_is_no_coarser_in_half_precision():
    """Its 4,096 places in a batch add up beyond what bfloat16 can count to one by one."""
    table, index = jnp.zeros((4, 8), jnp.bfloat16), jnp.ones((64, 64), jnp.int32)
    gradient = jax.grad(lambda table: token_vectors(table, index).astype(jnp.float32).sum())(table)
    np.testing.assert_array_equal(gradient[1].astype(jnp.float32), 4096)
    np.testing.assert_array_equal(gradient[0].astype(jnp.float32), 0)
