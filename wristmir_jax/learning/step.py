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
    B, R, C, _ = batch["crops"].shape
    image_BxSxS = to_tower_frame(batch["image"], batch["mirrored"])
    crops_NxCxC = to_tower_frame(
        batch["crops"].reshape(B * R, C, C), jnp.repeat(batch["mirrored"], R)
    )
    if key is not None:
        global_key, region_key = jax.random.split(key)
        image_BxSxS = augment(global_key, image_BxSxS, config.augment)
        crops_NxCxC = augment(region_key, crops_NxCxC, config.augment)

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
        weigh_groups=config.loss.weigh_groups,
    )
    local_loss = region_loss(
        model.encode_regions(crops_NxCxC.reshape(B, R, C, C)),
        region_text_BxRxD,
        PairLabels(batch["region_group"], region_index_BxR >= 0, status_BxR[..., None]),
        scale_2[REGION_LEVEL],
        weigh_groups=config.loss.weigh_groups,
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
