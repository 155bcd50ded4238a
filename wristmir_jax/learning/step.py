"""One training step: augment, encode, compare, update."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from wristmir_jax.learning import state as states
from wristmir_jax.learning.augment import augment, to_tower_frame
from wristmir_jax.learning.loss import MAX_SCALE, PairLabels, multi_positive_loss, region_loss
from wristmir_jax.learning.state import TrainState
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
) -> tuple[jax.Array, Metrics]:
    """Weighted sum of the global and the region loss of one batch.

    Args:
        model: the dual encoder.
        batch: of `data.pipeline.training_batches`, on the devices.
        key: of the augmentation; None leaves the pixels as they are.
        config: of the run.
    """
    image_BxSxS, crops_BxRxCxC = tower_inputs(batch)
    if key is not None:
        B, R, C, _ = crops_BxRxCxC.shape
        global_key, region_key = jax.random.split(key)
        image_BxSxS = augment(global_key, image_BxSxS, config.augment)
        crops_NxCxC = crops_BxRxCxC.reshape(B * R, C, C)
        crops_BxRxCxC = augment(region_key, crops_NxCxC, config.augment).reshape(B, R, C, C)

    global_index_B, region_index_BxR = batch["global_text_index"], batch["region_text_index"]
    # Index -1 (no caption) takes the last row; `valid` drops it from the loss.
    global_text_BxD = model.encode_text(batch["global_token"], GLOBAL_LEVEL)[global_index_B]
    region_text_BxRxD = model.encode_text(batch["region_token"], REGION_LEVEL)[region_index_BxR]
    scale_2 = jnp.minimum(jnp.exp(model.log_scale[...]), MAX_SCALE)

    status_BxR = batch["region_status"].astype(jnp.int32)
    global_loss = multi_positive_loss(
        model.encode_global(image_BxSxS),
        global_text_BxD,
        PairLabels(batch["global_group"], global_index_B >= 0, status_BxR),
        scale_2[GLOBAL_LEVEL],
        group_exponent=config.loss.group_exponent,
    )
    local_loss = region_loss(
        model.encode_regions(crops_BxRxCxC),
        region_text_BxRxD,
        PairLabels(batch["region_group"], region_index_BxR >= 0, status_BxR[..., None]),
        scale_2[REGION_LEVEL],
        group_exponent=config.loss.group_exponent,
    )
    loss = config.loss.global_weight * global_loss + config.loss.region_weight * local_loss
    return loss, {
        "loss": loss,
        "global_loss": global_loss,
        "region_loss": local_loss,
        "global_scale": scale_2[GLOBAL_LEVEL],
        "region_scale": scale_2[REGION_LEVEL],
    }


def make_train_step(
    graph: Any, config: ml_collections.ConfigDict
) -> Callable[[TrainState, DeviceBatch], tuple[TrainState, Metrics]]:
    """The function to compile: (state, batch) -> (state, metrics).

    Its randomness comes from the run's seed and the state's step, so a resumed run repeats it.
    """
    optimizer = states.make_optimizer(config)
    schedule = states.learning_rate(config)
    decay = config.optimizer.ema_decay

    def train_step(state: TrainState, batch: DeviceBatch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)

        def loss_of(params: parameters.Parameters) -> tuple[jax.Array, Metrics]:
            return batch_loss(parameters.merge(graph, params), batch, key, config)

        gradients, metrics = jax.grad(loss_of, has_aux=True)(state.parameters)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
        params: Any = optax.apply_updates(state.parameters, updates)
        # An average over fewer steps than its decay spans would hold on to the random start.
        step = state.step + 1
        effective = jnp.minimum(decay, (1 + step) / (10 + step))
        average = jax.tree.map(
            lambda old, new: old * effective + new * (1 - effective), state.average, params
        )
        metrics["gradient_norm"] = optax.global_norm(gradients)
        metrics["learning_rate"] = schedule(state.step)
        return TrainState(step, params, average, optimizer_state), metrics

    return train_step


def make_calibration(graph: Any) -> Callable[[TrainState, DeviceBatch], TrainState]:
    """The function that centres and scales the four projections on the first batch of a run.

    Pooled features of random towers share one large component, so all their unit vectors lie in a
    narrow cone (Liang et al. 2022, arXiv 2203.02053) and the loss hardly tells pairs apart. Every
    output of a projection is given mean 0 and variance 1 over the batch (the data-dependent
    initialisation of Salimans and Kingma 2016, arXiv 1602.07868).
    """

    def calibrate(state: TrainState, batch: DeviceBatch) -> TrainState:
        params = dict(state.parameters)
        model: DualEncoder = parameters.merge(graph, params)
        image_BxSxS, crops_BxRxCxC = tower_inputs(batch)
        projected = {
            "global_projection": (
                model.project_global(image_BxSxS),
                jnp.ones(len(image_BxSxS), bool),
            ),
            "local_projection": (
                model.project_regions(crops_BxRxCxC),
                batch["region_text_index"] >= 0,
            ),
        }
        for level, name in ((GLOBAL_LEVEL, "global"), (REGION_LEVEL, "region")):
            index = batch[f"{name}_text_index"]
            # By use and not by distinct caption: processes store a caption that they share twice.
            text = model.project_text(batch[f"{name}_token"], level)[index]
            projected[f"text_projections/{level}"] = (text, index >= 0)
        for name, (output, valid) in projected.items():
            weight = (valid / jnp.maximum(valid.sum(), 1))[..., None]
            axes = tuple(range(valid.ndim))
            mean_D = (weight * output).sum(axes)
            deviation_D = jnp.sqrt((weight * (output - mean_D) ** 2).sum(axes))
            # Nothing valid, or nothing that varies: leave the projection as it is.
            usable = (valid.sum() > 1) & (deviation_D > 1e-6).all()
            deviation_D = jnp.where(usable, deviation_D, 1.0)
            mean_D = jnp.where(usable, mean_D, 0.0)
            params[f"{name}/kernel"] = params[f"{name}/kernel"] / deviation_D
            params[f"{name}/bias"] = (params[f"{name}/bias"] - mean_D) / deviation_D
        return state.replace(parameters=params, average=jax.tree.map(jnp.copy, params))

    return calibrate
