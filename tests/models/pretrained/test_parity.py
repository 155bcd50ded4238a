"""Our towers give what the original classes give, from their files and back into them."""

import dataclasses

import numpy as np
import pytest

from tests.models.pretrained import originals
from tests.models.pretrained.ours import colours, image_features, text_features
from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained.export import export_text, export_vision
from wristmir_jax.models.pretrained.loading import load_text, load_vision, text_spec, vision_spec

RNG = np.random.default_rng(0)
MAX_LENGTH = 12


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of an original, written once."""
    folders = {}

    def save(name, original):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            original.save(folders[name])
        return folders[name]

    return save


def films(size, count=3):
    return RNG.random((count, size, size), dtype=np.float32)


def captions(name):
    """Token ids of three captions of different lengths."""
    pad = {"bert": 0, "bert_with_head": 0, "biomedclip": 0}.get(name, 1)
    token_TxL = RNG.integers(3, 48, (3, MAX_LENGTH))
    token_TxL[:, 0] = 2
    for row, length in enumerate((MAX_LENGTH, 7, 4)):
        token_TxL[row, length - 1] = originals.END_ID
        token_TxL[row, length:] = pad
    return token_TxL


def original_features(original, folder, image_BxHxW):
    pixels = colours(image_BxHxW, original.mean, original.std).astype(np.float32)
    return original.features(folder, pixels)


@pytest.mark.parametrize("name", originals.IMAGE)
def test_an_image_tower_gives_the_features_of_the_original(name, saved, tmp_path):
    original = originals.IMAGE[name]
    folder = saved(name, original)
    spec = vision_spec(folder)
    arrays = load_vision(folder, spec, original.image_size)
    image = films(original.image_size)
    theirs = original_features(original, folder, image)
    assert theirs.std() > 0.1
    np.testing.assert_allclose(image_features(arrays, spec, image), theirs, atol=1e-4)

    # Written back after training: other weights, in the same layout.
    trained = {key: _moved(value) for key, value in arrays.items()}
    kind = RNG.normal(size=(3, spec.width)).astype(np.float32)
    export_vision(trained | {"kind": kind}, spec, folder, tmp_path / "out", kind=1)
    trained["position"] = trained["position"] + kind[1]
    ours = image_features(trained, spec, image)
    assert np.abs(ours - theirs).max() > 0.01
    written = original_features(original, tmp_path / "out", image)
    np.testing.assert_allclose(written, ours, atol=1e-4)


@pytest.mark.parametrize("name", originals.TEXTS)
def test_a_text_tower_gives_the_features_of_the_original(name, saved, tmp_path):
    original = originals.TEXTS[name]
    folder = saved(name, original)
    spec = text_spec(folder)
    arrays = load_text(folder, spec, vocab_size=50, max_length=MAX_LENGTH)
    token_TxL = captions(name)
    theirs = original.features(folder, token_TxL)
    assert theirs.std() > 0.1
    np.testing.assert_allclose(text_features(arrays, spec, token_TxL), theirs, atol=1e-4)

    # A run with a smaller vocabulary and shorter captions.
    trained = load_text(folder, spec, vocab_size=50, max_length=7)
    trained = {key: _moved(value) for key, value in trained.items()}
    export_text(trained, spec, folder, tmp_path / "out")
    short = token_TxL[1:, :7]
    ours = text_features(trained, spec, short)
    np.testing.assert_allclose(original.features(tmp_path / "out", short), ours, atol=1e-4)


@pytest.mark.parametrize("name", ["vit", "deit", "siglip", "timm_vit", "timm_dinov2_registers"])
def test_another_image_size_is_written_into_the_config(name, saved, tmp_path):
    original = originals.IMAGE[name]
    folder = saved(name, original)
    spec = vision_spec(folder)
    size = original.image_size + 2 * spec.patch_size
    arrays = load_vision(folder, spec, size)
    image = films(size)
    export_vision(arrays, spec, folder, tmp_path / "out")
    np.testing.assert_allclose(
        original_features(original, tmp_path / "out", image),
        image_features(arrays, spec, image),
        atol=1e-4,
    )


def test_the_names_of_timm_tell_what_its_config_leaves_out():
    """Heads, activation and the rest of full-size architectures, made without memory."""
    import torch

    from wristmir_jax.models.pretrained import timm as layout

    activations = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu"}
    for name in (
        "vit_tiny_patch16_224",
        "vit_base_patch16_gap_224",
        "vit_huge_patch14_224",
        "vit_base_patch32_siglip_256",
        "vit_base_patch16_siglip_512",
        "vit_large_patch16_siglip_gap_512",
        "vit_so400m_patch14_siglip_384",
        "vit_so400m_patch16_siglip_256",
        "vit_giantopt_patch16_siglip_256",
        "vit_large_patch14_clip_quickgelu_336",
        "vit_giant_patch14_clip_224",
        "deit3_huge_patch14_224",
        "deit_small_distilled_patch16_224",
    ):
        with torch.device("meta"):
            model = originals.timm.create_model(name)
        block = model.blocks[0]
        assert layout.heads(name, model.embed_dim) == block.attn.num_heads, name
        assert layout.activation_of(name) == activations[type(block.mlp.act).__name__], name
        assert layout.epsilon(name) == block.norm1.eps, name


def test_an_image_size_that_open_clip_cannot_build_is_not_exported(saved, tmp_path):
    folder = saved("biomedclip", originals.IMAGE["biomedclip"])
    spec = vision_spec(folder)
    with pytest.raises(UserError, match="32 pixels"):
        export_vision(load_vision(folder, spec, 32), spec, folder, tmp_path / "out")


def test_frozen_layers_are_the_recipes_own(saved):
    folder = saved("vit", originals.IMAGE["vit"])
    spec = dataclasses.replace(vision_spec(folder), frozen_layers=1)
    assert (
        load_vision(folder, spec, 32).keys() == load_vision(folder, vision_spec(folder), 32).keys()
    )


def _moved(value):
    return value + RNG.normal(scale=0.02, size=value.shape).astype(np.float32)
