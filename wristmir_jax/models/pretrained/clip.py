"""CLIP, SigLIP and MedSigLIP as transformers saves them, both towers or one."""

from typing import Any

from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained import padding
from wristmir_jax.models.pretrained.folder import CheckpointFolder
from wristmir_jax.models.pretrained.folds import (
    Fold,
    GreyPatches,
    PoolingQuery,
    PrefixTokens,
    Reshaped,
)
from wristmir_jax.models.pretrained.layout import (
    CENTRED,
    OPENAI,
    Layout,
    activation,
    mlp_width,
    prefix_of,
    square,
)
from wristmir_jax.models.pretrained.rules import Rule, convolution, linear, norm, table
from wristmir_jax.models.specs import TextSpec, VisionSpec

CLIP_TYPES = ("clip", "clip_vision_model", "clip_text_model")
SIGLIP_TYPES = ("siglip", "siglip_vision_model", "siglip_text_model")

_VISION_ANCHOR = "embeddings.patch_embedding.weight"
_TEXT_ANCHOR = "embeddings.token_embedding.weight"
_UNUSED = r"(.*\.)?position_ids|logit_scale|logit_bias|classifier\..*|"

# Configs leave out what is the default of their class.
_CLIP = {
    "vision": {"patch_size": 32},
    "text": {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "vocab_size": 49408,
        "eos_token_id": 49407,
        "pad_token_id": 1,
    },
    "both": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
}
_SIGLIP = {
    "vision": {"patch_size": 16},
    "text": {"vocab_size": 32000, "pad_token_id": 1},
    "both": {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
}
_BOTH = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}


def vision_layout(folder: CheckpointFolder) -> Layout:
    """The image tower.

    CLIP's is pooled as the class token, and projected where the file has the projection; SigLIP's
    by attention, or as the mean where it was saved without that head.

    Raises:
        UserError: something of the config that the towers do not have.
    """
    config = _config(folder, "vision")
    siglip = folder.config["model_type"] in SIGLIP_TYPES
    prefix = prefix_of(folder, _VISION_ANCHOR, "image tower")
    head = f"{prefix}head.probe" in folder.shapes
    projection = folder.shapes.get("visual_projection.weight", (0,))[0]
    spec = VisionSpec(
        **_sizes(folder, config),
        patch_size=square(config["patch_size"]),
        num_prefix_tokens=0 if siglip else 1,
        input_norm=not siglip,
        pooling=("attention" if head else "mean") if siglip else "class",
        projection=projection,
    )
    rules = (
        *table("position", f"{prefix}embeddings.position_embedding.weight"),
        *convolution("patch", f"{prefix}embeddings.patch_embedding", bias=siglip),
        *_blocks(prefix),
        *norm("norm", f"{prefix}post_layernorm"),
    )
    mean, std = folder.pixel_statistics(*(CENTRED if siglip else OPENAI))
    folds: tuple[Fold, ...] = (
        PrefixTokens(() if siglip else ("class",), positioned=0 if siglip else 1),
        GreyPatches(mean, std, bias=siglip),
    )
    if not siglip:
        rules += (
            *table("class", f"{prefix}embeddings.class_embedding"),
            # Its name is misspelt in the original.
            *norm("input_norm", f"{prefix}pre_layrnorm"),
        )
    if projection:
        rules += linear("projection", "visual_projection", bias=False)
    if head:
        rules += _pooling(f"{prefix}head.")
        folds += (Reshaped("pooling/query"), PoolingQuery())
    unused = _UNUSED + r"text_model\..*|text_projection\..*"
    return Layout(spec, rules, folds, unused, resize=_resize)


