"""The one config that every recipe in configs/ starts from, and its checks."""

import dataclasses
import functools
import json
from typing import Any

import ml_collections
from etils import epath

from wristmir_jax.errors import UserError
from wristmir_jax.learning.layer_rates import TOWERS
from wristmir_jax.models.layers import ACTIVATIONS
from wristmir_jax.models.specs import TextSpec, VisionSpec
from wristmir_jax.models.stack import REMAT_POLICIES


def vit(
    patch_size: int, width: int, depth: int, num_heads: int, **options: Any
) -> ml_collections.ConfigDict:
    """A vision transformer tower; `options` are further fields of `models.specs.VisionSpec`."""
    spec = VisionSpec(
        patch_size=patch_size, width=width, depth=depth, num_heads=num_heads, **options
    )
    return ml_collections.ConfigDict(dataclasses.asdict(spec))


def text(width: int, depth: int, num_heads: int, **options: Any) -> ml_collections.ConfigDict:
    """A text tower; `options` are further fields of `models.specs.TextSpec`."""
    spec = TextSpec(width=width, depth=depth, num_heads=num_heads, **options)
    return ml_collections.ConfigDict(dataclasses.asdict(spec))


def convolutional(
    stem_stride: int, widths: tuple[int, ...], blocks_per_stage: int
) -> ml_collections.ConfigDict:
    """A residual convolutional tower, the better one on a CPU."""
    return ml_collections.ConfigDict(
        dict(
            kind="convolutional",
            stem_stride=stem_stride,
            widths=widths,
            blocks_per_stage=blocks_per_stage,
        )
    )


def base() -> ml_collections.ConfigDict:
    """Every key there is, with its default and unit. Recipes change values, never add keys."""
    config = ml_collections.ConfigDict()
    # What is trained: contrastive, the dual encoder, or localizer, which finds the regions.
    config.task = "contrastive"
    # Folder that `prepare` wrote.
    config.dataset = ""
    # Records to train on: train, or all where nothing is to be held out.
    config.split = "train"
    config.total_steps = 1000
    # Radiographs a step, over all processes and devices.
    config.batch_size = 64
    # Parts in which the towers see a batch, where it does not fit at once; the loss sees all of it,
    # so the gradient is the same. Costs a second forward pass.
    config.micro_batches = 1
    config.checkpoint_every_steps = 200
    # Newest checkpoints that are kept.
    config.keep_checkpoints = 2
    config.log_every_steps = 10
    config.seed = 0

    config.loader = _loader()
    config.model = _model()
    config.pretrained = _pretrained()
    config.tokenizer = _tokenizer()
    config.loss = _loss()
    config.augment = _augment()
    config.optimizer = _optimizer()
    config.mesh = _mesh()
    config.validation = _validation()
    config.recovery = _recovery()
    config.localizer = _localizer()
    return config


def _localizer() -> ml_collections.ConfigDict:
    """Keys of config.task=localizer, which looks at none of model, loss, tokenizer and augment."""
    config = ml_collections.ConfigDict()
    # Of models.localizer.LocalizerSpec.
    config.size = 160
    config.widths = (32, 72, 144, 192)
    config.blocks = (1, 2, 2, 1)
    config.joint = 96
    # Folder of a second data set, prepared alike, that so large a fraction of the films is drawn
    # from; empty for none.
    config.mixed_dataset = ""
    config.mixed_fraction = 0.5
    config.looks = ml_collections.ConfigDict(
        dict(
            # Fraction of looks that are close ones, where the film has a region to look at; of
            # those the fraction that look elsewhere on the film.
            close=0.5,
            elsewhere=0.1,
            # Whole films: fraction that lies at any angle, standard deviations of the angle of the
            # others, of the logarithm of the scale, and of the place in sides of the film.
            any_turn=0.35,
            turn_degrees=15.0,
            film_scale=0.2,
            film_shift=0.06,
            # Fraction of looks at whole films that show a part of it, somewhere.
            part=0.2,
            # The same of close looks; the place in sides of the look.
            close_turn_degrees=9.0,
            close_scale=0.16,
            close_shift=0.09,
            # Fraction behind a shutter, fraction of each of three patches that lie on the film.
            shutter=0.25,
            things=0.15,
            # Half-widths: logarithms of gamma and contrast; brightness, uneven light, noise.
            gamma=0.5,
            contrast=0.45,
            brightness=0.12,
            light=0.25,
            noise=0.08,
            # Fraction of negatives.
            inverted=0.03,
        )
    )
    return config


