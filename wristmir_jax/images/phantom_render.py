"""Draw phantoms: analytic bones and soft tissue, thickness integrals, Beer-Lambert, a detector.

A scene is a handful of fixed-size arrays (`phantom_parts.Scene`), so that every wrist, whatever its
age, view or fracture, goes through the same compiled function. Bones are *tubes* (shafts with a
flare at the ends) and *blobs* (carpals, epiphyses, fragments); wires and the strokes of markers are
*segments*.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wristmir_jax.images.phantom_parts import (
    MU_CORTEX,
    NUM_BREAKABLE,
    NUM_LETTERS,
    WAVES,
    Blob,
    Field,
    Finish,
    Scene,
    Segment,
    Stroke,
    Tube,
    undulation,
)

_TEXTURE = 1024
# Optical thickness of what scatters on to the film beside the limb.
_VEIL = 0.10
# Cortex of a shaft in front and behind, as a share of that at its sides: of the forearm, and of
# bones that cannot break.
_WALL, _WHOLE_WALL = 0.8, 0.6
_DRAWN = ("tubes", "blobs", "segments", "strokes")


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


def _tube(x, y, p: Tube, texture, pixel, can_break: bool):
    dx, dy = x - p.origin_x, y - p.origin_y
    u = dx * p.axis_x + dy * p.axis_y
    v = dx * p.axis_y - dy * p.axis_x
    v = v + p.bow * u * u
    z = u / p.flare_length
    flare = 1.0 / (1.0 + z * z)
    z = (u + p.length) / p.base_length
    z = z * z
    base = 1.0 / (1.0 + z * z)
    left = p.shaft + p.flare_left * flare + p.base_flare * base
    right = p.shaft + p.flare_right * flare + p.base_flare * base
    if can_break:
        bump = _bump((u - p.bump_at) / p.bump_length)
        left, right = left + p.bump_left * bump, right + p.bump_right * bump
    half = 0.5 * (left + right)
    v_centred = v - 0.5 * (right - left)
    depth = p.depth * half
    cortex = p.cortex_shaft + (p.cortex_end - p.cortex_shaft) * jnp.maximum(flare, base)
    outer = _chord(v_centred, half, depth)
    # The walls in front and behind are thinner than those at the sides.
    wall = _WALL if can_break else _WHOLE_WALL
    inner = _chord(v_centred, half - cortex, depth - wall * cortex)
    z = v / p.shaft
    uneven = undulation(v, p.end_frequency, p.end_phase, jnp)
    corner = (v / (p.shaft + 0.5 * (p.flare_left + p.flare_right))) ** 4
    end = p.end_curve * z * z - p.end_round * corner * corner + p.end_wave * uneven
    z = v_centred / (p.shaft + p.base_flare)
    z = z * z
    start = u + p.length - p.base_curve * z * z - p.base_slope * v_centred
    inside = _ramp((end - u) / pixel) * _ramp(start / pixel) * p.opacity
    marrow = p.marrow_shaft + (p.marrow_end - p.marrow_shaft) * jnp.maximum(flare, base)
    # Zone of provisional calcification: a white line just inside the growing end.
    below = u - end
    # Trabeculae are inside; shell and line are even.
    density = marrow * (1.4 * texture - 0.4) + p.end_zone * _bump(below / p.end_zone_length)
    density = density + p.end_line * (1.0 - 0.35 * uneven) * _bump((below + 0.8) / 0.9)
    if not can_break:
        density = density + p.base_line * _bump((start - 0.6) / 0.9)
        return MU_CORTEX * (outer - inner + density * inner) * inside

    jag = _triangle_wave(v * 0.12 + p.jag_phase) + 0.5 * _triangle_wave(
        v * 0.37 + 2.3 * p.jag_phase
    )
    jag = jag + 0.15 * _triangle_wave(v * 1.1 + 5.1 * p.jag_phase)
    line = (
        u
        - p.cut_at
        - p.cut_slope * v
        + jnp.maximum(p.cut_hinge * (v - p.cut_hinge_at), 0.0)
        - p.jag * jag
    )
    # Neither the edge of a piece nor what is pressed together is the same all along the line.
    ragged = 1.0 + 0.6 * _triangle_wave(v * 0.23 + 1.7 * p.jag_phase)
    line = line - p.jag * 2.5 * (texture - 1.0)
    kept = _ramp(p.keep * line / (p.cut_soft * ragged * (1.0 + p.jag) + 0.7 * pixel))
    bend = 0.7 * _triangle_wave(v * 0.09 + 3.1 * p.jag_phase)
    pressed = 1.0 + 0.45 * _triangle_wave(v * 0.055 + 0.7 * p.jag_phase)
    density = density + p.band * pressed * texture * _bump((line + bend) / p.band_width)
    bone = MU_CORTEX * (outer - inner + density * inner) * kept

    callus = _bump((u - p.bump_at) / p.callus_length)
    sleeve_left, sleeve_right = p.callus_left * callus, p.callus_right * callus
    grown = 0.5 * (sleeve_left + sleeve_right)
    sleeve = _chord(v_centred - 0.5 * (sleeve_right - sleeve_left), half + grown, depth + grown)
    # Drawn once, around the proximal piece.
    around = p.callus_mu * jnp.where(p.keep < 0.0, 1.0, 0.0)
    return (bone + around * jnp.maximum(sleeve - outer, 0.0)) * inside


def _blob(x, y, p: Blob, texture, pixel):
    dx, dy = x - p.center_x, y - p.center_y
    u = dx * p.axis_x + dy * p.axis_y
    w = dy * p.axis_x - dx * p.axis_y
    tu = u / p.half_length
    height = p.half_height * jnp.maximum(1.0 + p.taper * tu + p.pinch * tu * tu, 0.2)
    tw = (w - p.shear * u - p.bend * tu * tu) / height
    base = p.base_wave * undulation(u, p.base_frequency, p.base_phase, jnp) / height
    tw = tw + base * jnp.clip(tw, -1.0, 0.0)
    u2, w2 = tu * tu, tw * tw
    inwards = _inwards(tu, tw, u2 + w2, p)
    long2 = u2 + w2 + 1e-6
    uneven = 1.0 + (p.rim_cos_1 * tu + p.rim_sin_1 * tw) * jax.lax.rsqrt(long2)
    uneven = uneven + (p.rim_cos_2 * (u2 - w2) + 2.0 * p.rim_sin_2 * tu * tw) / long2
    far_u, far_w = tu - p.back_u, tw - p.back_w
    far = _bump(((far_u * far_u + far_w * far_w) * inwards / p.back_size - 1.0) / 0.6)
    u2, w2 = u2 * inwards, w2 * inwards
    r = (1.0 - p.square) * (u2 + w2) + p.square * (u2 * u2 + w2 * w2)
    grow_u = 1.0 / jnp.maximum(1.0 - p.rim / p.half_length, 0.3) ** 2
    grow_w = 1.0 / jnp.maximum(1.0 - p.rim / p.half_height, 0.3) ** 2
    u2, w2 = u2 * grow_u, w2 * grow_w
    r_inner = (1.0 - p.square) * (u2 + w2) + p.square * (u2 * u2 + w2 * w2)
    # Small bones are flatter than ellipsoids: their edges are steep.
    outer = 2.0 * p.depth * jnp.sqrt(jnp.maximum(1.0 - r * r, 0.0))
    inner = 2.0 * (p.depth - p.rim) * jnp.sqrt(jnp.maximum(1.0 - r_inner * r_inner, 0.0))
    # The shell is denser where other bones press on its long sides.
    shell = p.mu_rim * (0.65 + 0.7 * jnp.minimum(w2, 1.0)) * jnp.clip(uneven * texture, 0.1, 1.6)
    spongy = p.mu_inside * (1.0 + p.lean_u * tu + p.lean_w * tw) * texture
    edge = tw - p.surface_at
    surface = p.surface * _bump((edge + 0.06 * texture) / 0.3)
    mass = shell * (outer - inner) + (spongy + p.mu_rim * (p.back * far + surface)) * inner
    side = u - p.split_at - p.split_slope * w
    kept = jnp.where(p.keep == 0.0, 1.0, _ramp(p.keep * side / (0.7 * pixel)))
    clipped = 1.0 - p.clip * _ramp((p.clip_at - w) / pixel)
    line = u - p.line_at - p.line_slope * w
    lucent = 1.0 - p.line * _bump(line / (p.line_width + 0.7 * pixel))
    return jnp.maximum(mass, 0.0) * kept * clipped * lucent


def _inwards(tu, tw, squared, p: Blob):
    """Over the square of what the waves make of the radius at the angle of (tu, tw)."""
    length = jnp.sqrt(squared + 1e-12)
    first_cos, first_sin = tu / length, tw / length
    cos, sin = first_cos, first_sin
    beyond = 1.0
    orders = len(WAVES) // 2
    # Polynomials in the cosine took eight times as long on a CPU: their weights are no constants.
    for order in range(orders):
        beyond += getattr(p, WAVES[2 * order]) * cos + getattr(p, WAVES[2 * order + 1]) * sin
        if order < orders - 1:
            cos, sin = cos * first_cos - sin * first_sin, sin * first_cos + cos * first_sin
    beyond = jnp.maximum(beyond, 0.3)
    return 1.0 / (beyond * beyond)


def _segment(x, y, film_x, film_y, p: Segment, pixel):
    x = jnp.where(p.film > 0.0, film_x, x)
    y = jnp.where(p.film > 0.0, film_y, y)
    ex, ey = p.x1 - p.x0, p.y1 - p.y0
    dx, dy = x - p.x0, y - p.y0
    long = jnp.sqrt(ex * ex + ey * ey + 1e-6)
    along = jnp.abs((dx * ex + dy * ey) / long - 0.5 * long) - 0.5 * long
    d = jnp.maximum(along, jnp.abs(dx * ey - dy * ex) / long)
    return p.mu * _ramp((p.radius - d) / (0.6 * pixel)) * 2.0 * p.radius


def _soft_half(y, f: Field):
    """Half-width of the soft tissue at height y (forearm widens proximally, the hand distally)."""
    hand = _ramp((y - f.soft_half * 0.9) / (f.soft_half * 1.0))
    return f.soft_half * (1.0 + f.soft_forearm * jnp.maximum(-y - 8.0, 0.0) + f.soft_hand * hand)


def _stroke(x, y, p: Stroke):
    """Thickness of a thick stroke of soft tissue."""
    ex, ey = p.x1 - p.x0, p.y1 - p.y0
    dx, dy = x - p.x0, y - p.y0
    t = jnp.clip((dx * ex + dy * ey) / (ex * ex + ey * ey + 1e-6), 0.0, 1.0)
    radius = p.radius0 + (p.radius1 - p.radius0) * t
    d2 = (dx - t * ex) ** 2 + (dy - t * ey) ** 2
    return 2.0 * p.depth * jnp.sqrt(jnp.maximum(radius * radius - d2, 0.0))


def _flesh(limb, across, y, f: Field, coarse):
    """Optical thickness of a limb of that thickness; `across` in half-widths from its middle."""
    # Muscles end above the wrist, tendons run on.
    proximal = _ramp(-y / f.soft_half - 0.6)
    thicker = f.belly * proximal * _bump((across - f.belly_at) / f.belly_width)
    thicker = thicker + f.tendon * _bump((across - f.tendon_at + 0.03 * coarse) / 0.14)
    soft = f.mu_soft * limb * (1.0 + f.planes * coarse + thicker)
    crease = y - f.fold_at - 0.12 * f.soft_half * across * across - 0.5 * coarse
    folds = _bump(crease / 0.9) + 0.6 * _bump((crease - 6.0) / 1.1)
    within = jnp.maximum(1.0 - across * across, 0.0)
    soft = soft + f.fold * folds * jnp.minimum(4.0 * within, 1.0)
    return soft + (f.uneven_x * across + f.uneven_y * y / (2.0 * f.soft_half)) * within


def _soft_tissue(x, y, f: Field, coarse, strokes, finish: Finish | None):
    """Optical thickness of soft tissue and cast."""
    half = _soft_half(y, f)
    above = y - f.bend_at
    soft_x = x - f.soft_x - f.soft_slope * y - f.bend_slope * jnp.maximum(above, 0.0)
    soft_x = soft_x - f.bend_shift * _ramp(above / (0.5 * f.soft_half))
    swell = _bump((y - f.swell_at) / f.swell_length)
    left, right = half + f.swell_left * swell, half + f.swell_right * swell
    half = 0.5 * (left + right)
    soft_x = soft_x - 0.5 * (right - left)
    depth = f.soft_depth * half
    ex, ey = f.thumb_x1 - f.thumb_x0, f.thumb_y1 - f.thumb_y0
    dx, dy = x - f.thumb_x0, y - f.thumb_y0
    t = jnp.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0.0, 1.0)
    d2 = (dx - t * ex) ** 2 + (dy - t * ey) ** 2
    thumb = 2.0 * jnp.sqrt(jnp.maximum(f.thumb_radius**2 - d2, 0.0))
    limb = jnp.maximum(_chord(soft_x, half, depth), thumb)
    if finish is not None:
        # The palm is round: its sides end lower.
        across = jnp.minimum((soft_x / half) ** 2, 1.0)
        top = finish.soft_top - 0.6 * finish.soft_fade * across - y
        ends = jnp.minimum(top, y - finish.soft_bottom) / finish.soft_fade
        limb = limb * jnp.sqrt(jnp.clip(ends, 0.0, 1.0))
    if strokes.shape[0]:

        def joined(carry, part):
            limb, added = carry
            p = Stroke(*part)
            thickness = _stroke(x, y, p)
            limb = jnp.maximum(limb, jnp.where(p.added == 0.0, thickness, 0.0))
            return (limb, added + p.added * thickness), None

        (limb, added), _ = jax.lax.scan(joined, (limb, jnp.zeros_like(limb)), strokes)
        limb = jnp.maximum(limb + added, 0.0)
    thick = 2.0 * f.soft_depth * f.soft_half
    limb = thick * (limb / thick + 1e-6) ** f.soft_curve
    # Muscle under the skin's fat.
    core = jnp.sqrt(jnp.maximum(1.0 - (soft_x / ((0.80 + 0.025 * coarse) * half)) ** 2, 0.0))
    thinner = 1.0 - f.soft_thin * _ramp(y / f.soft_half - 1.0)
    limb = limb * (0.91 + 0.16 * core) * thinner
    soft = _flesh(limb, soft_x / half, y, f, coarse)
    # Processing takes more from what surrounds the limb the nearer it is.
    beside = _bump(jnp.maximum(jnp.abs(soft_x) / half - 1.0, 0.0) / 0.6)
    soft = soft + _VEIL * (1.0 - 0.7 * beside)

    # Wound by hand: neither smooth nor cut off square.
    wave = _triangle_wave(0.021 * y + 0.004 * soft_x)
    wave = wave * (1.5 - 0.5 * wave * wave)
    gap = f.cast_gap * (1.0 + 0.35 * wave)
    inner_half, inner_depth = half + gap, depth + gap
    ring = _chord(soft_x, inner_half + f.cast_thickness, inner_depth + f.cast_thickness) - _chord(
        soft_x, inner_half, inner_depth
    )
    weave = 1.0 + f.cast_texture * (
        0.6 * _triangle_wave(0.23 * (x + y)) * _triangle_wave(0.23 * (x - y)) + 0.5 * coarse
    )
    cast = f.cast_mu * ring * weave * _ramp((f.cast_end - y - 0.2 * soft_x + 2.0 * wave) / 2.0)
    if finish is not None:
        side = _ramp(finish.slab * soft_x / 3.0 + 1.0 - jnp.abs(finish.slab))
        cast = cast * side * _ramp((y - finish.cast_start) / 1.5)
    return soft + cast


def _shuttered(value, edge, film_x, film_y, f: Field):
    """Grey with the glow inside the field's edge: the penumbra of the shutter, white as bone is."""
    skew = (
        f.frame_skew_x * film_x / f.film_half_width + f.frame_skew_y * film_y / f.film_half_height
    )
    glow = (
        f.frame * jnp.clip(1.0 + skew, 0.0, 2.0) * jnp.exp(jnp.minimum(edge, 0.0) / f.frame_width)
    )
    return value + (0.97 - value) * jnp.minimum(glow, 1.0)


