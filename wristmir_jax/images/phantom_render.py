"""Draw phantoms: analytic bones and soft tissue, thickness integrals, Beer-Lambert, a detector.

A scene is a handful of fixed-size arrays (`Scene`), so that every wrist, whatever its age, view or
fracture, goes through the same compiled function. Bones are *tubes* (shafts with a flare at the
ends) and *blobs* (carpals, epiphyses, fragments); wires and marker strokes are *segments*. All
lengths are mm in the anatomical frame of the left wrist: y points distally, x radially on a PA film
and volarly on a lateral one; the origin is the middle of the distal end of the radial metaphysis.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TUBE_FIELDS = ["origin_x", "origin_y", "axis_x", "axis_y", "length", "shaft", "flare_left", "flare_right", "flare_length", "base_flare", "base_length", "bow", "depth", "cortex_shaft", "cortex_end", "marrow_shaft", "marrow_end", "end_line", "end_curve", "end_wave", "cut_at", "cut_slope", "cut_hinge", "cut_hinge_at", "jag", "jag_phase", "keep", "cut_soft", "bump_at", "bump_length", "bump_left", "bump_right", "band", "band_width", "callus_left", "callus_right", "callus_length", "callus_mu", "opacity"]
BLOB_FIELDS = ["center_x", "center_y", "axis_x", "axis_y", "half_length", "half_height", "taper", "pinch", "shear", "bend", "square", "depth", "rim", "mu_rim", "mu_inside", "keep", "split_at", "split_slope", "clip_at", "clip", "line_at", "line_slope", "line_width", "line"]
SEGMENT_FIELDS = ["x0", "y0", "x1", "y1", "radius", "mu", "film"]
FIELD_FIELDS = ["spacing", "rotation", "shift_x", "shift_y", "mirror", "soft_x", "soft_slope", "soft_half", "soft_forearm", "soft_hand", "soft_depth", "swell_at", "swell_left", "swell_right", "swell_length", "thumb_x0", "thumb_y0", "thumb_x1", "thumb_y1", "thumb_radius", "mu_soft", "cast_mu", "cast_gap", "cast_thickness", "cast_texture", "cast_end", "bone_texture", "film_half_width", "film_half_height", "film_rotation", "frame_width", "frame", "gamma", "exposure", "floor", "noise", "texture_row", "texture_column", "noise_row", "noise_column"]

MU_CORTEX = 0.042  # 1/mm above soft tissue, cortical bone at about 60 keV effective.
MU_CALLUS = 0.020
_TEXTURE = 1024


class Scene(NamedTuple):
    """What one film shows; float32, with a leading batch axis B where films are drawn together.

    Attributes:
        tubes: (T, len(TUBE_FIELDS)).
        blobs: (K, len(BLOB_FIELDS)).
        segments: (G, len(SEGMENT_FIELDS)).
        field: (len(FIELD_FIELDS),): pose, soft tissue, cast, film and detector.
    """

    tubes: np.ndarray
    blobs: np.ndarray
    segments: np.ndarray
    field: np.ndarray


def _ramp(x):
    """0 below -1, 1 above 1, smooth between; a sigmoid without the cost of one."""
    x = jnp.clip(0.5 * x + 0.5, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _bump(x):
    """Compact bell: 1 at 0, 0 beyond |x| = 1."""
    y = jnp.maximum(1.0 - x * x, 0.0)
    return y * y


def _triangle_wave(x):
    return 4.0 * jnp.abs(x - jnp.floor(x + 0.5)) - 1.0


def _chord(x, half, depth):
    """Path length through an elliptic cylinder of half-width `half` and half-depth `depth`."""
    z = x / half
    return 2.0 * depth * jnp.sqrt(jnp.maximum(1.0 - z * z, 0.0))


def _tube(x, y, p, texture, pixel):
    dx, dy = x - p.origin_x, y - p.origin_y
    u = dx * p.axis_x + dy * p.axis_y
    v = dx * p.axis_y - dy * p.axis_x
    v = v + p.bow * u * u
    z = u / p.flare_length
    flare = 1.0 / (1.0 + z * z)
    z = (u + p.length) / p.base_length
    base = p.base_flare / (1.0 + z * z)
    bump = _bump((u - p.bump_at) / p.bump_length)
    left = p.shaft + p.flare_left * flare + base + p.bump_left * bump
    right = p.shaft + p.flare_right * flare + base + p.bump_right * bump
    half = 0.5 * (left + right)
    v_centred = v - 0.5 * (right - left)
    depth = p.depth * half
    cortex = p.cortex_shaft + (p.cortex_end - p.cortex_shaft) * jnp.maximum(flare, base)
    outer = _chord(v_centred, half, depth)
    inner = _chord(v_centred, half - cortex, depth - cortex)
    marrow = p.marrow_shaft + (p.marrow_end - p.marrow_shaft) * flare
    z = v / p.shaft
    end = p.end_curve * z * z + p.end_wave * _triangle_wave(0.31 * z + 0.1)
    past_end = (u - end) / pixel
    inside = _ramp(-past_end) * _ramp((u + p.length) / pixel)

    jag = _triangle_wave(v * 0.21 + p.jag_phase) + 0.6 * _triangle_wave(
        v * 0.53 + 2.3 * p.jag_phase
    )
    line = (
        u
        - p.cut_at
        - p.cut_slope * v
        + jnp.maximum(p.cut_hinge * (v - p.cut_hinge_at), 0.0)
        - p.jag * jag
    )
    kept = jnp.where(p.keep == 0.0, 1.0, _ramp(p.keep * line / (p.cut_soft + 0.7 * pixel)))

    band = p.band * _bump(line / p.band_width)
    # Zone of provisional calcification: a white line just inside the growing end.
    white_line = p.end_line * _bump((u - end + 0.9) / 1.1)
    density = marrow * texture + band + white_line
    bone = (MU_CORTEX * (outer - inner) + MU_CORTEX * density * inner) * kept

    callus = _bump((u - p.bump_at) / p.callus_length)
    sleeve_left, sleeve_right = p.callus_left * callus, p.callus_right * callus
    sleeve = _chord(
        v_centred - 0.5 * (sleeve_right - sleeve_left),
        half + 0.5 * (sleeve_left + sleeve_right),
        depth + 0.5 * (sleeve_left + sleeve_right),
    )
    sleeve = jnp.maximum(sleeve - outer, 0.0) * p.callus_mu * jnp.where(p.keep > 0.0, 0.0, 1.0)
    return (bone + sleeve) * inside * p.opacity


def _blob(x, y, p, texture, pixel):
    dx, dy = x - p.center_x, y - p.center_y
    u = dx * p.axis_x + dy * p.axis_y
    w = dy * p.axis_x - dx * p.axis_y
    tu = u / p.half_length
    height = p.half_height * jnp.maximum(1.0 + p.taper * tu + p.pinch * tu * tu, 0.2)
    tw = (w - p.shear * u - p.bend * tu * tu) / height
    u2, w2 = tu * tu, tw * tw
    r = (1.0 - p.square) * (u2 + w2) + p.square * (u2 * u2 + w2 * w2)
    shrink = 1.0 / jnp.maximum(1.0 - p.rim / jnp.minimum(p.half_length, p.half_height), 0.3)
    outer = 2.0 * p.depth * jnp.sqrt(jnp.maximum(1.0 - r, 0.0))
    inner = 2.0 * (p.depth - p.rim) * jnp.sqrt(jnp.maximum(1.0 - r * shrink * shrink, 0.0))
    mass = p.mu_rim * (outer - inner) + p.mu_inside * inner * texture
    side = u - p.split_at - p.split_slope * w
    kept = jnp.where(p.keep == 0.0, 1.0, _ramp(p.keep * side / (0.7 * pixel)))
    clipped = 1.0 - p.clip * _ramp((p.clip_at - w) / pixel)
    line = u - p.line_at - p.line_slope * w
    lucent = 1.0 - p.line * _bump(line / (p.line_width + 0.7 * pixel))
    return jnp.maximum(mass, 0.0) * kept * clipped * lucent


def _segment(x, y, film_x, film_y, p, pixel):
    x = jnp.where(p.film > 0.0, film_x, x)
    y = jnp.where(p.film > 0.0, film_y, y)
    ex, ey = p.x1 - p.x0, p.y1 - p.y0
    dx, dy = x - p.x0, y - p.y0
    t = jnp.clip((dx * ex + dy * ey) / (ex * ex + ey * ey + 1e-6), 0.0, 1.0)
    d = jnp.sqrt((dx - t * ex) ** 2 + (dy - t * ey) ** 2)
    return p.mu * _ramp((p.radius - d) / (0.6 * pixel)) * 2.0 * p.radius


def _soft_half(y, f):
    """Half-width of the soft tissue at height y (forearm widens proximally, the hand distally)."""
    hand = _ramp((y - f.soft_half * 0.9) / (f.soft_half * 1.0))
    return f.soft_half * (1.0 + f.soft_forearm * jnp.maximum(-y - 8.0, 0.0) + f.soft_hand * hand)


def _field_of(names, row):
    return _Fields(dict(zip(names, row, strict=True)))


class _Fields:
    def __init__(self, values):
        self.__dict__.update(values)


def _draw(scene: Scene, textures, size: int):
    f = _field_of(FIELD_FIELDS, scene.field)
    pixel = f.spacing
    grid = (jnp.arange(size, dtype=jnp.float32) + 0.5 - size / 2) * pixel
    film_x = jnp.broadcast_to(grid[None, :], (size, size))
    film_y = jnp.broadcast_to(-grid[:, None], (size, size))
    cos, sin = jnp.cos(f.rotation), jnp.sin(f.rotation)
    mx, my = f.mirror * film_x - f.shift_x, film_y - f.shift_y
    x = cos * mx + sin * my
    y = cos * my - sin * mx

    trabeculae = jax.lax.dynamic_slice(
        textures[0], (f.texture_row.astype(int), f.texture_column.astype(int)), (size, size)
    )
    coarse = jax.lax.dynamic_slice(
        textures[1], (f.texture_column.astype(int), f.texture_row.astype(int)), (size, size)
    )
    noise = jax.lax.dynamic_slice(
        textures[2], (f.noise_row.astype(int), f.noise_column.astype(int)), (size, size)
    )
    bone_texture = 1.0 + f.bone_texture * (trabeculae + 0.5 * coarse)

    bone = jnp.zeros((size, size), jnp.float32)
    for i in range(scene.tubes.shape[0]):
        p = _field_of(TUBE_FIELDS, scene.tubes[i])
        bone = bone + _tube(x, y, p, bone_texture, pixel)
    for i in range(scene.blobs.shape[0]):
        p = _field_of(BLOB_FIELDS, scene.blobs[i])
        bone = bone + _blob(x, y, p, bone_texture, pixel)
    metal = jnp.zeros((size, size), jnp.float32)
    for i in range(scene.segments.shape[0]):
        p = _field_of(SEGMENT_FIELDS, scene.segments[i])
        metal = jnp.maximum(metal, _segment(x, y, film_x, film_y, p, pixel))

    half = _soft_half(y, f)
    soft_x = x - f.soft_x - f.soft_slope * y
    swell = _bump((y - f.swell_at) / f.swell_length)
    left, right = half + f.swell_left * swell, half + f.swell_right * swell
    half = 0.5 * (left + right)
    soft_x = soft_x - 0.5 * (right - left)
    depth = f.soft_depth * half
    soft = _chord(soft_x, half, depth)
    ex, ey = f.thumb_x1 - f.thumb_x0, f.thumb_y1 - f.thumb_y0
    dx, dy = x - f.thumb_x0, y - f.thumb_y0
    t = jnp.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0.0, 1.0)
    d2 = (dx - t * ex) ** 2 + (dy - t * ey) ** 2
    thumb = 2.0 * jnp.sqrt(jnp.maximum(f.thumb_radius**2 - d2, 0.0))
    soft = jnp.maximum(soft, thumb)
    # Muscle and fat planes.
    soft = soft * (1.0 + 0.05 * coarse)

    cast_inner = half + f.cast_gap
    cast_outer = cast_inner + f.cast_thickness
    ring = _chord(soft_x, cast_outer, depth + f.cast_gap + f.cast_thickness) - _chord(
        soft_x, cast_inner, depth + f.cast_gap
    )
    weave = 1.0 + f.cast_texture * (
        0.6 * _triangle_wave(0.23 * (x + y)) * _triangle_wave(0.23 * (x - y)) + 0.5 * coarse
    )
    cast = f.cast_mu * ring * weave * _ramp((f.cast_end - y) / 1.5)

    attenuation = f.mu_soft * soft + bone + cast + metal
    transmitted = jnp.exp(-attenuation)
    counts = transmitted + f.noise * jnp.sqrt(transmitted + 0.02) * noise
    optical = -jnp.log(jnp.maximum(counts, 2e-3))

    value = f.floor + (1.0 - f.floor) * jnp.clip(optical * f.exposure, 0.0, 1.0) ** f.gamma
    cos, sin = jnp.cos(f.film_rotation), jnp.sin(f.film_rotation)
    across = jnp.abs(cos * film_x + sin * film_y) - f.film_half_width
    along = jnp.abs(cos * film_y - sin * film_x) - f.film_half_height
    edge = jnp.maximum(across, along)
    # Under the shutter the detector sees nothing, which is white before the film is cut out.
    shutter = f.frame * _ramp((edge + f.frame_width) / f.frame_width)
    value = value + (0.97 - value) * shutter
    value = value * _ramp(-edge / pixel)
    return (jnp.clip(value, 0.0, 1.0) * 65535.0 + 0.5).astype(jnp.uint16)


@functools.cache
def _textures() -> np.ndarray:
    """(3, 1024, 1024) float32: longitudinal trabeculae, coarse planes, detector noise; unit variance.

    Drawn once from a fixed seed; films take windows of them at offsets of their own.
    """
    rng = np.random.default_rng(20260101)
    fy = np.fft.fftfreq(_TEXTURE)[:, None]
    fx = np.fft.rfftfreq(_TEXTURE)[None, :]
    shapes = (
        np.exp(-((fx / 0.22) ** 2) - (fy / 0.07) ** 2) * (1 - np.exp(-((fx / 0.05) ** 2))),
        1.0 / (0.01 + np.hypot(fx, 0.6 * fy)) ** 1.5 * np.exp(-((np.hypot(fx, fy) / 0.12) ** 2)),
        np.exp(-(np.hypot(fx, fy) ** 2) / (2 * 0.22**2)),
    )
    planes = []
    for shape in shapes:
        white = np.fft.rfft2(rng.standard_normal((_TEXTURE, _TEXTURE)))
        shape = np.asarray(shape).copy()
        shape[0, 0] = 0.0
        plane = np.fft.irfft2(white * shape, s=(_TEXTURE, _TEXTURE))
        planes.append(plane / plane.std())
    return np.stack(planes).astype(np.float32)


@functools.partial(jax.jit, static_argnames="size")
def _render(scenes: Scene, textures, size: int):
    return jax.vmap(lambda scene: _draw(scene, textures, size))(scenes)


def render(scenes: Scene, size: int) -> np.ndarray:
    """Draw a batch of scenes.

    Args:
        scenes: arrays with a leading batch axis B.
        size: S, pixels a side (<= 512).

    Returns:
        uint16 (B, S, S), bone bright.
    """
    return np.asarray(_render(Scene(*map(jnp.asarray, scenes)), _device_textures(), size))


@functools.cache
def _device_textures():
    return jnp.asarray(_textures())


def max_texture_offset(size: int) -> int:
    """Largest first row or column of a texture window for films of `size` pixels a side."""
    return _TEXTURE - size