def _loader() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Worker processes that read and tokenise; 0 does so in the training process.
    config.num_workers = 0
    # Batches that each worker keeps ready.
    config.buffer_size = 2
    # A batch of N captions is stored as its distinct ones, padded to the smallest of these
    # fractions of N that holds them. Each fraction that occurs compiles the step once.
    config.text_capacities = (0.5, 1.0)
    # In the same way captions are cut to the smallest of these fractions of their length in tokens
    # that holds the longest of a batch.
    config.text_lengths = (1.0,)
    # 0 draws records evenly; 1 draws each region status equally often.
    config.balance = 0.5
    # Fraction of a batch that is drawn from the neighbours of the rest: images that an earlier
    # model took for alike, of other patients and captions. 0 draws none.
    config.hard_negatives = 0.0
    # Folder that `embed --neighbours=32` wrote; the run keeps a copy of what it needs of it.
    config.hard_negatives_from = ""
    return config


def _model() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Precision of the towers: float32 or bfloat16. Parameters and loss stay in float32.
    config.dtype = "float32"
    config.embedding_dim = 128
    config.global_tower = convolutional(4, (32, 64, 128, 192), 1)
    config.local_tower = convolutional(2, (24, 48, 96, 160), 1)
    config.text_tower = text(128, 2, 4)
    # Tokens; longer captions are cut.
    config.global_text_length = 96
    config.region_text_length = 32
    config.initial_scale = 10.0
    # Fraction of the patches that a vision transformer does not look at in training, drawn for each
    # image (FLIP, arXiv 2212.00794): saves as much of its time.
    config.patch_drop = 0.0
    # What a backward pass of the transformers computes anew instead of keeping it in memory: none,
    # dots (all but the products with parameters) or full.
    config.remat = "none"
    # Towers of at most so many layers are written out for the compiler, deeper ones are loops; -1
    # writes out 24 layers on a GPU, where a loop is slow, and 4 elsewhere.
    config.unroll_layers = -1
    # xla, cudnn, or auto: cudnn where a GPU computes in bfloat16.
    config.attention = "auto"
    return config


def _pretrained() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Folders in Hugging Face, timm or open_clip layout that the towers start from; empty starts at
    # random. One folder may serve several towers.
    config.global_tower = ""
    config.local_tower = ""
    config.text_tower = ""
    # File of a localiser, or folder of a run, that config.task=localizer starts from.
    config.localizer = ""
    # Regular expressions of names in these files that may stay unused or be missing.
    config.ignore = ()
    return config


def _tokenizer() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Folder with a tokenizer.json; empty takes that of config.pretrained.text_tower, or trains one
    # on the captions of the data set.
    config.folder = ""
    config.vocab_size = 2048
    return config


def _loss() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # softmax over the batch, or sigmoid of each pair with a learnt bias.
    config.kind = "softmax"
    # Captions that a device compares its images with at a time, with all devices in a ring; memory
    # grows with batch_size / devices * tile. 0 holds all logits at once: fastest for small batches.
    config.tile = 0
    config.global_weight = 1.0
    config.region_weight = 1.0
    # Of a second loss, between two augmentations of each image (SLIP, Mu et al. 2022,
    # arXiv 2112.12750): it keeps images of equal captions apart, for small data sets, and takes
    # twice the time of the image towers. 0 leaves it out.
    config.image_weight = 0.0
    # Each distinct caption is one candidate. The pairs that ask count by the size of their caption
    # group in the batch to minus this power: 0 counts each pair once, 1 each distinct caption.
    config.row_exponent = 0.0
    return config


def _augment() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.rotation_degrees = 15.0
    config.scale = 0.1
    # Fraction of the image's side.
    config.shift = 0.05
    config.gamma = 0.2
    config.contrast = 0.2
    config.brightness = 0.1
    config.noise = 0.01
    return config


def _optimizer() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.learning_rate = 1e-3
    config.warmup_steps = 50
    # Cosine decay ends at this fraction of the learning rate.
    config.final_fraction = 0.01
    config.weight_decay = 0.05
    config.beta2 = 0.98
    config.clip_norm = 1.0
    # Each transformer layer learns so many times as fast as the one above it; 1 for all alike.
    # `frozen_layers` of a tower keeps its lowest layers as they are.
    config.layer_decay = 1.0
    # Decay of the average of the parameters that is exported.
    config.ema_decay = 0.99
    return config


def _mesh() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Devices that share one copy of the parameters.
    config.fsdp = 1
    return config


def _validation() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Records of the validation split on which recall is measured at every checkpoint, spread over
    # the split; the checkpoint of the highest one is kept and exported. 0 leaves it out.
    config.max_records = 0
    # The run ends after so many checkpoints without a higher recall; 0 for never.
    config.patience = 0
    return config


def _recovery() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Of several processes, those that see no step for so many seconds end and name the stalled one.
    config.stall_seconds = 300.0
    # The same before the first step, which compiles.
    config.start_seconds = 1800.0
    # Each process writes a sign of life to the workdir so often.
    config.heartbeat_seconds = 10.0
    return config