def _quanta(transmitted):
    """Noise of the rays that arrive; processing smooths what is dark, where there are many."""
    return jnp.sqrt(transmitted + 0.02) * (1.2 - 0.9 * transmitted)


def _detect(attenuation, film_x, film_y, f: Field, noise):
    """From optical thickness to grey, inside the collimated rectangle."""
    transmitted = jnp.exp(-attenuation)
    counts = transmitted + f.noise * _quanta(transmitted) * noise
    optical = -jnp.log(jnp.maximum(counts, 2e-3))
    value = f.floor + (1.0 - f.floor) * jnp.clip(optical * f.exposure, 0.0, 1.0) ** f.gamma
    cos, sin = jnp.cos(f.film_rotation), jnp.sin(f.film_rotation)
    across = jnp.abs(cos * film_x + sin * film_y) - f.film_half_width
    along = jnp.abs(cos * film_y - sin * film_x) - f.film_half_height
    edge = jnp.maximum(across, along)
    value = _shuttered(value, edge, film_x, film_y, f) * _ramp(-edge / f.spacing)
    return (jnp.clip(value, 0.0, 1.0) * 65535.0 + 0.5).astype(jnp.uint16)


def field_edge(film_x, film_y, f: Finish, xp=jnp):
    """How far (mm) points of the film lie outside the collimated fields; negative inside.

    Args:
        film_x, film_y: mm from the middle of the film, y upwards.
        f: numbers or traced scalars.
        xp: the array module that the points belong to, numpy or jax.numpy.
    """

    def rectangle(dx, dy, half_width, half_height, turn):
        cos, sin = xp.cos(turn), xp.sin(turn)
        across, along = xp.abs(cos * dx + sin * dy), xp.abs(cos * dy - sin * dx)
        return xp.maximum(across - half_width, along - half_height), 0.7071 * (across + along)

    dx, dy = film_x - f.first_x, film_y - f.first_y
    first, diagonal = rectangle(dx, dy, f.first_half_width, f.first_half_height, f.first_turn)
    first = xp.maximum(first, diagonal - f.corner)
    first = xp.maximum(first, xp.sqrt(dx * dx + dy * dy) - f.circle)
    second, _ = rectangle(
        film_x - f.second_x, film_y - f.second_y, f.second_half_width, f.second_half_height,
        f.second_turn,
    )  # fmt: skip
    return xp.minimum(first, second)


