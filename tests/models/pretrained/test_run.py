"""A run that starts from pretrained towers."""

import dataclasses

import jax
import ml_collections
import numpy as np
import pytest

from tests.end_to_end.commands import CONFIG, refuse, succeed
from tests.learning.tiny import SHAPES, tiny_config
from tests.models.pretrained import originals
from wristmir_jax.errors import UserError
from wristmir_jax.learning.dry_run import Shapes
from wristmir_jax.learning.inference import load_embedder
from wristmir_jax.learning.pretraining import load_pretrained, with_pretrained
from wristmir_jax.learning.sharding import make_mesh
from wristmir_jax.learning.state import plan_state
from wristmir_jax.models.pretrained.loading import load_vision, vision_spec


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip")
    originals.IMAGE["siglip"].save(folder)
    return folder


def config_of(folder):
    config = tiny_config()
    spec = vision_spec(folder)
    config.model.global_tower = ml_collections.ConfigDict(dataclasses.asdict(spec))
    config.pretrained.global_tower = str(folder)
    return config, spec


def test_the_towers_of_a_new_run_are_those_of_the_folder(siglip):
    config, spec = config_of(siglip)
    loaded = load_pretrained(config, Shapes(**SHAPES))
    _, _, init = plan_state(config, make_mesh(), **SHAPES)
    start = init()
    state = with_pretrained(init(), loaded)
    expected = load_vision(siglip, spec, SHAPES["image_size"])
    for name, value in state.parameters.items():
        tower, _, inside = name.partition("/")
        if tower == "global_tower" and inside in expected:
            np.testing.assert_array_equal(value, expected[inside])
            np.testing.assert_array_equal(state.average[name], value)
        else:
            np.testing.assert_array_equal(value, start.parameters[name])
    assert len(loaded) == len(expected) > 10
    # What a step gives back takes the place of what it was given: no array may stand twice.
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(set(pointers)) == len(pointers)


def test_a_recipe_that_does_not_describe_the_folder_is_refused(siglip):
    config, _ = config_of(siglip)
    config.model.global_tower.activation = "gelu"
    with pytest.raises(UserError, match=r"config\.model\.global_tower\.activation"):
        load_pretrained(config, Shapes(**SHAPES))


RECIPE = """
import dataclasses, ml_collections
from tests.end_to_end.config import get_config as tiny
from wristmir_jax.models.pretrained.loading import vision_spec


def get_config():
    config = tiny()
    spec = vision_spec({folder!r})
    config.model.global_tower = ml_collections.ConfigDict(dataclasses.asdict(spec))
    config.pretrained.global_tower = {folder!r}
    config.optimizer.learning_rate = 0.0
    config.total_steps = 2
    return config
"""


def test_the_command_starts_from_it_and_a_missing_folder_is_one_line(siglip, tmp_path):
    data = tmp_path / "data"
    succeed("prepare", source="phantom", num_exams=20, output=data, image_size=32, crop_size=16)
    recipe = tmp_path / "recipe.py"
    recipe.write_text(RECIPE.format(folder=str(siglip)))
    succeed("train", config=recipe, workdir=tmp_path / "w", config__dataset=data)
    trained = load_embedder(tmp_path / "w").params
    expected = load_vision(siglip, vision_spec(siglip), 32)
    np.testing.assert_allclose(trained["global_tower/patch/kernel"], expected["patch/kernel"])
    line = refuse(
        "train",
        config=CONFIG,
        workdir=tmp_path / "x",
        config__dataset=data,
        config__pretrained__text_tower=tmp_path / "absent",
    )
    assert "config.pretrained.text_tower=" in line and "no such folder" in line
    assert not (tmp_path / "x").exists()
