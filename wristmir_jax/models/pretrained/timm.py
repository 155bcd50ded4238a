"""ViT, DeiT, CLIP, SigLIP and DINOv2 image towers as timm saves them.

timm's config names an architecture and little else: sizes are those of the tensors, and what cannot
be seen there follows from the name, as it does in timm.
"""

import re
from typing import Any

from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained.folder import CheckpointFolder
from wristmir_jax.models.pretrained.folds import (
    Fold,
    GreyPatches,
    LayerScale,
    PrefixTokens,
    Reshaped,
)
from wristmir_jax.models.pretrained.layout import (
    IMAGENET,
    Layout,
    Statistics,
    activation,
    mlp_width,
    prefix_of,
    square,
)
from wristmir_jax.models.pretrained.rules import Rule, convolution, linear, norm, table
from wristmir_jax.models.specs import VisionSpec

ARCHITECTURES = re.compile(r"(vit|deit3?)_.+")

_PATCH = "patch_embed.proj"
_UNUSED = r"(head|head_dist)\..*"
# All others have 64 features a head.
_SIXTEEN_HEADS = re.compile(r"huge|giant|gigantic|so400m|vit_base_patch16_gap")
_TANH = re.compile(
    r"giantopt|vit_(base_patch32|so400m_patch16)_siglip|vit_large_patch16_siglip(_gap)?_512"
)
_POOLINGS = {"token": "class", "avg": "mean", "map": "attention"}
_TOKENS = {"class": "cls_token", "distillation": "dist_token", "registers": "reg_token"}


def vision_layout(folder: CheckpointFolder) -> Layout:
    """The tower, without its classifier.

    Raises:
        UserError: an architecture that the towers do not have.
    """
    config = folder.config
    arguments = config.get("model_args", {})
    # Older files hold all of it at the top.
    pretrained = config.get("pretrained_cfg", config)
    size = arguments.get("img_size") or pretrained.get("input_size", (3, 224, 224))
    statistics: Statistics = (
        tuple(pretrained.get("mean", IMAGENET[0])),
        tuple(pretrained.get("std", IMAGENET[1])),
    )
    return trunk(
        folder,
        str(config["architecture"]),
        arguments,
        pooling=arguments.get("global_pool") or config.get("global_pool") or "",
        image_size=square(size),
        statistics=statistics,
    )


def trunk(
    folder: CheckpointFolder,
    architecture: str,
    arguments: dict[str, Any],
    *,
    pooling: str,
    image_size: int,
    statistics: Statistics,
) -> Layout:
    """A tower by the name of its architecture.

    Args:
        folder: the checkpoint.
        architecture: without its tag.
        arguments: that it was made with beyond those of the name.
        pooling: timm's name; empty for that of the architecture.
        image_size: of the position table.
        statistics: mean and standard deviation by channel; a preprocessor_config.json wins.

    Raises:
        UserError: an architecture that the towers do not have.
    """
    architecture = architecture.partition(".")[0]
    if not ARCHITECTURES.fullmatch(architecture):
        raise UserError(
            f"{folder.path / folder.config_file}: architecture {architecture} is not known; of "
            "timm's those named vit_, deit_ and deit3_ are"
        )
    prefix = prefix_of(folder, f"{_PATCH}.weight", "image tower")
    names = folder.shapes.keys()
    tokens = tuple(ours for ours, name in _TOKENS.items() if f"{prefix}{name}" in names)
    spec = _spec(folder, prefix, architecture, arguments, pooling)
    bias = f"{prefix}{_PATCH}.bias" in names or not spec.input_norm
    mean, std = folder.pixel_statistics(*statistics)
    folds: tuple[Fold, ...] = (
        PrefixTokens(tokens, _positioned(folder, prefix, spec, image_size)),
        GreyPatches(mean, std, bias),
    )
    rules = (*_rules(prefix), *convolution("patch", f"{prefix}{_PATCH}", bias=bias))
    for ours in tokens:
        rules += table(ours, f"{prefix}{_TOKENS[ours]}")
    if f"{prefix}blocks.0.ls1.gamma" in names:
        rules += table("attention_scale", f"{prefix}blocks.{{layer}}.ls1.gamma")
        rules += table("mlp_scale", f"{prefix}blocks.{{layer}}.ls2.gamma")
        folds += (
            LayerScale("attention_scale", "blocks/layers/attention/out"),
            LayerScale("mlp_scale", "blocks/layers/mlp/down"),
        )
    if spec.input_norm:
        rules += norm("input_norm", f"{prefix}norm_pre")
    if spec.pooling == "attention":
        rules += _pooling(f"{prefix}attn_pool.")
        folds += (Reshaped("pooling/query"),)
    return Layout(spec, rules, folds, re.escape(prefix) + _UNUSED, resize=_resize)