def strip_edge(film_x, film_y, f: Finish):
    """How far (mm) points lie inside the strip that covers one margin of the film."""
    return f.strip_x * film_x + f.strip_y * film_y - f.strip_at


def _gaussian(image, sigma):
    """Blur of up to 4 pixels each way; `sigma` in pixels is traced."""
    offsets = jnp.arange(-4, 5)
    weights = jnp.exp(-0.5 * (offsets / jnp.maximum(sigma, 0.1)) ** 2)
    weights = weights / weights.sum()
    for axis in (0, 1):
        padding = [(4, 4) if k == axis else (0, 0) for k in (0, 1)]
        padded = jnp.pad(image, padding, mode="edge")
        length = image.shape[axis]
        image = functools.reduce(
            jnp.add,
            (weights[k] * jax.lax.slice_in_dim(padded, k, k + length, axis=axis) for k in range(9)),
        )
    return image


@functools.cache
def _cosines() -> np.ndarray:
    """(8, 8) orthonormal discrete cosine transform."""
    k, n = np.mgrid[:8, :8]
    rows = np.cos(np.pi * (n + 0.5) * k / 8) * np.sqrt(2.0 / 8)
    rows[0] /= np.sqrt(2.0)
    return rows.astype(np.float32)


def _quantised(image, step):
    """Blocks of 8 x 8 with coefficients on a grid that gets coarser with their frequency."""
    size = image.shape[0]
    short = -size % 8
    padded = jnp.pad(image, ((0, short), (0, short)), mode="edge")
    count = padded.shape[0] // 8
    blocks = padded.reshape(count, 8, count, 8)
    cosines = _cosines()
    coefficients = jnp.einsum("ij,ajbk,lk->aibl", cosines, blocks, cosines)
    order = np.add.outer(np.arange(8), np.arange(8)).astype(np.float32)
    grid = jnp.maximum(step, 1e-6) * (1.0 + 0.7 * order)[None, :, None, :]
    rounded = jnp.round(coefficients / grid) * grid
    image_again = jnp.einsum("ij,aibl,lk->ajbk", cosines, rounded, cosines)
    return jnp.where(step > 0.0, image_again.reshape(padded.shape)[:size, :size], image)


