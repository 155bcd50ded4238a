"""One training step: augment, encode, compare, update."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import Mesh

from wristmir_jax.learning import state as states
from wristmir_jax.learning.augment import augment, to_tower_frame
from wristmir_jax.learning.loss import MAX_SCALE, contrastive_loss
from wristmir_jax.learning.micro_batches import in_micro_batches
from wristmir_jax.learning.pairs import PairLabels
from wristmir_jax.learning.sharding import rows_of_shard
from wristmir_jax.learning.state import TrainState
from wristmir_jax.learning.tiled_loss import tiled_loss
from wristmir_jax.models import parameters
from wristmir_jax.models.dual_encoder import GLOBAL_LEVEL, REGION_LEVEL, DualEncoder
from wristmir_jax.models.vision import ViT

DeviceBatch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
# Of (model, batch, key, config, mesh): the loss, and what is reported of it.
LossFunction = Callable[..., tuple[jax.Array, Metrics]]


def tower_inputs(batch: DeviceBatch) -> tuple[jax.Array, jax.Array]:
    """Films float32 (B, S, S) and crops (B, R, C, C) in [0, 1], right wrists mirrored to left."""
    B, R, C, _ = batch["crops"].shape
    mirrored_B = batch["mirrored"]
    crops_NxCxC = batch["crops"].reshape(B * R, C, C)
    return (
        to_tower_frame(batch["image"], mirrored_B),
        to_tower_frame(crops_NxCxC, jnp.repeat(mirrored_B, R)).reshape(B, R, C, C),
    )


def batch_loss(
    model: DualEncoder,
    batch: DeviceBatch,
    key: jax.Array | None,
    config: ml_collections.ConfigDict,
    mesh: Mesh,
) -> tuple[jax.Array, Metrics]:
    """Weighted sum of the global and the region loss of one batch, and of those between images.

    Args:
        model: the dual encoder.
        batch: of `data.pipeline.training_batches`, on the devices.
        key: of the augmentation; None leaves the pixels as they are.
        config: of the run.
        mesh: that the batch is split over.
    """
    # The towers gather the parameters that this mesh splits.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return _batch_loss(model, batch, key, config, mesh)


def _batch_loss(
    model: DualEncoder,
    batch: DeviceBatch,
    key: jax.Array | None,
    config: ml_collections.ConfigDict,
    mesh: Mesh,
) -> tuple[jax.Array, Metrics]:
    films_BxSxS, acquired_BxRxCxC = tower_inputs(batch)
    image_BxSxS, crops_BxRxCxC = films_BxSxS, acquired_BxRxCxC
    if key is not None:
        image_BxSxS, crops_BxRxCxC = _augmented(key, films_BxSxS, acquired_BxRxCxC, config)

    global_index_Bx1, region_index_BxR = (
        batch["global_text_index"][:, None],
        batch["region_text_index"],
    )
    status_BxR = batch["region_status"].astype(jnp.int32)
    scale_2 = jnp.minimum(jnp.exp(model.log_scale[...]), MAX_SCALE)

    def loss_of(level: int, image: jax.Array, text: jax.Array, labels: PairLabels) -> jax.Array:
        bias = None if model.bias is None else model.bias[level]
        options: Any = {"row_exponent": config.loss.row_exponent}
        if config.loss.tile:
            options |= {"mesh": mesh, "tile": config.loss.tile}
            return tiled_loss(image, text, labels, scale_2[level], bias, **options)
        return contrastive_loss(image, text, labels, scale_2[level], bias, **options)

    def features(tower: Callable[[Any], jax.Array], rows: Any) -> jax.Array:
        return in_micro_batches(tower, rows, config.micro_batches, mesh)

    def captions(level: int, token_TxL: jax.Array, index_BxK: jax.Array) -> jax.Array:
        # In float32, as is the sum of the gradients of all that share a caption.
        features_TxF = features(model.text_features, token_TxL).astype(jnp.float32)
        features_BxKxF = rows_of_shard(features_TxF, index_BxK, mesh)
        return model.fit_captions(features_BxKxF, index_BxK >= 0, level)

    def films(image_BxSxS: jax.Array, kept_BxK: jax.Array | None) -> jax.Array:
        rows = (image_BxSxS, kept_BxK)
        return model.fit_global(features(lambda part: model.global_features(*part), rows))[:, None]

    def regions(crops_BxRxCxC: jax.Array, kept_BxRxK: jax.Array | None) -> jax.Array:
        rows = (crops_BxRxCxC, kept_BxRxK)
        return model.fit_regions(
            features(lambda part: model.region_features(*part), rows), region_index_BxR >= 0
        )

    def kept(key: jax.Array | None) -> tuple[jax.Array | None, jax.Array | None]:
        if key is None or not config.model.patch_drop:
            return None, None
        global_key, region_key = jax.random.split(jax.random.fold_in(key, 2))
        fraction = config.model.patch_drop
        return (
            _kept_patches(global_key, image_BxSxS.shape[:1], model.global_tower, fraction),
            _kept_patches(region_key, crops_BxRxCxC.shape[:2], model.local_tower, fraction),
        )

    kept_BxK, kept_BxRxK = kept(key)
    image_Bx1xD = films(image_BxSxS, kept_BxK)
    region_BxRxD = regions(crops_BxRxCxC, kept_BxRxK)
    global_loss = loss_of(
        GLOBAL_LEVEL,
        image_Bx1xD,
        captions(GLOBAL_LEVEL, batch["global_token"], global_index_Bx1),
        PairLabels(batch["global_group"][:, None], global_index_Bx1 >= 0, status_BxR[:, None]),
    )
    region_loss = loss_of(
        REGION_LEVEL,
        region_BxRxD,
        captions(REGION_LEVEL, batch["region_token"], region_index_BxR),
        PairLabels(batch["region_group"], region_index_BxR >= 0, status_BxR[..., None]),
    )
    loss = config.loss.global_weight * global_loss + config.loss.region_weight * region_loss
    metrics = {"global_loss": global_loss, "region_loss": region_loss}
    if config.loss.image_weight and key is not None:
        again_key = jax.random.fold_in(key, 1)
        again_BxSxS, crops_again_BxRxCxC = _augmented(
            again_key, films_BxSxS, acquired_BxRxCxC, config
        )
        kept_BxK, kept_BxRxK = kept(again_key)
        # Whole films and crops have the same weights as beside the captions.
        image_loss = config.loss.global_weight * loss_of(
            GLOBAL_LEVEL,
            image_Bx1xD,
            films(again_BxSxS, kept_BxK),
            _same_pixels(batch["image"][:, None], jnp.ones_like(global_index_Bx1, bool)),
        ) + config.loss.region_weight * loss_of(
            REGION_LEVEL,
            region_BxRxD,
            regions(crops_again_BxRxCxC, kept_BxRxK),
            _same_pixels(batch["crops"], region_index_BxR >= 0),
        )
        loss += config.loss.image_weight * image_loss
        metrics["image_loss"] = image_loss
    return loss, metrics | {
        "loss": loss,
        "global_scale": scale_2[GLOBAL_LEVEL],
        "region_scale": scale_2[REGION_LEVEL],
    }


def _augmented(
    key: jax.Array,
    image_BxSxS: jax.Array,
    crops_BxRxCxC: jax.Array,
    config: ml_collections.ConfigDict,
) -> tuple[jax.Array, jax.Array]:
    B, R, C, _ = crops_BxRxCxC.shape
    global_key, region_key = jax.random.split(key)
    image_BxSxS = augment(global_key, image_BxSxS, config.augment)
    crops_NxCxC = augment(region_key, crops_BxRxCxC.reshape(B * R, C, C), config.augment)
    return image_BxSxS, crops_NxCxC.reshape(B, R, C, C)


def _kept_patches(
    key: jax.Array, leading: tuple[int, ...], tower: Any, fraction: float
) -> jax.Array | None:
    """int32 (*leading, K): for each image other patches, in the order in which they lie."""
    if not isinstance(tower, ViT):
        return None
    score = jax.random.uniform(key, (*leading, tower.num_patches))
    num_kept = max(1, round((1 - fraction) * tower.num_patches))
    return jnp.sort(jnp.argsort(score, axis=-1)[..., :num_kept], axis=-1).astype(jnp.int32)


def _same_pixels(pixels_BxKxHxW: jax.Array, valid_BxK: jax.Array) -> PairLabels:
    """Groups of equal images: a film that a batch holds twice is no negative of itself."""
    words_2xHxW = jax.random.bits(jax.random.key(0), (2, *pixels_BxKxHxW.shape[2:]), jnp.uint32)
    group_BxKx2 = jnp.einsum(
        "bkhw,chw->bkc", pixels_BxKxHxW.astype(jnp.int32), words_2xHxW.astype(jnp.int32)
    )
    return PairLabels(group_BxKx2, valid_BxK, jnp.zeros((*valid_BxK.shape, 1), jnp.int32))


def make_train_step(
    graph: Any,
    config: ml_collections.ConfigDict,
    mesh: Mesh,
    loss_function: LossFunction = batch_loss,
) -> Callable[[TrainState, DeviceBatch], tuple[TrainState, Metrics]]:
    """The function to compile: (state, batch) -> (state, metrics).

    Its randomness comes from the run's seed and the state's step, so a resumed run repeats it.
    """
    optimizer = states.make_optimizer(config)
    schedule = states.learning_rate(config)
    decay = config.optimizer.ema_decay

    def train_step(state: TrainState, batch: DeviceBatch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)

        def loss_of(
            params: parameters.Parameters,
        ) -> tuple[jax.Array, tuple[Metrics, parameters.Parameters]]:
            model = parameters.merge(graph, params)
            loss, metrics = loss_function(model, batch, key, config, mesh)
            return loss, (metrics, parameters.statistics(model))

        gradients, (metrics, statistics) = jax.grad(loss_of, has_aux=True)(state.parameters)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
        params: Any = optax.apply_updates(state.parameters, updates) | statistics
        # An average over fewer steps than its decay spans would hold on to the random start.
        step = state.step + 1
        effective = jnp.minimum(decay, (1 + step) / (10 + step))
        average = jax.tree.map(
            lambda old, new: old * effective + new * (1 - effective), state.average, params
        )
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["learning_rate"] = schedule(state.step)
        return TrainState(step, params, average, optimizer_state), metrics

    return train_step
