"""What a step would take, from programs that were compiled for fake devices."""

import numpy as np
import pytest

from tests.data.test_pipeline import MemorySource
from tests.learning.fake_devices import run_on_eight_devices
from tests.learning.tiny import tiny_config
from wristmir_jax.data.pipeline import RECORD_INDEX, TextShapes, training_batches
from wristmir_jax.data.sampler import RecordOrder
from wristmir_jax.learning.dry_run import Shapes, abstract_batch
from wristmir_jax.learning.sharding import make_mesh
from wristmir_jax.models.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def steps():
    return run_on_eight_devices("tests.learning.split_steps")


@pytest.mark.parametrize("micro_batches", ["1", "2"])
def test_only_parameters_gradients_and_the_ring_of_the_loss_are_sent(steps, micro_batches):
    step = steps[micro_batches]
    assert step["unexpected"] == []
    assert {"all-gather", "all-reduce", "collective-permute"} <= set(step["kinds"])
    assert step["rings"] == [8]


def test_activations_stay_on_their_devices(steps):
    assert steps["pooled by attention"] == []


def test_micro_batches_take_less_memory_and_more_products(steps):
    whole, parts = steps["1"], steps["2"]
    assert parts["memory"][0] == whole["memory"][0]
    assert parts["memory"][1] < whole["memory"][1]
    assert parts["flops"][0] == whole["flops"][0]
    assert parts["flops"][1] > 1.2 * whole["flops"][1]
    assert "128 exams a step in 2 micro-batches" in parts["printed"]


def test_the_batch_that_is_compiled_for_is_the_one_of_the_pipeline():
    config = tiny_config()
    config.batch_size = 8
    tokenizer = train_tokenizer(["caption again the radius ulna"], 200)
    source = MemorySource()
    lengths = (config.model.global_text_length, config.model.region_text_length)
    batch = next(
        training_batches(
            source,
            RecordOrder(np.ones(len(source)), 8, seed=0),
            tokenizer,
            TextShapes(*lengths, capacity_fractions=(1.0,)),
            batch_size=8,
            seed=0,
        )
    )
    abstract = abstract_batch(config, Shapes(8, 4, 2, 200), make_mesh())
    given = {name: (array.shape, array.dtype) for name, array in batch.items()}
    del given[RECORD_INDEX]
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in abstract.items()} == given