def _coarse(image):
    """What is left of an image in 12 x 12 pixels."""
    size = image.shape[0]
    small = jax.image.resize(image, (12, 12), "linear", antialias=True)
    return jax.image.resize(small, (size, size), "cubic")


def _process(attenuation, burned, film_x, film_y, f: Field, finish: Finish, noise, coarse):
    """As `_detect`, for a film that is not tidy; `burned` is the cover (0..1) of letters."""
    attenuation = attenuation + finish.slope_x * film_x + finish.slope_y * film_y
    transmitted = jnp.exp(-attenuation)
    counts = transmitted + f.noise * _quanta(transmitted) * noise
    optical = -jnp.log(jnp.maximum(counts, 2e-3))
    optical = optical - finish.equalise * _coarse(jnp.minimum(optical, 3.0))
    value = jnp.clip((optical - finish.offset) * f.exposure, 0.0, 1.0) ** f.gamma
    value = value + finish.sigmoid * (value * value * (3.0 - 2.0 * value) - value)
    value = f.floor + (finish.ceiling - f.floor) * value
    value = value + finish.blur * (_gaussian(value, finish.blur_sigma) - value)
    value = value + finish.grain * noise + finish.banding * jnp.roll(coarse, 7, 0)[:, :1]

    edge = field_edge(film_x, film_y, finish)
    value = _shuttered(value, edge, film_x, film_y, f)
    inside = _ramp(-edge / f.spacing)
    value = value * inside + finish.outside * (1.0 - inside)
    strip = strip_edge(film_x, film_y, finish) + finish.strip_ragged * (
        _triangle_wave(0.031 * (film_x + film_y)) + 0.5 * _triangle_wave(0.173 * film_x - 0.2)
    )
    value = value + (finish.strip_level - value) * _ramp(strip / f.spacing)
    value = value + (finish.ink - value) * burned
    value = _quantised(jnp.clip(value, 0.0, 1.0), finish.coarse_step)
    return (jnp.clip(value, 0.0, 1.0) * 65535.0 + 0.5).astype(jnp.uint16)


