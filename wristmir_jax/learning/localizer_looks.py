"""What the localiser looks at while it learns: squares of films, drawn inside the compiled step.

It looks twice at a film that it is asked about: at all of it, or at parts of it, and then, upright
and larger, at the place where it found the regions. Here these are drawn at random from films whose
boxes are known.

Angles are counter-clockwise as seen, 0 where the fingers point up. Image coordinates are x to the
right and y down.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from wristmir_jax import anatomy
from wristmir_jax.learning.augment import bilinear

# A second look shows so many times the side of the box of a region whose crop is the largest.
CLOSE_FIELD = 2.0
# Part of a box that must be seen for the region to count as there, and below which it is not.
_SEEN, _UNSEEN = 0.6, 0.4
# Sides of a look at a part of a film, in sides of the film.
PART_SHARES = 0.4, 0.8
_GRID = 7
# Sides of a box that only the hull of is known, at most so many times each other.
_LONGEST = 2.2


class Looks(NamedTuple):
    """Squares of S pixels a side and what is true of them.

    Attributes:
        image_BxSxS: float32 in [0, 1].
        center_BxRx2, side_BxRx2: middle of the boxes, and their width and height in the upright
            frame of the wrist, in pixels; anything where absent.
        present_BxR: float32, 1 where the region is seen, 0 where it is not.
        counted_BxR: float32, 0 where nobody could say, as where it is cut by the edge.
        axis_Bx2: cosine and sine of the angle by which the forearm is turned.
        has_axis_B: float32, 0 where that is unknown.
        view_B, side_B: int32, positions in `models.localizer.VIEWS` and `SIDES`; -1
            unknown.
    """

    image_BxSxS: jax.Array
    center_BxRx2: jax.Array
    side_BxRx2: jax.Array
    present_BxR: jax.Array
    counted_BxR: jax.Array
    axis_Bx2: jax.Array
    has_axis_B: jax.Array
    view_B: jax.Array
    side_B: jax.Array


def upright_sides(hull_2: jax.Array, angle: jax.Array) -> jax.Array:
    """Width and height of a box from those of the hull of the box turned by `angle` radians.

    Near 45 degrees the hull does not tell; there both are the side of the square with that hull.

    Args:
        hull_2: (..., 2) width and height.
        angle: (...).
    """
    c, s = jnp.abs(jnp.cos(angle)), jnp.abs(jnp.sin(angle))
    width, height = hull_2[..., 0], hull_2[..., 1]
    square = 0.5 * (width + height) / (c + s)
    determinant = c * c - s * s
    safe = jnp.where(jnp.abs(determinant) < 0.1, 1.0, determinant)
    exact = jnp.stack([width * c - height * s, height * c - width * s], -1) / safe[..., None]
    exact = jnp.clip(exact, square[..., None] / _LONGEST, square[..., None] * _LONGEST)
    # From 0 at 36 degrees to 1 at 30 and below.
    trust = jnp.clip((jnp.abs(determinant) - 0.31) / 0.19, 0.0, 1.0)[..., None]
    return trust * exact + (1 - trust) * square[..., None]


def close_fields(regions: Sequence[str]) -> np.ndarray:
    """(R,) side of a second look over the longer side of each region's box: a region whose crop is
    small lies in as large a look as the others."""
    crop_mm_R = np.array([anatomy.region(name).crop_mm for name in regions])
    return CLOSE_FIELD * crop_mm_R.max() / crop_mm_R


def turned(offset: jax.Array, angle: jax.Array) -> jax.Array:
    """Offsets (..., 2), x and y, turned by `angle` (...) radians."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = offset[..., 0], offset[..., 1]
    return jnp.stack([x * cos + y * sin, y * cos - x * sin], axis=-1)


def sample_looks(
    key: jax.Array,
    batch: dict[str, jax.Array],
    size: int,
    close_fields_R: np.ndarray,
    config: ml_collections.ConfigDict,
) -> Looks:
    """Draw a look at each film of a batch.

    Args:
        key: of jax.random.
        batch: of `data.localizer_batches`.
        size: S, pixels a side.
        close_fields_R: of `close_fields`.
        config: `config.localizer.looks`.
    """
    films = {name: batch[name] for name in ("image", "boxes", "axis_degrees", "view", "side")}
    keys_B = jax.random.split(key, films["image"].shape[0])
    draw = lambda key, film: _look(key, film, size, close_fields_R, config)  # noqa: E731
    return Looks(*jax.vmap(draw)(keys_B, films))


