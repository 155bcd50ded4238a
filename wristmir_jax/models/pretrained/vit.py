"""ViT, DeiT and DINOv2 (RAD-DINO; with registers too) as transformers saves them."""

from typing import Any

from wristmir_jax.models.pretrained.folder import CheckpointFolder
from wristmir_jax.models.pretrained.folds import Fold, GreyPatches, LayerScale, PrefixTokens
from wristmir_jax.models.pretrained.layout import (
    CENTRED,
    IMAGENET,
    Layout,
    activation,
    mlp_width,
    prefix_of,
    refuse,
    square,
)
from wristmir_jax.models.pretrained.rules import Rule, convolution, linear, norm, table
from wristmir_jax.models.specs import VisionSpec

MODEL_TYPES = ("vit", "deit", "dinov2", "dinov2_with_registers")

_ANCHOR = "embeddings.patch_embeddings.projection.weight"
_UNUSED = (
    r"(.*\.)?((pooler|classifier|cls_classifier|distillation_classifier|decoder)\..*|mask_token)"
)


def vision_layout(folder: CheckpointFolder) -> Layout:
    """The tower; pooled as the class token behind the last normalisation.

    Raises:
        UserError: something of the config that the towers do not have.
    """
    config = folder.config
    kind = config["model_type"]
    dinov2 = kind.startswith("dinov2")
    refuse(
        folder,
        qkv_bias=(config.get("qkv_bias", True), True),
        use_swiglu_ffn=(config.get("use_swiglu_ffn", False), False),
    )
    width = config.get("hidden_size", 768)
    hidden = config.get("intermediate_size", 3072)
    extra = {"deit": 1, "dinov2_with_registers": config.get("num_register_tokens", 4)}
    spec = VisionSpec(
        width=width,
        depth=config.get("num_hidden_layers", 12),
        num_heads=config.get("num_attention_heads", 12),
        mlp_width=mlp_width(width, int(width * config.get("mlp_ratio", 4)) if dinov2 else hidden),
        activation=activation(folder, config.get("hidden_act", "gelu")),
        epsilon=config.get("layer_norm_eps", 1e-6 if dinov2 else 1e-12),
        patch_size=square(config.get("patch_size", 14 if dinov2 else 16)),
        num_prefix_tokens=1 + extra.get(kind, 0),
        pooling="class",
    )
    prefix = prefix_of(folder, _ANCHOR, "image tower")
    mean, std = folder.pixel_statistics(*(CENTRED if kind == "vit" else IMAGENET))
    tokens = {"deit": ("class", "distillation"), "dinov2_with_registers": ("class", "registers")}
    folds: tuple[Fold, ...] = (
        PrefixTokens(tokens.get(kind, ("class",)), positioned=2 if kind == "deit" else 1),
        GreyPatches(mean, std),
    )
    if dinov2:
        folds += (
            LayerScale("attention_scale", "blocks/layers/attention/out"),
            LayerScale("mlp_scale", "blocks/layers/mlp/down"),
        )
    return Layout(spec, _rules(kind, prefix), folds, _UNUSED, resize=_resize)


def _rules(kind: str, prefix: str) -> tuple[Rule, ...]:
    embeddings, layer = f"{prefix}embeddings.", f"{prefix}encoder.layer.{{layer}}."
    attention = f"{layer}attention."
    rules = (
        *table("class", f"{embeddings}cls_token"),
        *table("position", f"{embeddings}position_embeddings"),
        *convolution("patch", f"{embeddings}patch_embeddings.projection"),
        *linear(
            "blocks/layers/attention/qkv",
            *(f"{attention}attention.{name}" for name in ("query", "key", "value")),
        ),
        *linear("blocks/layers/attention/out", f"{attention}output.dense"),
        *norm("norm", f"{prefix}layernorm"),
    )
    if kind == "deit":
        rules += table("distillation", f"{embeddings}distillation_token")
    if kind == "dinov2_with_registers":
        rules += table("registers", f"{embeddings}register_tokens")
    if kind in ("vit", "deit"):
        return (
            *rules,
            *norm("blocks/layers/norm1", f"{layer}layernorm_before"),
            *norm("blocks/layers/norm2", f"{layer}layernorm_after"),
            *linear("blocks/layers/mlp/up", f"{layer}intermediate.dense"),
            *linear("blocks/layers/mlp/down", f"{layer}output.dense"),
        )
    return (
        *rules,
        *norm("blocks/layers/norm1", f"{layer}norm1"),
        *norm("blocks/layers/norm2", f"{layer}norm2"),
        *linear("blocks/layers/mlp/up", f"{layer}mlp.fc1"),
        *linear("blocks/layers/mlp/down", f"{layer}mlp.fc2"),
        *table("attention_scale", f"{layer}layer_scale1.lambda1"),
        *table("mlp_scale", f"{layer}layer_scale2.lambda1"),
    )


def _resize(config: dict[str, Any], image_size: int) -> None:
    config["image_size"] = image_size