def _spec(
    folder: CheckpointFolder,
    prefix: str,
    architecture: str,
    arguments: dict[str, Any],
    pooling: str,
) -> VisionSpec:
    width, _, _, patch_size = folder.shapes[f"{prefix}{_PATCH}.weight"]
    block = re.compile(re.escape(prefix) + r"blocks\.(\d+)\..*")
    layers = {int(found[1]) for name in folder.shapes if (found := block.fullmatch(name))}
    hidden = folder.shapes.get(f"{prefix}blocks.0.mlp.fc1.weight", (4 * width,))[0]
    rows = [folder.shapes.get(f"{prefix}{name}", (1, 0, 0))[-2] for name in _TOKENS.values()]
    mapped = f"{prefix}attn_pool.latent" in folder.shapes
    pooling = pooling or ("map" if mapped else "avg" if "_gap" in architecture else "token")
    _check_pooling(folder, prefix, pooling, sum(rows))
    num_heads = arguments.get("num_heads") or heads(architecture, width)
    if not num_heads:
        raise UserError(
            f"{folder.path / folder.config_file}: how many heads {architecture} of width {width} "
            "has is not known: add num_heads to model_args"
        )
    return VisionSpec(
        width=width,
        depth=max(layers, default=-1) + 1,
        num_heads=num_heads,
        mlp_width=mlp_width(width, hidden),
        activation=activation(folder, arguments.get("act_layer") or activation_of(architecture)),
        epsilon=epsilon(architecture),
        patch_size=patch_size,
        num_prefix_tokens=sum(rows),
        input_norm=f"{prefix}norm_pre.weight" in folder.shapes,
        pooling=_POOLINGS[pooling],
    )


def _check_pooling(folder: CheckpointFolder, prefix: str, pooling: str, num_prefix: int) -> None:
    where = folder.path / folder.config_file
    if pooling not in _POOLINGS:
        raise UserError(f"{where}: global_pool={pooling} is not known: {', '.join(_POOLINGS)} are")
    if f"{prefix}fc_norm.weight" in folder.shapes:
        raise UserError(f"{where}: fc_norm normalises behind the pooling, which the towers do not")
    if pooling == "map" and num_prefix:
        raise UserError(f"{where}: global_pool=map beside a class token is not what the towers do")


def heads(architecture: str, width: int) -> int:
    """Heads of an architecture of timm; 0 where its name does not tell."""
    if _SIXTEEN_HEADS.search(architecture):
        return 16
    return 0 if width % 64 else width // 64


def activation_of(architecture: str) -> str:
    """Activation of an architecture of timm."""
    if "quickgelu" in architecture:
        return "quick_gelu"
    return "gelu_tanh" if _TANH.search(architecture) else "gelu"


def epsilon(architecture: str) -> float:
    """Of the normalisations of an architecture of timm."""
    return 1e-5 if "clip" in architecture else 1e-6


def _positioned(folder: CheckpointFolder, prefix: str, spec: VisionSpec, image_size: int) -> int:
    """How many prefix tokens the position table has rows for: all of them or none."""
    rows = folder.shapes.get(f"{prefix}pos_embed", (1, 0, 0))[-2]
    positioned = rows - (image_size // spec.patch_size) ** 2
    if rows and positioned not in (0, spec.num_prefix_tokens):
        raise UserError(
            f"{folder.path}: pos_embed has {rows} rows, which do not fit images of {image_size} "
            f"pixels in patches of {spec.patch_size}"
        )
    return positioned


def _rules(prefix: str) -> tuple[Rule, ...]:
    layer = f"{prefix}blocks.{{layer}}."
    return (
        *table("position", f"{prefix}pos_embed"),
        *norm("blocks/layers/norm1", f"{layer}norm1"),
        *linear("blocks/layers/attention/qkv", f"{layer}attn.qkv"),
        *linear("blocks/layers/attention/out", f"{layer}attn.proj"),
        *norm("blocks/layers/norm2", f"{layer}norm2"),
        *linear("blocks/layers/mlp/up", f"{layer}mlp.fc1"),
        *linear("blocks/layers/mlp/down", f"{layer}mlp.fc2"),
        *norm("norm", f"{prefix}norm"),
    )


def _pooling(prefix: str) -> tuple[Rule, ...]:
    return (
        *table("pooling/query", f"{prefix}latent"),
        *linear("pooling/q", f"{prefix}q"),
        *linear("pooling/kv", f"{prefix}kv"),
        *linear("pooling/out", f"{prefix}proj"),
        *norm("pooling/norm", f"{prefix}norm"),
        *linear("pooling/mlp/up", f"{prefix}mlp.fc1"),
        *linear("pooling/mlp/down", f"{prefix}mlp.fc2"),
    )


def _resize(config: dict[str, Any], image_size: int) -> None:
    config.setdefault("model_args", {})["img_size"] = image_size
    pretrained = config.get("pretrained_cfg", config)
    pretrained["input_size"] = [*pretrained.get("input_size", [3])[:1], image_size, image_size]
