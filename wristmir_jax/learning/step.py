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
from wristmir_jax.learning.state import TrainState
from wristmir_jax.learning.tiled_loss import tiled_loss
from wristmir_jax.models import parameters
from wristmir_jax.models.dual_encoder import GLOBAL_LEVEL, REGION_LEVEL, DualEncoder

DeviceBatch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


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
    """Weighted sum of the global and the region loss of one batch.

    Args:
        model: the dual encoder.
        batch: of `data.pipeline.training_batches`, on the devices.
        key: of the augmentation; None leaves the pixels as they are.
        config: of the run.
        mesh: that the batch is split over.
    """
    image_BxSxS, crops_BxRxCxC = tower_inputs(batch)
    if key is not None:
        B, R, C, _ = crops_BxRxCxC.shape
        global_key, region_key = jax.random.split(key)
        image_BxSxS = augment(global_key, image_BxSxS, config.augment)
        crops_NxCxC = crops_BxRxCxC.reshape(B * R, C, C)
        crops_BxRxCxC = augment(region_key, crops_NxCxC, config.augment).reshape(B, R, C, C)

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

    def features(tower: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
        return in_micro_batches(tower, rows, config.micro_batches, mesh)

    def captions(level: int, token_TxL: jax.Array, index_BxK: jax.Array) -> jax.Array:
        return model.fit_captions(features(model.text_features, token_TxL), index_BxK, level)

    global_loss = loss_of(
        GLOBAL_LEVEL,
        model.fit_global(features(model.global_features, image_BxSxS))[:, None],
        captions(GLOBAL_LEVEL, batch["global_token"], global_index_Bx1),
        PairLabels(batch["global_group"][:, None], global_index_Bx1 >= 0, status_BxR[:, None]),
    )
    region_loss = loss_of(
        REGION_LEVEL,
        model.fit_regions(features(model.region_features, crops_BxRxCxC), region_index_BxR >= 0),
        captions(REGION_LEVEL, batch["region_token"], region_index_BxR),
        PairLabels(batch["region_group"], region_index_BxR >= 0, status_BxR[..., None]),
    )
    loss = config.loss.global_weight * global_loss + config.loss.region_weight * region_loss
    return loss, {
        "loss": loss,
        "global_loss": global_loss,
        "region_loss": region_loss,
        "global_scale": scale_2[GLOBAL_LEVEL],
        "region_scale": scale_2[REGION_LEVEL],
    }


def make_train_step(
    graph: Any, config: ml_collections.ConfigDict, mesh: Mesh
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
            loss, metrics = batch_loss(model, batch, key, config, mesh)
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