def _film_grid(f: Field, size: int):
    grid = (jnp.arange(size, dtype=jnp.float32) + 0.5 - size / 2) * f.spacing
    film_x = jnp.broadcast_to(grid[None, :], (size, size))
    return film_x, jnp.broadcast_to(-grid[:, None], (size, size))


def _window(texture, row, column, size: int):
    return jax.lax.dynamic_slice(texture, (row.astype(int), column.astype(int)), (size, size))


def _attenuate(scene: Scene, textures, size: int):
    """Optical thickness of everything, and the cover of what is burned in."""
    f = Field(*scene.field)
    finish = Finish(*scene.finish) if scene.finish.shape[0] else None
    pixel = f.spacing
    film_x, film_y = _film_grid(f, size)
    cos, sin = jnp.cos(f.rotation), jnp.sin(f.rotation)
    mx, my = f.mirror * film_x - f.shift_x, film_y - f.shift_y
    x = cos * mx + sin * my
    y = cos * my - sin * mx

    trabeculae = _window(textures[0], f.texture_row, f.texture_column, size)
    # They run along the bones.
    trabeculae = jnp.where(jnp.abs(cos) > jnp.abs(sin), trabeculae, trabeculae.T)
    coarse = _window(textures[1], f.texture_column, f.texture_row, size)
    # Small bones are all spongy, and those of the hand more than the forearm's.
    network = _window(textures[3], f.texture_column, f.texture_row, size)
    texture, hand = (1.0 + k * f.bone_texture * trabeculae for k in (1.0, 1.6))
    spongy = 1.0 + f.bone_texture * (1.2 * network + 1.0 * coarse)
    total = _soft_tissue(x, y, f, coarse, scene.strokes, finish)
    for i in range(NUM_BREAKABLE):
        total += _tube(x, y, Tube(*scene.tubes[i]), texture, pixel, can_break=True)

    def tube(part):
        return _tube(x, y, Tube(*part), hand, pixel, can_break=False)

    def blob(part):
        return _blob(x, y, Blob(*part), spongy, pixel)

    def metal(part):
        p = Segment(*part)
        stroke = _segment(x, y, film_x, film_y, p, pixel)
        return stroke if finish is None else jnp.where(p.film < 1.5, stroke, 0.0)

    def burned(part):
        p = Segment(*part)
        return jnp.where(p.film > 1.5, _segment(x, y, film_x, film_y, p, pixel), 0.0)

    none = jnp.zeros_like(total)
    # Many parts are looped over: unrolled, they take a minute to compile.
    over = _unrolled if finish is None else _looped
    total = over(tube, scene.tubes[NUM_BREAKABLE:], total, jnp.add)
    # Unrolled, so many operations of blobs in one kernel take five times as long on a CPU.
    total = _looped(blob, scene.blobs, total, jnp.add)
    total = total + over(metal, scene.segments, none, jnp.maximum)
    if finish is None:
        return total, none
    letters = scene.segments[-NUM_LETTERS:]
    return total, jnp.minimum(over(burned, letters, none, jnp.maximum), 1.0)