_CHOICES = {
    "task": ("contrastive", "localizer"),
    "model.dtype": ("float32", "bfloat16"),
    "model.global_tower.kind": ("vit", "convolutional"),
    "model.local_tower.kind": ("vit", "convolutional"),
    "loss.kind": ("softmax", "sigmoid"),
    "model.remat": tuple(REMAT_POLICIES),
    "model.attention": ("auto", "xla", "cudnn"),
}


def validate(config: ml_collections.ConfigDict) -> None:
    """Stop early on values that would fail late.

    Raises:
        UserError: names the key, its value and what is allowed.
    """
    if not config.dataset:
        raise UserError("config.dataset is empty: give --config.dataset=DIR, a folder of `prepare`")
    for key in (
        "total_steps",
        "batch_size",
        "micro_batches",
        "checkpoint_every_steps",
        "log_every_steps",
    ):
        if config[key] < 1:
            raise UserError(f"config.{key}={config[key]}: must be at least 1")
    for key, choices in _CHOICES.items():
        *parents, name = key.split(".")
        value = functools.reduce(lambda node, parent: node[parent], parents, config)[name]
        if value not in choices:
            raise UserError(f"config.{key}={value}: choose {' or '.join(choices)}")
    _validate_loader(config.loader)
    _validate_hard_negatives(config)
    for tower in TOWERS:
        _validate_tower(config, tower)
    _validate_loss(config.loss)
    if not 0 < config.optimizer.layer_decay <= 1:
        raise UserError(
            f"config.optimizer.layer_decay={config.optimizer.layer_decay}: must lie in (0, 1]"
        )
    if not 0 <= config.optimizer.ema_decay < 1:
        raise UserError(
            f"config.optimizer.ema_decay={config.optimizer.ema_decay}: must be in [0, 1)"
        )
    for key, value in config.validation.items():
        if value < 0:
            raise UserError(f"config.validation.{key}={value}: must be 0 or more")
    if config.validation.patience and not config.validation.max_records:
        raise UserError("config.validation.patience needs config.validation.max_records above 0")
    _validate_recovery(config.recovery)
    if config.task == "localizer":
        _validate_localizer(config)


def _validate_localizer(config: ml_collections.ConfigDict) -> None:
    for key, value, needed in (
        ("micro_batches", config.micro_batches, 1),
        ("validation.max_records", config.validation.max_records, 0),
        ("loader.hard_negatives", config.loader.hard_negatives, 0),
    ):
        if value != needed:
            raise UserError(
                f"config.{key}={value}: config.task=localizer has no use for it; leave it {needed}"
            )
    if not 0 <= config.localizer.mixed_fraction <= 1:
        raise UserError(
            f"config.localizer.mixed_fraction={config.localizer.mixed_fraction}: must lie in 0..1"
        )
    if config.localizer.size < 32 or config.localizer.size % 32:
        raise UserError(f"config.localizer.size={config.localizer.size}: must be a multiple of 32")


def _validate_loader(loader: ml_collections.ConfigDict) -> None:
    for key in ("text_capacities", "text_lengths"):
        fractions = tuple(loader[key])
        if fractions != tuple(sorted(fractions)) or not fractions or fractions[-1] != 1:
            raise UserError(f"config.loader.{key}={fractions}: must rise and end with 1.0")
    if not 0 <= loader.balance <= 1:
        raise UserError(f"config.loader.balance={loader.balance}: must lie in 0..1")


def num_hard_negatives(config: ml_collections.ConfigDict) -> int:
    """Records of a global batch that are neighbours of the others."""
    return round(config.loader.hard_negatives * config.batch_size)


def _validate_hard_negatives(config: ml_collections.ConfigDict) -> None:
    fraction, folder = config.loader.hard_negatives, config.loader.hard_negatives_from
    if not 0 <= fraction < 1:
        raise UserError(f"config.loader.hard_negatives={fraction}: must be in [0, 1)")
    if not fraction:
        return
    if not 0 < num_hard_negatives(config) < config.batch_size:
        raise UserError(
            f"config.loader.hard_negatives={fraction}: makes {num_hard_negatives(config)} of "
            f"config.batch_size={config.batch_size} records hard negatives; it must be some, not "
            "all"
        )
    if not folder:
        raise UserError(
            f"config.loader.hard_negatives={fraction} needs config.loader.hard_negatives_from, a "
            "folder that `embed --neighbours=32` wrote"
        )