def _look(
    key: jax.Array,
    film: dict[str, jax.Array],
    size: int,
    close_fields_R: np.ndarray,
    config: ml_collections.ConfigDict,
) -> Looks:
    key_place, key_field, key_tone = jax.random.split(key, 3)
    source = film["image"].astype(jnp.float32) / 255
    side_of_film = source.shape[0]
    boxes_Rx4 = film["boxes"]
    there_R = jnp.isfinite(boxes_Rx4).all(axis=1)
    unknown_R = jnp.isinf(boxes_Rx4).any(axis=1)
    boxes_Rx4 = jnp.where(there_R[:, None], boxes_Rx4, 0.0)
    has_axis = jnp.isfinite(film["axis_degrees"])
    axis = jnp.deg2rad(jnp.where(has_axis, film["axis_degrees"], 0.0))
    center_Rx2 = 0.5 * (boxes_Rx4[:, :2] + boxes_Rx4[:, 2:])
    sides_Rx2 = upright_sides(boxes_Rx4[:, 2:] - boxes_Rx4[:, :2], axis)

    place = _place(key_place, center_Rx2, sides_Rx2, there_R, axis, side_of_film, size,
                   close_fields_R, config)  # fmt: skip
    at, scale, turn, mirror = place
    middle = (size - 1) / 2
    y_SxS, x_SxS = jnp.meshgrid(jnp.arange(size) - middle, jnp.arange(size) - middle, indexing="ij")
    offset = scale * turned(jnp.stack([mirror * x_SxS, y_SxS], -1), -turn)
    blurred = 0.25 * (source + jnp.roll(source, -1, 0) + jnp.roll(source, -1, 1)
                      + jnp.roll(source, (-1, -1), (0, 1)))  # fmt: skip
    coarse = scale > 1.4
    read_from = jnp.where(coarse, blurred, source)
    shift = jnp.where(coarse, 0.5, 0.0)
    image_SxS = bilinear(
        read_from, offset[..., 1] + at[1] - 0.5 - shift, offset[..., 0] + at[0] - 0.5 - shift
    )

    def to_look(points: jax.Array) -> jax.Array:
        seen = turned(points - at, turn) / scale
        return seen * jnp.stack([mirror, jnp.ones_like(mirror)]) + size / 2

    image_SxS, inside = _collimated(key_field, image_SxS, config)
    steps = jnp.linspace(-0.5, 0.5, _GRID)
    grid_Gx2 = jnp.stack(jnp.meshgrid(steps, steps), -1).reshape(-1, 2)
    points_RxGx2 = to_look(center_Rx2[:, None] + turned(grid_Gx2 * sides_Rx2[:, None], axis))
    seen_R = inside(points_RxGx2).mean(axis=1)
    present_R = there_R & (seen_R >= _SEEN)
    counted_R = ~unknown_R & (~there_R | (seen_R >= _SEEN) | (seen_R <= _UNSEEN))
    image_SxS = _toned(key_tone, image_SxS, config)
    turned_axis = mirror * (axis + turn)
    view = film["view"] - 1
    side = jnp.where(film["side"] == 0, -1, film["side"] - 1)
    mirrored_side = jnp.where((mirror < 0) & (side >= 0), 1 - side, side)
    any_present = present_R.any()
    return Looks(
        image_BxSxS=image_SxS,
        center_BxRx2=to_look(center_Rx2),
        side_BxRx2=sides_Rx2 / scale,
        present_BxR=present_R.astype(jnp.float32),
        counted_BxR=counted_R.astype(jnp.float32),
        axis_Bx2=jnp.stack([jnp.cos(turned_axis), jnp.sin(turned_axis)]),
        has_axis_B=(has_axis & any_present).astype(jnp.float32),
        view_B=jnp.where(any_present, view, -1),
        side_B=jnp.where(any_present, mirrored_side, -1),
    )


