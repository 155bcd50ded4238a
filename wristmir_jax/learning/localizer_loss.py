"""What the localiser learns: where each region lies, whether it is there, axis, view and side."""

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import Mesh

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.learning.localizer_looks import Looks, close_fields, sample_looks
from wristmir_jax.models.localizer import Localizer, Sight

# Spread of the place that a heat map is asked for, in cells.
_CELLS = 0.8


def localizer_loss(
    model: Localizer,
    batch: dict[str, jax.Array],
    key: jax.Array,
    config: ml_collections.ConfigDict,
    mesh: Mesh,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of one look at each film of a batch, and its parts.

    Args:
        model: the localiser.
        batch: of `data.localizer_batches`, on the devices.
        key: of the looks.
        config: of the run.
        mesh: that the batch is split over.
    """
    del mesh
    size = model.spec.size
    regions = REGION_NAMES[: model.spec.num_regions]
    looks = sample_looks(key, batch, size, close_fields(regions), config.localizer.looks)
    return sight_loss(model(looks.image_BxSxS), looks, size)


def sight_loss(sight: Sight, looks: Looks, size: int) -> tuple[jax.Array, dict[str, jax.Array]]:
    """How far what the network says lies from what is true.

    Args:
        sight: of the network.
        looks: what is true.
        size: S, pixels a side of the looks.
    """
    there_BxR = looks.present_BxR * looks.counted_BxR
    num_there = jnp.maximum(there_BxR.sum(), 1.0)
    side_BxRx1 = jnp.maximum(looks.side_BxRx2.mean(axis=-1, keepdims=True), 1.0)

    K = sight.place_BxRxKxK.shape[-1]
    middle_K = (jnp.arange(K) + 0.5) * (size / K)
    spread = _CELLS * size / K
    log_x_BxRxK = -0.5 * ((middle_K - looks.center_BxRx2[..., :1]) / spread) ** 2
    log_y_BxRxK = -0.5 * ((middle_K - looks.center_BxRx2[..., 1:]) / spread) ** 2
    target = jax.nn.softmax(
        (log_y_BxRxK[..., :, None] + log_x_BxRxK[..., None, :]).reshape(*there_BxR.shape, -1)
    )
    logits = sight.place_BxRxKxK.reshape(*there_BxR.shape, -1)
    place_BxR = optax.softmax_cross_entropy(logits, target)
    place = (place_BxR * there_BxR).sum() / num_there

    miss_BxRx2 = (sight.center_BxRx2 - looks.center_BxRx2) / side_BxRx1
    log_side_BxRx2 = jnp.log(jnp.maximum(looks.side_BxRx2, 1.0))
    grown_BxRx2 = sight.log_side_BxRx2 - log_side_BxRx2
    box_BxR = (_robust(miss_BxRx2) + _robust(grown_BxRx2)).sum(axis=-1)
    box = (box_BxR * there_BxR).sum() / num_there

    present_BxR = optax.sigmoid_binary_cross_entropy(sight.present_BxR, looks.present_BxR)
    num_counted = jnp.maximum(looks.counted_BxR.sum(), 1.0)
    present = (present_BxR * looks.counted_BxR).sum() / num_counted

    axis_B = ((sight.axis_Bx2 - looks.axis_Bx2) ** 2).sum(axis=-1)
    axis = (axis_B * looks.has_axis_B).sum() / jnp.maximum(looks.has_axis_B.sum(), 1.0)
    view, view_right = _classes(sight.view_BxV, looks.view_B)
    side, side_right = _classes(sight.side_BxL, looks.side_B)
    loss = 0.3 * place + 2.0 * box + 2.0 * present + 1.0 * axis + 1.0 * view + 0.25 * side
    said_BxR = (sight.present_BxR > 0).astype(jnp.float32)
    return loss, {
        "loss": loss,
        "place_loss": place,
        "box_loss": box,
        "present_loss": present,
        "axis_loss": axis,
        "view_loss": view,
        "side_loss": side,
        "present_right": ((said_BxR == looks.present_BxR) * looks.counted_BxR).sum() / num_counted,
        "view_right": view_right,
        "side_right": side_right,
    }


def _robust(x: jax.Array) -> jax.Array:
    """Quadratic below .1, then linear."""
    return optax.huber_loss(x, delta=0.1) / 0.1


def _classes(logits_BxV: jax.Array, true_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy and share that is right, where it is known."""
    known_B = (true_B >= 0).astype(jnp.float32)
    total = jnp.maximum(known_B.sum(), 1.0)
    labels_B = jnp.maximum(true_B, 0)
    loss_B = optax.softmax_cross_entropy_with_integer_labels(logits_BxV, labels_B)
    right_B = (logits_BxV.argmax(axis=-1) == labels_B).astype(jnp.float32)
    return (loss_B * known_B).sum() / total, (right_B * known_B).sum() / total
