"""The network that finds the bone regions of a film: one pass over pixels, one answer a region."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx

from wristmir_jax import anatomy
from wristmir_jax.models.vision import ResidualBlock

# What the network tells apart: those of the anatomy but the unknown.
VIEWS = anatomy.VIEWS[1:]
SIDES = anatomy.SIDES[1:]
# A pixel's grey has about this mean and spread over films that `reading.window` windowed.
_MEAN, _SPREAD = 0.35, 0.3


@dataclass(frozen=True)
class LocalizerSpec:
    """What the network is made of.

    Attributes:
        size: pixels a side of the square that it looks at; a multiple of 32.
        widths: features of its four resolutions: a fourth, an eighth, a sixteenth, a 32nd of the
            pixels.
        blocks: residual blocks of each resolution.
        joint: features in which the resolutions are joined.
        num_regions: R.
    """

    size: int = 160
    widths: tuple[int, ...] = (32, 72, 144, 192)
    blocks: tuple[int, ...] = (1, 2, 2, 1)
    joint: int = 96
    num_regions: int = 3

    @classmethod
    def of(cls, keys: ml_collections.ConfigDict, num_regions: int) -> "LocalizerSpec":
        """From `config.localizer`."""
        return cls(keys.size, tuple(keys.widths), tuple(keys.blocks), keys.joint, num_regions)


class Sight(NamedTuple):
    """What the network says of B squares of S pixels a side; R regions, cells K x K.

    Attributes:
        place_BxRxKxK: logits of the cell in which the middle of the region's box lies.
        center_BxRx2: middle of the box, x and y in pixels.
        log_side_BxRx2: logarithm of its width and height in pixels, in the wrist's upright frame.
        present_BxR: logit of the region's being there.
        axis_Bx2: cosine and sine (not of unit length) of the angle by which the upright forearm is
            turned, counter-clockwise as seen.
        view_BxV, side_BxL: logits, in the order of `VIEWS` and `SIDES`.
    """

    place_BxRxKxK: jax.Array
    center_BxRx2: jax.Array
    log_side_BxRx2: jax.Array
    present_BxR: jax.Array
    axis_Bx2: jax.Array
    view_BxV: jax.Array
    side_BxL: jax.Array


class Localizer(nnx.Module):
    """Residual stages, joined from coarse to fine (Lin et al. 2017, arXiv 1612.03144), and a dense
    head: each cell says how likely the middle of a region lies in it, and where the box would be;
    the answer is the mean over cells, weighed by that (integral regression, Sun et al. 2018,
    arXiv 1711.08229).
    """

    def __init__(self, spec: LocalizerSpec, *, rngs: nnx.Rngs):
        self.spec = spec
        dtype = jnp.float32
        first = spec.widths[0]
        self.stem = nnx.Conv(1, first, (6, 6), strides=4, rngs=rngs)
        self.stem_norm = nnx.GroupNorm(first, num_groups=8, rngs=rngs)
        stages, features = [], first
        for level, (width, count) in enumerate(zip(spec.widths, spec.blocks, strict=True)):
            blocks = []
            for block in range(count):
                stride = 2 if level > 0 and block == 0 else 1
                blocks.append(ResidualBlock(features, width, stride, dtype=dtype, rngs=rngs))
                features = width
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)
        self.lateral = nnx.List(
            [nnx.Conv(width, spec.joint, (1, 1), rngs=rngs) for width in spec.widths[1:]]
        )
        self.joined = nnx.List(
            [
                ResidualBlock(spec.joint, spec.joint, 1, dtype=dtype, rngs=rngs)
                for _ in spec.widths[2:]
            ]
        )
        regions = spec.num_regions
        self.place = nnx.Conv(spec.joint, regions, (1, 1), rngs=rngs)
        self.box = nnx.Conv(spec.joint, 4 * regions, (1, 1), rngs=rngs)
        pooled = spec.joint * regions + 2 * spec.widths[-1]
        self.hidden = nnx.Linear(pooled, 128, rngs=rngs)
        self.present = nnx.Linear(128, regions, rngs=rngs)
        self.axis = nnx.Linear(128, 2, rngs=rngs)
        self.view = nnx.Linear(128, len(VIEWS), rngs=rngs)
        self.side = nnx.Linear(128, len(SIDES), rngs=rngs)

    def __call__(self, image_BxSxS: jax.Array) -> Sight:
        """Look at squares.

        Args:
            image_BxSxS: float32 in [0, 1], `spec.size` pixels a side.
        """
        B, S, _ = image_BxSxS.shape
        regions = self.spec.num_regions
        x = nnx.relu(self.stem_norm(self.stem(((image_BxSxS - _MEAN) / _SPREAD)[..., None])))
        levels = []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            levels.append(x)
        coarse = self.lateral[-1](levels[-1])
        for level in reversed(range(len(self.joined))):
            finer = self.lateral[level](levels[level + 1])
            coarse = self.joined[level](finer + _enlarged(coarse, finer.shape[1]))
        K = coarse.shape[1]
        place_BxKxKxR = self.place(coarse)
        weight_BxNxR = jax.nn.softmax(place_BxKxKxR.reshape(B, K * K, regions), axis=1)
        middle = (jnp.arange(K) + 0.5) * (S / K)
        cell_NxRx2 = jnp.stack(jnp.meshgrid(middle, middle, indexing="xy"), -1).reshape(-1, 1, 2)
        box_BxNxRx4 = self.box(coarse).reshape(B, K * K, regions, 4)
        center = cell_NxRx2 + box_BxNxRx4[..., :2] * (S / K)
        log_side = box_BxNxRx4[..., 2:] + jnp.log(0.2 * S)
        around = jnp.einsum("bnr,bnc->brc", weight_BxNxR, coarse.reshape(B, K * K, -1))
        last = levels[-1]
        pooled = jnp.concatenate(
            [around.reshape(B, -1), last.mean(axis=(1, 2)), last.max(axis=(1, 2))], axis=-1
        )
        hidden = nnx.relu(self.hidden(pooled))
        return Sight(
            place_BxRxKxK=jnp.moveaxis(place_BxKxKxR, -1, 1),
            center_BxRx2=jnp.einsum("bnr,bnrc->brc", weight_BxNxR, center),
            log_side_BxRx2=jnp.einsum("bnr,bnrc->brc", weight_BxNxR, log_side),
            present_BxR=self.present(hidden),
            axis_Bx2=self.axis(hidden),
            view_BxV=self.view(hidden),
            side_BxL=self.side(hidden),
        )


def _enlarged(x_BxKxKxC: jax.Array, size: int) -> jax.Array:
    """Each cell as 2 x 2 cells, cut to `size`."""
    doubled = jnp.repeat(jnp.repeat(x_BxKxKxC, 2, axis=1), 2, axis=2)
    return doubled[:, :size, :size]