def _place(
    key: jax.Array,
    center_Rx2: jax.Array,
    sides_Rx2: jax.Array,
    there_R: jax.Array,
    axis: jax.Array,
    side_of_film: int,
    size: int,
    close_fields_R: np.ndarray,
    config: ml_collections.ConfigDict,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Middle of a look on the film, film pixels a pixel of it, turn in radians, mirror -1 or 1."""
    keys = jax.random.split(key, 8)
    normal_6 = jax.random.normal(keys[0], (6,))
    uniform_8 = jax.random.uniform(keys[1], (8,))
    whole = jnp.float32(side_of_film)
    anywhere = uniform_8[0] < config.any_turn
    film_turn = jnp.where(
        anywhere,
        jnp.pi * (2 * uniform_8[1] - 1),
        jnp.deg2rad(config.turn_degrees) * normal_6[0],
    )
    film_scale = whole / size * jnp.exp(config.film_scale * normal_6[1])
    film_at = whole / 2 + config.film_shift * whole * normal_6[2:4]
    part = uniform_8[7] < config.part
    low, high = PART_SHARES
    share = low + (high - low) * uniform_8[2]
    film_scale = jnp.where(part, share * whole / size, film_scale)
    film_at = jnp.where(part, whole * (0.5 + (1 - share) * (uniform_8[3:5] - 0.5)), film_at)

    field = (there_R * close_fields_R * sides_Rx2.max(axis=1)).sum() / jnp.maximum(there_R.sum(), 1)
    field *= jnp.exp(config.close_scale * normal_6[1])
    close_at = (there_R[:, None] * center_Rx2).sum(axis=0) / jnp.maximum(there_R.sum(), 1)
    close_at += config.close_shift * field * normal_6[2:4]
    elsewhere = uniform_8[2] < config.elsewhere
    close_at = jnp.where(elsewhere, whole * uniform_8[3:5], close_at)
    close_turn = jnp.deg2rad(config.close_turn_degrees) * normal_6[4] - axis
    close_scale = field / size

    # A part of a film that is hardly larger than a thumbnail teaches nothing.
    close = (uniform_8[5] < config.close) & there_R.any() & (close_scale > 0.25)
    mirror = jnp.where(uniform_8[6] < 0.5, -1.0, 1.0)
    return (
        jnp.where(close, close_at, film_at),
        jnp.where(close, close_scale, film_scale),
        jnp.where(close, close_turn, film_turn),
        mirror,
    )


def _collimated(key: jax.Array, image_SxS: jax.Array, config: ml_collections.ConfigDict):
    """The look behind a shutter at random, and the function that says of points (..., 2) whether
    they are seen."""
    size = image_SxS.shape[0]
    u = jax.random.uniform(key, (8,))
    shut = u[0] < config.shutter
    half_2 = size * (0.28 + 0.32 * u[1:3])
    at_2 = size * (0.5 + 0.3 * (u[3:5] - 0.5))
    angle = jnp.deg2rad(40.0) * (u[5] - 0.5)
    fill = jnp.where(u[6] < 0.65, 0.0, jnp.where(u[6] < 0.85, 1.0, u[7]))

    def inside(points: jax.Array) -> jax.Array:
        in_look = ((points >= 0) & (points <= size)).all(axis=-1)
        in_field = (jnp.abs(turned(points - at_2, angle)) <= half_2).all(axis=-1)
        return in_look & (in_field | ~shut)

    grid = jnp.stack(jnp.meshgrid(jnp.arange(size) + 0.5, jnp.arange(size) + 0.5), -1)
    return jnp.where(inside(grid), image_SxS, fill), inside


def _toned(key: jax.Array, image_SxS: jax.Array, config: ml_collections.ConfigDict) -> jax.Array:
    """Other exposure, sharpness, noise, uneven lighting, and things that lie on the film."""
    size = image_SxS.shape[0]
    key_tone, key_noise, key_things, key_light = jax.random.split(key, 4)
    u = jax.random.uniform(key_tone, (8,))
    s = 2 * u - 1
    weight = jnp.where(u[0] < 0.5, u[1], 0.0)
    padded = jnp.pad(image_SxS, 1, mode="edge")
    across = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    soft = 0.25 * across[:-2] + 0.5 * across[1:-1] + 0.25 * across[2:]
    image_SxS = image_SxS + weight * (soft - image_SxS)

    t = jax.random.uniform(key_things, (3, 8))
    ones = jnp.arange(size) + 0.5
    for thing in t:
        half_2 = size * (0.01 + 0.09 * thing[1:3] ** 2)
        at_2 = size * thing[3:5]
        covers = (jnp.abs(ones - at_2[0]) < half_2[0])[None] & (
            jnp.abs(ones - at_2[1]) < half_2[1]
        )[:, None]
        shown = thing[0] < config.things
        image_SxS = jnp.where(covers & shown, jnp.where(thing[5] < 0.7, 1.0, thing[6]), image_SxS)

    image_SxS = jnp.maximum(image_SxS, 1e-4) ** jnp.exp(config.gamma * s[2])
    image_SxS = (image_SxS - 0.5) * jnp.exp(config.contrast * s[3]) + 0.5 + config.brightness * s[4]
    light_2 = jax.random.uniform(key_light, (2,), minval=-1, maxval=1) * config.light
    ramp = jnp.linspace(-1, 1, size)
    image_SxS *= 1 + light_2[0] * ramp[None] + light_2[1] * ramp[:, None]
    noise = config.noise * u[5] ** 2 * jax.random.normal(key_noise, image_SxS.shape)
    image_SxS = jnp.clip(image_SxS + noise, 0, 1)
    return jnp.where(u[6] < config.inverted, 1 - image_SxS, image_SxS)
