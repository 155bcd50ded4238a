"""BiomedCLIP: a timm image tower and a BERT with their projections, as open_clip saves them."""

import dataclasses
import json
import re
from typing import Any

from etils import epath

from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained import bert, timm
from wristmir_jax.models.pretrained.folder import CONFIG_FILE, CheckpointFolder
from wristmir_jax.models.pretrained.folds import TokenTypes
from wristmir_jax.models.pretrained.layout import OPENAI, Layout, refuse
from wristmir_jax.models.pretrained.rules import Rule, linear
from wristmir_jax.models.specs import TextSpec

_BERT, _WORDS = "text.transformer.", "embeddings.word_embeddings.weight"
_POOLINGS = {"cls_last_hidden_state_pooler": "first", "mean_pooler": "mean"}
_UNUSED = r"|logit_scale|logit_bias|(.*\.)?position_ids"


def vision_layout(folder: CheckpointFolder) -> Layout:
    """The image tower with its projection.

    Raises:
        UserError: not a timm tower, or one that the towers do not have.
    """
    model = folder.config.get("model_cfg", folder.config)
    vision = model.get("vision_cfg", {})
    if "timm_model_name" not in vision:
        raise UserError(
            f"{folder.path / folder.config_file}: vision_cfg has no timm_model_name, and of "
            "open_clip's towers only timm's are known; take the model as transformers saves it"
        )
    refuse(
        folder,
        timm_proj=(vision.get("timm_proj", "linear"), "linear"),
        timm_proj_bias=(vision.get("timm_proj_bias", False), False),
    )
    preprocessing = folder.config.get("preprocess_cfg", {})
    mean, std = (
        preprocessing.get(key, value) for key, value in zip(("mean", "std"), OPENAI, strict=True)
    )
    layout = timm.trunk(
        folder,
        vision["timm_model_name"],
        {},
        pooling=vision.get("timm_pool", "avg"),
        image_size=vision.get("image_size", 224),
        statistics=(tuple(mean), tuple(std)),
    )
    assert not isinstance(layout.spec, TextSpec)
    head = "visual.head.proj"
    features = folder.shapes.get(f"{head}.weight", (model.get("embed_dim", 0),))[0]
    return dataclasses.replace(
        layout,
        spec=dataclasses.replace(layout.spec, projection=features),
        rules=layout.rules + linear("projection", head, bias=False),
        unused=layout.unused + _UNUSED + r"|text\..*",
        resize=None,
    )


def text_layout(folder: CheckpointFolder) -> Layout:
    """The text tower with its projection.

    Raises:
        UserError: not a BERT, or one that the towers do not have.
    """
    model = folder.config.get("model_cfg", folder.config)
    text = model.get("text_cfg", {})
    where = folder.path / folder.config_file
    if f"{_BERT}{_WORDS}" not in folder.shapes:
        raise UserError(
            f"{where}: the text tower is no BERT; take the model as transformers saves it"
        )
    pooler = text.get("hf_pooler_type", "mean_pooler")
    if pooler not in _POOLINGS:
        raise UserError(
            f"{where}: hf_pooler_type={pooler} is not known: {', '.join(_POOLINGS)} are"
        )
    heads, projection = _projection(folder)
    spec = TextSpec(
        **bert.sizes(folder, _bert_config(folder, text)),
        pooling=_POOLINGS[pooler],
        projection=projection,
    )
    rules: tuple[Rule, ...] = bert.rules(_BERT)
    for position, head in enumerate(heads):
        rules += linear(f"projection/{position}", head, bias=False)
    unused = r"visual\..*" + _UNUSED + rf"|{re.escape(_BERT)}pooler\..*"
    return Layout(spec, rules, (TokenTypes(),), unused)


def _projection(folder: CheckpointFolder) -> tuple[list[str], tuple[int, ...]]:
    """Names of the maps behind the pooling and their features."""
    names = [
        name
        for name in ("text.proj", "text.proj.0", "text.proj.2")
        if f"{name}.weight" in folder.shapes
    ]
    return names, tuple(folder.shapes[f"{name}.weight"][0] for name in names)


def _bert_config(folder: CheckpointFolder, text: dict[str, Any]) -> dict[str, Any]:
    """The text tower's config, which this layout leaves out: local, or as BERT's sizes have it."""
    local = epath.Path(text.get("hf_model_name") or "") / CONFIG_FILE
    if text.get("hf_model_name") and local.exists():
        return json.loads(local.read_text())
    shapes = folder.shapes
    _, width = shapes[f"{_BERT}{_WORDS}"]
    layer = re.compile(re.escape(_BERT) + r"encoder\.layer\.(\d+)\..*")
    layers = {int(found[1]) for name in shapes if (found := layer.fullmatch(name))}
    return {
        "hidden_size": width,
        "num_hidden_layers": max(layers, default=-1) + 1,
        # As all BERTs have it, BiomedBERT among them.
        "num_attention_heads": width // 64,
        "intermediate_size": shapes.get(
            f"{_BERT}encoder.layer.0.intermediate.dense.weight", (4 * width,)
        )[0],
    }
