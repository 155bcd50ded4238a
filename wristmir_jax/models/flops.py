"""Floating-point operations of the model by its shapes; multiply and add are two.

Only products of matrices and convolutions count, as is usual for the share of a device's peak (MFU,
Chowdhery et al. 2022, arXiv 2204.02311, appendix B). The compiler's own count takes a loop over
layers or tiles for one pass.
"""

import dataclasses
import itertools

import ml_collections

from wristmir_jax.models.specs import TextSpec, TransformerSpec, VisionSpec

# A backward pass multiplies twice where the forward pass does once.
_PASSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """Captions that a step encodes, over all devices: rows of tokens, padding included."""

    global_rows: int
    global_length: int
    region_rows: int
    region_length: int


def train_step(
    config: ml_collections.ConfigDict,
    *,
    image_size: int,
    crop_size: int,
    num_regions: int,
    texts: Texts,
    computed: bool = False,
) -> int:
    """Of one step over all devices.

    Args:
        config: of the run.
        image_size, crop_size: pixels.
        num_regions: R.
        texts: that are encoded.
        computed: count what is computed anew to save memory as well: a second forward pass of the
            towers for micro-batches, of transformers for remat=full, and of tiled logits.
    """
    model, batch_size = config.model, config.batch_size
    num_crops = batch_size * num_regions
    augmentations = 2 if config.loss.image_weight else 1
    again = int(computed and config.micro_batches > 1)

    def tower(config: ml_collections.ConfigDict, forward: int, frozen: int) -> int:
        anew = again + int(
            computed and model.remat == "full" and config.get("kind") != "convolutional"
        )
        return (_PASSES + anew) * (forward - frozen) + (1 + again) * frozen

    def images(config: ml_collections.ConfigDict, size: int) -> int:
        forward = vision(config, size, model.patch_drop)
        return tower(config, forward, _frozen_vision(config, size, model.patch_drop))

    def captions(length: int) -> int:
        config = model.text_tower
        frozen = _frozen_blocks(TextSpec.of(config), length)
        return tower(config, text(config, length), frozen)

    towers = augmentations * batch_size * images(model.global_tower, image_size)
    towers += augmentations * num_crops * images(model.local_tower, crop_size)
    towers += texts.global_rows * captions(texts.global_length)
    towers += texts.region_rows * captions(texts.region_length)
    dim = model.embedding_dim
    widths = [
        (batch_size * augmentations, features(model.global_tower)),
        (num_crops * augmentations, features(model.local_tower)),
        (batch_size + num_crops, TextSpec.of(model.text_tower).out_features),
    ]
    heads = sum(2 * rows * width * dim for rows, width in widths)
    logits = augmentations * (1 + num_regions) * 2 * batch_size**2 * dim
    logits_passes = _PASSES + int(computed and config.loss.tile > 0)
    return towers + _PASSES * heads + logits_passes * logits


def vision(config: ml_collections.ConfigDict, image_size: int, patch_drop: float = 0.0) -> int:
    """Of one image through a vision tower."""
    if config.kind == "convolutional":
        return _convolutional(config, image_size)
    spec = VisionSpec.of(config)
    patches, width = _patches(spec, image_size, patch_drop), spec.width
    tokens = patches + spec.num_prefix_tokens
    total = 2 * patches * spec.patch_size**2 * width + _blocks(spec, tokens)
    if spec.pooling == "attention":
        total += 2 * tokens * width * 2 * width + 4 * tokens * width
        total += 4 * width**2 + 4 * width * spec.hidden
    return total + 2 * width * spec.projection


def text(config: ml_collections.ConfigDict, length: int) -> int:
    """Of one caption of `length` tokens, padding included, through a text tower."""
    spec = TextSpec.of(config)
    widths = (spec.width, *spec.projection)
    projection = sum(2 * a * b for a, b in itertools.pairwise(widths))
    return _blocks(spec, length) + projection


def features(config: ml_collections.ConfigDict) -> int:
    """Of a vision tower's output."""
    if config.kind == "convolutional":
        return 2 * config.widths[-1]
    return VisionSpec.of(config).out_features


def _blocks(spec: TransformerSpec, tokens: int) -> int:
    projections = 2 * tokens * (4 * spec.width**2 + 2 * spec.width * spec.hidden)
    attention = 2 * 2 * tokens**2 * spec.width
    return spec.depth * (projections + attention)


def _frozen_blocks(spec: TransformerSpec, tokens: int) -> int:
    """Of the blocks that are only passed forward."""
    return _blocks(spec, tokens) * spec.frozen_layers // spec.depth


def _frozen_vision(config: ml_collections.ConfigDict, image_size: int, patch_drop: float) -> int:
    if config.kind == "convolutional":
        return 0
    spec = VisionSpec.of(config)
    if not spec.frozen_layers:
        return 0
    patches = _patches(spec, image_size, patch_drop)
    below = 2 * patches * spec.patch_size**2 * spec.width
    return below + _frozen_blocks(spec, patches + spec.num_prefix_tokens)


def _patches(spec: VisionSpec, image_size: int, patch_drop: float) -> int:
    return max(1, round((1 - patch_drop) * (image_size // spec.patch_size) ** 2))


def _convolutional(config: ml_collections.ConfigDict, image_size: int) -> int:
    side = -(-image_size // config.stem_stride)
    width_in = config.widths[0]
    total = 2 * side**2 * (config.stem_stride + 2) ** 2 * width_in
    for stage, width in enumerate(config.widths):
        for block in range(config.blocks_per_stage):
            stride = 2 if stage and not block else 1
            side = -(-side // stride)
            total += 2 * side**2 * 9 * width * (width_in + width)
            if stride > 1 or width_in != width:
                total += 2 * side**2 * width_in * width
            width_in = width
    return total