def _unrolled(draw, parts, image, join):
    for i in range(parts.shape[0]):
        image = join(image, draw(parts[i]))
    return image


def _looped(draw, parts, image, join):
    return jax.lax.scan(lambda image, part: (join(image, draw(part)), None), image, parts)[0]


def _draw(scene: Scene, textures, size: int):
    f = Field(*scene.field)
    attenuation, _ = _attenuate(scene, textures, size)
    noise = _window(textures[2], f.noise_row, f.noise_column, size)
    return _detect(attenuation, *_film_grid(f, size), f, noise)


def _finish(attenuation, burned, scene: Scene, textures, size: int):
    f, finish = Field(*scene.field), Finish(*scene.finish)
    noise = _window(textures[2], f.noise_row, f.noise_column, size)
    coarse = _window(textures[1], f.texture_column, f.texture_row, size)
    return _process(attenuation, burned, *_film_grid(f, size), f, finish, noise, coarse)


def _standard(plane: np.ndarray) -> np.ndarray:
    return (plane - plane.mean()) / plane.std()


@functools.cache
def _textures() -> np.ndarray:
    """(4, 1024, 1024) float32 of unit variance: trabeculae along the bone, coarse planes, noise
    and the network of trabeculae in small bones.

    Drawn once from a fixed seed; films take windows of them at offsets of their own. Trabeculae are
    threads: crests where smooth random fields pass through their means, in several layers.
    """
    rng = np.random.default_rng(20260101)
    fy = np.fft.fftfreq(_TEXTURE)[:, None]
    fx = np.fft.rfftfreq(_TEXTURE)[None, :]

    def field(shape: np.ndarray) -> np.ndarray:
        white = np.fft.rfft2(rng.standard_normal((_TEXTURE, _TEXTURE)))
        return _standard(np.fft.irfft2(white * shape, s=(_TEXTURE, _TEXTURE)))

    def threads(frequency: np.ndarray, middle: float) -> np.ndarray:
        crests = np.exp(-2.0 * np.abs(field(np.exp(-(((frequency - middle) / 0.04) ** 2)))))
        return _standard(crests)

    round_frequency = np.hypot(fx, fy)
    layers = [threads(np.hypot(fx, 7.0 * fy), 0.14) for _ in range(3)]
    layers += [threads(np.hypot(fx, 3.0 * fy), 0.11) for _ in range(2)]
    # Coarse bars, which small pictures still show.
    coarser = threads(np.hypot(fx, 4.0 * fy), 0.05) + field(
        np.exp(-((np.hypot(fx, 3.0 * fy) / 0.04) ** 2))
    )
    patches = field(np.exp(-((round_frequency / 0.025) ** 2)))
    trabeculae = sum(layers) + 1.1 * coarser + 0.6 * patches
    coarse = field(
        1.0 / (0.01 + np.hypot(fx, 3.0 * fy)) ** 1.2 * np.exp(-((round_frequency / 0.15) ** 2))
    )
    noise = field(np.exp(-(round_frequency**2) / (2 * 0.40**2)) / (0.04 + round_frequency) ** 0.6)
    meshes = [threads(round_frequency, middle) for middle in (0.12, 0.15, 0.07)]
    network = sum(meshes) + 0.5 * field(np.exp(-((round_frequency / 0.03) ** 2)))
    return np.stack([_standard(trabeculae), coarse, noise, _standard(network)]).astype(np.float32)