def text_layout(folder: CheckpointFolder) -> Layout:
    """The text tower.

    CLIP's is causal and pooled at the token that ends the caption, SigLIP's at the last token, be
    it padding.

    Raises:
        UserError: something of the config that the towers do not have.
    """
    config = _config(folder, "text")
    siglip = folder.config["model_type"] in SIGLIP_TYPES
    prefix = prefix_of(folder, _TEXT_ANCHOR, "text tower")
    head = f"{prefix}head" if siglip else "text_projection"
    projection = folder.shapes.get(f"{head}.weight")
    spec = TextSpec(
        **_sizes(folder, config),
        causal=not siglip,
        pooling="last" if siglip else "end",
        pad_id=padding.pad_id(folder, config["pad_token_id"]),
        end_id=-1 if siglip else _end_id(folder, config),
        sees_padding=siglip,
        projection=projection[:1] if projection else (),
        projection_bias=siglip,
    )
    rules = (
        *table("token/embedding", f"{prefix}embeddings.token_embedding.weight"),
        *table("position", f"{prefix}embeddings.position_embedding.weight"),
        *_blocks(prefix),
        *norm("norm", f"{prefix}final_layer_norm"),
    )
    if projection:
        rules += linear("projection/0", head, bias=siglip)
    unused = _UNUSED + r"vision_model\..*|visual_projection\..*"
    return Layout(spec, rules, (), unused)


def _config(folder: CheckpointFolder, tower: str) -> dict[str, Any]:
    """Config of one tower, with the defaults that the file leaves out."""
    kind = folder.config["model_type"]
    if kind.endswith("_model") and not kind.endswith(f"_{tower}_model"):
        raise UserError(f"{folder.path} is a {kind}: it has no {tower} tower")
    given = folder.config.get(f"{tower}_config", {})
    if kind.endswith("_model"):
        given = folder.config
    family = _CLIP if kind in CLIP_TYPES else _SIGLIP
    return {**_BOTH, **family["both"], **family[tower], **(given or {})}


def _sizes(folder: CheckpointFolder, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "mlp_width": mlp_width(config["hidden_size"], config["intermediate_size"]),
        "activation": activation(folder, config["hidden_act"]),
        "epsilon": config["layer_norm_eps"],
    }


def _end_id(folder: CheckpointFolder, config: dict[str, Any]) -> int:
    # Older configs say 2 and mean the highest token, where transformers looks then.
    end_id = config["eos_token_id"]
    end_id = config["vocab_size"] - 1 if end_id == 2 else end_id
    if not isinstance(end_id, int) or not 0 <= end_id < config["vocab_size"]:
        raise UserError(
            f"{folder.path / folder.config_file}: eos_token_id={end_id} is no token of the "
            f"vocabulary of {config['vocab_size']}"
        )
    return end_id


def _blocks(prefix: str) -> tuple[Rule, ...]:
    layer = f"{prefix}encoder.layers.{{layer}}."
    attention = f"{layer}self_attn."
    return (
        *norm("blocks/layers/norm1", f"{layer}layer_norm1"),
        *linear(
            "blocks/layers/attention/qkv",
            *(f"{attention}{name}" for name in ("q_proj", "k_proj", "v_proj")),
        ),
        *linear("blocks/layers/attention/out", f"{attention}out_proj"),
        *norm("blocks/layers/norm2", f"{layer}layer_norm2"),
        *linear("blocks/layers/mlp/up", f"{layer}mlp.fc1"),
        *linear("blocks/layers/mlp/down", f"{layer}mlp.fc2"),
    )


def _pooling(head: str) -> tuple[Rule, ...]:
    return (
        *table("pooling/query", f"{head}probe"),
        Rule("pooling/qkv/kernel", (f"{head}attention.in_proj_weight",), transposed=True),
        Rule("pooling/qkv/bias", (f"{head}attention.in_proj_bias",)),
        *linear("pooling/out", f"{head}attention.out_proj"),
        *norm("pooling/norm", f"{head}layernorm"),
        *linear("pooling/mlp/up", f"{head}mlp.fc1"),
        *linear("pooling/mlp/down", f"{head}mlp.fc2"),
    )


def _resize(config: dict[str, Any], image_size: int) -> None:
    config.get("vision_config", config)["image_size"] = image_size