def _validate_loss(loss: ml_collections.ConfigDict) -> None:
    if loss.tile < 0:
        raise UserError(f"config.loss.tile={loss.tile}: must be at least 1, or 0 for dense")
    for key in ("global_weight", "region_weight", "image_weight"):
        if loss[key] < 0:
            raise UserError(f"config.loss.{key}={loss[key]}: must be 0 or more")
    if not 0 <= loss.row_exponent <= 1:
        raise UserError(f"config.loss.row_exponent={loss.row_exponent}: must lie in 0..1")


def check_batch_size(config: ml_collections.ConfigDict, num_devices: int) -> None:
    """Refuse a batch that cannot be shared out evenly.

    Raises:
        UserError: names the keys.
    """
    if config.batch_size % (num_devices * config.micro_batches):
        raise UserError(
            f"config.batch_size={config.batch_size} is not a multiple of {num_devices} devices x "
            f"config.micro_batches={config.micro_batches}"
        )


def _validate_tower(config: ml_collections.ConfigDict, tower: str) -> None:
    keys = config.model[tower]
    if keys.get("kind") == "convolutional":
        if config.pretrained[tower]:
            raise UserError(
                f"config.pretrained.{tower}: a convolutional tower cannot start from a folder; set "
                f"config.model.{tower} to configs.vit(...)"
            )
        return
    spec_of = TextSpec if tower == "text_tower" else VisionSpec
    poolings = {
        TextSpec: ("mean", "first", "last", "end"),
        VisionSpec: ("mean", "class", "attention"),
    }
    try:
        spec = spec_of.of(keys)
    except (TypeError, ValueError) as error:
        raise UserError(f"config.model.{tower}: {error}") from None
    for key, choices in (("activation", tuple(ACTIVATIONS)), ("pooling", poolings[spec_of])):
        if keys.get(key, choices[0]) not in choices:
            raise UserError(
                f"config.model.{tower}.{key}={keys[key]}: choose {' or '.join(choices)}"
            )
    if config.pretrained[tower] and not epath.Path(config.pretrained[tower]).is_dir():
        raise UserError(f"config.pretrained.{tower}={config.pretrained[tower]}: no such folder")
    if isinstance(spec, VisionSpec):
        if spec.pooling == "class" and not spec.num_prefix_tokens:
            raise UserError(f"config.model.{tower}.num_prefix_tokens=0: pooling=class needs one")
        if not 0 <= config.model.patch_drop < 1:
            raise UserError(f"config.model.patch_drop={config.model.patch_drop}: must be in [0, 1)")
    elif spec.sees_padding and tuple(config.loader.text_lengths) != (1.0,):
        raise UserError(
            f"config.loader.text_lengths={tuple(config.loader.text_lengths)}: must be (1.0,) where "
            "config.model.text_tower.sees_padding, since cutting padding changes its vectors"
        )


def _validate_recovery(recovery: ml_collections.ConfigDict) -> None:
    for key, value in recovery.items():
        if value <= 0:
            raise UserError(f"config.recovery.{key}={value}: must be above 0")
    if min(recovery.stall_seconds, recovery.start_seconds) < 8 * recovery.heartbeat_seconds:
        raise UserError(
            f"config.recovery.heartbeat_seconds={recovery.heartbeat_seconds}: must be at most an "
            "eighth of stall_seconds and of start_seconds"
        )


# Beginnings of keys. Changing one of these between a run and its resumption changes neither the
# model nor the data; the way in which a step is computed changes its rounding.
_MAY_CHANGE = (
    *("dataset", "total_steps", "checkpoint_every_steps", "keep_checkpoints", "log_every_steps"),
    *("validation.", "recovery.", "mesh.", "micro_batches", "loss.tile", "loader.num_workers"),
    *("loader.buffer_size", "model.remat", "model.unroll_layers", "model.attention"),
)


def to_json(config: ml_collections.ConfigDict) -> str:
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ml_collections.ConfigDict:
    """The config that `to_json` wrote; keys that came later take their defaults."""
    return ml_collections.ConfigDict(_filled(json.loads(text), base().to_dict())).lock()


def _filled(given: dict, defaults: dict) -> dict:
    # A tower's keys depend on its kind: it stands as it was written.
    return given | {
        key: _filled(given.get(key, {}), default)
        if isinstance(default, dict) and not key.endswith("_tower")
        else given.get(key, default)
        for key, default in defaults.items()
    }


def check_resumable(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> None:
    """Refuse to continue a run under a config that would make it another run.

    Raises:
        UserError: names the keys that differ.
    """
    before, after = _flatten(json.loads(to_json(old))), _flatten(json.loads(to_json(new)))
    differing = [
        f"{key} (was {before.get(key)!r}, now {after.get(key)!r})"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not key.startswith(_MAY_CHANGE)
    ]
    if differing:
        raise UserError(
            "--workdir holds a run of another config: it differs in "
            + ", ".join(differing)
            + "; give another --workdir or the old values"
        )


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