@functools.partial(jax.jit, static_argnames="size")
def _render(scenes: Scene, textures, size: int):
    return jax.vmap(lambda scene: _draw(scene, textures, size))(scenes)


# Two calls where a film is processed: fused into one, every pixel of a blur would draw its
# neighbours anew.
@functools.partial(jax.jit, static_argnames="size")
def _render_attenuation(scenes: Scene, textures, size: int):
    return jax.vmap(lambda scene: _attenuate(scene, textures, size))(scenes)


@functools.partial(jax.jit, static_argnames="size")
def _render_finish(attenuation, burned, scenes: Scene, textures, size: int):
    return jax.vmap(lambda a, b, scene: _finish(a, b, scene, textures, size))(
        attenuation, burned, scenes
    )


def render(scenes: Scene, size: int) -> np.ndarray:
    """Draw a batch of scenes.

    Args:
        scenes: arrays with a leading batch axis B.
        size: S, pixels a side (<= 512).

    Returns:
        uint16 (B, S, S), bone bright.
    """
    textures = _device_textures()
    if not scenes.finish.shape[-1]:
        return np.asarray(_render(scenes, textures, size))
    attenuation, burned = _render_attenuation(scenes, textures, size)
    # Parts that the last stage does not read would only be compiled for again.
    scenes = scenes._replace(**{name: scenes.strokes[:, :0] for name in _DRAWN})
    return np.asarray(_render_finish(attenuation, burned, scenes, textures, size))


@functools.cache
def _device_textures():
    return jnp.asarray(_textures())


def max_texture_offset(size: int) -> int:
    """Largest first row or column of a texture window for films of `size` pixels a side."""
    return _TEXTURE - size
