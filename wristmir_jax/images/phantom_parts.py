"""What a phantom is drawn from: a handful of numbers for each bone, wire and film.

All lengths are mm in the anatomical frame of the left wrist: y points distally, x radially on a PA
film and volarly on a lateral one; the origin is the middle of the distal end of the radial
metaphysis.
"""

from typing import Any, NamedTuple

import numpy as np

# Tubes that can break come first in a scene; the others are drawn whole.
NUM_BREAKABLE = 4
# Segments of a film that is not tidy: so many that are burned in come last.
NUM_LETTERS = 16
# 1/mm above soft tissue at about 40 keV effective; MU_SOFT is that of soft tissue itself, less what
# processing takes out of the slow changes of a film.
MU_CORTEX = 0.084
MU_CALLUS = 0.048
MU_SOFT = 0.020

# A float where a scene is built, a traced scalar where it is drawn.
Value = Any


def undulation(across, frequency, phase, xp=np):
    """Height -1.4..1.4 of the uneven edge of a growth plate, `across` mm from the axis.

    Args:
        across: mm.
        frequency: waves a mm.
        phase: in waves.
        xp: the array module, numpy or jax.numpy.
    """

    def wave(x):
        x = 4.0 * xp.abs(x - xp.floor(x + 0.5)) - 1.0
        return x * (1.5 - 0.5 * x * x)

    at = frequency * across + phase
    return wave(at) + 0.4 * wave(2.7 * at + 0.3)


class Tube(NamedTuple):
    """A long bone: `origin` is its distal end, `length` the way back along its axis.

    Attributes:
        origin_x, origin_y, axis_x, axis_y, length, bow: the axis and its curvature (1/mm).
        shaft, flare_left, flare_right, flare_length: half-width of the shaft and what the distal
            end adds.
        base_flare, base_length: what the proximal end adds, which ends more abruptly.
        depth: half-depth as a share of the half-width.
        cortex_shaft, cortex_end: thickness of the cortical shell.
        marrow_shaft, marrow_end, end_line: density relative to cortex, of marrow and of the zone of
            provisional calcification. end_zone, end_zone_length: what the last mm have on top.
        end_curve, end_round: shape of the distal end and of its corners. end_wave, end_frequency,
            end_phase: its undulation, mm, waves a mm across and phase in waves.
        base_curve: how far the corners of the proximal end are rounded off, mm; base_slope: by how
            much it is longer on the left, mm a mm across; base_line: density of the bone under its
            surface (tubes that are drawn whole).
        cut_at, cut_slope, cut_hinge, cut_hinge_at, jag, jag_phase, cut_soft: the fracture line
            across the axis; beyond the hinge it bends proximally and leaves a corner.
        keep: -1 draws what is proximal of the line, 1 what is distal; unused in tubes that cannot
            break.
        bump_at, bump_length, bump_left, bump_right: a buckle of the cortex.
        band, band_width: density along the line (impaction, sclerosis).
        callus_left, callus_right, callus_length, callus_mu: a sleeve of new bone around the line.
        opacity: 0 hides the tube.
    """

    origin_x: Value = 0.0
    origin_y: Value = 0.0
    axis_x: Value = 0.0
    axis_y: Value = 1.0
    length: Value = 400.0
    bow: Value = 0.0
    shaft: Value = 1.0
    flare_left: Value = 0.0
    flare_right: Value = 0.0
    flare_length: Value = 1.0
    base_flare: Value = 0.0
    base_length: Value = 1.0
    depth: Value = 0.85
    cortex_shaft: Value = 1.0
    cortex_end: Value = 0.6
    marrow_shaft: Value = 0.1
    marrow_end: Value = 0.34
    end_line: Value = 0.0
    end_zone: Value = 0.0
    end_zone_length: Value = 1.0
    end_curve: Value = 0.0
    end_round: Value = 0.0
    end_wave: Value = 0.0
    end_frequency: Value = 0.0
    end_phase: Value = 0.0
    base_curve: Value = 0.0
    base_slope: Value = 0.0
    base_line: Value = 0.0
    cut_at: Value = 0.0
    cut_slope: Value = 0.0
    cut_hinge: Value = 0.0
    cut_hinge_at: Value = 0.0
    jag: Value = 0.0
    jag_phase: Value = 0.0
    cut_soft: Value = 0.0
    keep: Value = 0.0
    bump_at: Value = 0.0
    bump_length: Value = 1.0
    bump_left: Value = 0.0
    bump_right: Value = 0.0
    band: Value = 0.0
    band_width: Value = 1.0
    callus_left: Value = 0.0
    callus_right: Value = 0.0
    callus_length: Value = 1.0
    callus_mu: Value = 0.0
    opacity: Value = 1.0


class Blob(NamedTuple):
    """A small bone: a superellipse whose mid-line and height bend along its first axis.

    Attributes:
        center_x, center_y, axis_x, axis_y: place and direction of the first half-axis.
        half_length, half_height, depth: half-axes in the plane and along the beam.
        taper, pinch: change of the height along the axis, linear and quadratic.
        shear, bend: shift of the mid-line along the axis, linear and quadratic.
        square: 0 ellipse .. 1 fourth-power superellipse.
        rim, mu_rim, mu_inside: thickness of the cortex, attenuation (1/mm) of cortex and inside.
        rim_cos_1 .. rim_sin_2: by which share the cortex is denser: a Fourier series in the angle
            from the first half-axis. lean_u, lean_w: the same of the inside, along the axes.
        back, back_size, back_u, back_w: attenuation (in shares of `mu_rim`), size (share of the
            outline's area) and place (in half-axes) of an edge of the bone's far side, or of a hook
            of it, which lies inside the outline.
        wave_cos_1 .. wave_sin_6: how far the outline lies beyond that shape as a share of its
            radius: a Fourier series in the angle from the first half-axis.
        keep, split_at, split_slope: draws one side of a split (-1 below, 1 above it), 0 all.
        clip, clip_at: 1 hides what lies below `clip_at` on the second axis.
        line, line_at, line_slope, line_width: depth 0..1 and place of a lucent line across; a
            negative depth makes it denser.
        surface, surface_at: attenuation (in shares of `mu_rim`) of a band along the bone and its
            place from the mid-line in half-heights: the other rim of a joint surface.
        base_wave, base_frequency, base_phase: undulation of the lower edge as that of `Tube`.
    """

    center_x: Value = 0.0
    center_y: Value = 0.0
    axis_x: Value = 1.0
    axis_y: Value = 0.0
    half_length: Value = 1.0
    half_height: Value = 1.0
    depth: Value = 0.0
    taper: Value = 0.0
    pinch: Value = 0.0
    shear: Value = 0.0
    bend: Value = 0.0
    square: Value = 0.0
    wave_cos_1: Value = 0.0
    wave_sin_1: Value = 0.0
    wave_cos_2: Value = 0.0
    wave_sin_2: Value = 0.0
    wave_cos_3: Value = 0.0
    wave_sin_3: Value = 0.0
    wave_cos_4: Value = 0.0
    wave_sin_4: Value = 0.0
    wave_cos_5: Value = 0.0
    wave_sin_5: Value = 0.0
    wave_cos_6: Value = 0.0
    wave_sin_6: Value = 0.0
    rim: Value = 0.1
    mu_rim: Value = 0.0
    mu_inside: Value = 0.0
    rim_cos_1: Value = 0.0
    rim_sin_1: Value = 0.0
    rim_cos_2: Value = 0.0
    rim_sin_2: Value = 0.0
    lean_u: Value = 0.0
    lean_w: Value = 0.0
    back: Value = 0.0
    back_size: Value = 0.5
    back_u: Value = 0.0
    back_w: Value = 0.0
    keep: Value = 0.0
    split_at: Value = 0.0
    split_slope: Value = 0.0
    clip: Value = 0.0
    clip_at: Value = 0.0
    line: Value = 0.0
    line_at: Value = 0.0
    line_slope: Value = 0.0
    line_width: Value = 1.0
    surface: Value = 0.0
    surface_at: Value = 0.0
    base_wave: Value = 0.0
    base_frequency: Value = 0.0
    base_phase: Value = 0.0


WAVES = tuple(name for name in Blob._fields if name.startswith("wave_"))


class Segment(NamedTuple):
    """A thick stroke.

    `film` is 0 for metal in the wrist's frame, 1 for lead on the film and 2 for what is burned
    into the picture, beyond the collimated field, too.
    """

    x0: Value = 0.0
    y0: Value = 0.0
    x1: Value = 1.0
    y1: Value = 0.0
    radius: Value = 0.1
    mu: Value = 0.0
    film: Value = 1.0


class Field(NamedTuple):
    """Pose, soft tissue, cast, film and detector.

    Attributes:
        spacing: mm a pixel. rotation, shift_x, shift_y, mirror: of the wrist on the film.
        soft_x .. soft_depth: centre line, half-width and relative depth of the soft tissue, its
            widening towards elbow and hand; the hand is thinner by the share `soft_thin`.
        bend_at, bend_shift, bend_slope: how it follows a displaced hand. swell_*: a swelling.
        thumb_*: the ball of the thumb as a thick stroke.
        mu_soft: 1/mm. soft_curve: power of the thickness of soft tissue, which processing flattens.
        planes: contrast of planes of fat. belly, belly_at, belly_width, tendon, tendon_at: how much
            thicker the limb is along a muscle and a tendon, in half-widths from its middle.
        fold, fold_at: optical thickness of folds of the skin and the height of the first.
        uneven_x, uneven_y: optical thickness that the limb gains across and along half of itself.
        cast_*: ring of cast around the soft tissue, up to the height `cast_end`.
        bone_texture: contrast of trabeculae.
        film_*, frame, frame_width: the collimated rectangle and the glow of the shutter inside it:
            grey at its edge and the length (mm) over which it falls to a third. frame_skew_*: by
            which share it is brighter at the right and at the upper edge.
        exposure, gamma, floor, noise: from optical thickness to grey.
        texture_row .. noise_column: windows of the textures.
    """

    spacing: Value
    rotation: Value
    shift_x: Value
    shift_y: Value
    mirror: Value
    soft_x: Value
    soft_slope: Value
    soft_half: Value
    soft_forearm: Value
    soft_hand: Value
    soft_depth: Value
    soft_thin: Value
    bend_at: Value
    bend_shift: Value
    bend_slope: Value
    swell_at: Value
    swell_left: Value
    swell_right: Value
    swell_length: Value
    thumb_x0: Value
    thumb_y0: Value
    thumb_x1: Value
    thumb_y1: Value
    thumb_radius: Value
    mu_soft: Value
    soft_curve: Value
    planes: Value
    belly: Value
    belly_at: Value
    belly_width: Value
    tendon: Value
    tendon_at: Value
    fold: Value
    fold_at: Value
    uneven_x: Value
    uneven_y: Value
    cast_mu: Value
    cast_gap: Value
    cast_thickness: Value
    cast_texture: Value
    cast_end: Value
    bone_texture: Value
    film_half_width: Value
    film_half_height: Value
    film_rotation: Value
    frame: Value
    frame_width: Value
    frame_skew_x: Value
    frame_skew_y: Value
    exposure: Value
    gamma: Value
    floor: Value
    noise: Value
    texture_row: Value
    texture_column: Value
    noise_row: Value
    noise_column: Value


class Stroke(NamedTuple):
    """Soft tissue as a thick stroke whose radius changes along it, in the wrist's frame.

    Attributes:
        x0, y0, x1, y1, radius0, radius1: ends and half-widths there.
        depth: depth as a share of the width.
        added: 0 joins the limb, of which the thickest part counts; otherwise a share of
            soft tissue that is added to it (negative for air inside).
    """

    x0: Value = 0.0
    y0: Value = 0.0
    x1: Value = 0.0
    y1: Value = 1.0
    radius0: Value = 0.0
    radius1: Value = 0.0
    depth: Value = 0.9
    added: Value = 0.0


class Finish(NamedTuple):
    """How a film that is not tidy was collimated, exposed, processed and stored.

    Attributes:
        soft_top, soft_bottom: where the limb's one soft cylinder ends, mm along the wrist's axis;
            `soft_fade` mm before it begins to.
        slab: a cast on one side only: -1 or 1 keeps the part on that side, 0 all of it.
        cast_start: where the cast ends proximally, mm along the wrist's axis.
        first_*, second_*: two collimated rectangles on the film: centre and half-sides in mm, turn
            in radians. The second is hidden where its half-width is negative.
        corner: distance from the centre of the first rectangle at which its corners are cut.
        circle: radius of a round field about the same centre.
        outside: grey 0..1 beyond the fields. strip_x, strip_y, strip_at, strip_level,
            strip_ragged: a half-plane of that grey, beyond strip_at mm along a direction.
        slope_x, slope_y: optical thickness a mm, of an uneven beam.
        equalise: share of the coarse brightness that is taken out.
        offset: optical thickness that is shown black. sigmoid: 0 straight .. 1 S-shaped grey curve.
        ceiling: the brightest grey.
        blur: 0 none .. 1 all of a Gaussian of `blur_sigma` pixels; negative sharpens.
        banding: contrast of lines of the reader. grain: noise in grey levels.
        coarse_step: step to which 8 x 8 blocks are quantised, in grey levels; 0 keeps them.
        ink: grey of what is burned in.
    """

    soft_top: Value = 1e6
    soft_bottom: Value = -1e6
    soft_fade: Value = 10.0
    slab: Value = 0.0
    cast_start: Value = -1e6
    first_x: Value = 0.0
    first_y: Value = 0.0
    first_half_width: Value = 1e6
    first_half_height: Value = 1e6
    first_turn: Value = 0.0
    second_x: Value = 0.0
    second_y: Value = 0.0
    second_half_width: Value = -1e6
    second_half_height: Value = -1e6
    second_turn: Value = 0.0
    corner: Value = 1e6
    circle: Value = 1e6
    outside: Value = 0.0
    strip_x: Value = 0.0
    strip_y: Value = 1.0
    strip_at: Value = 1e6
    strip_level: Value = 1.0
    strip_ragged: Value = 0.0
    slope_x: Value = 0.0
    slope_y: Value = 0.0
    equalise: Value = 0.0
    offset: Value = 0.0
    sigmoid: Value = 0.0
    ceiling: Value = 1.0
    blur: Value = 0.0
    blur_sigma: Value = 1.0
    banding: Value = 0.0
    grain: Value = 0.0
    coarse_step: Value = 0.0
    ink: Value = 1.0


class Scene(NamedTuple):
    """What one film shows; float32, with a leading batch axis B where films are drawn together.

    Attributes:
        tubes: (T, len(Tube._fields)); the first `NUM_BREAKABLE` can break, the others are whole.
        blobs: (K, len(Blob._fields)).
        segments: (G, len(Segment._fields)).
        field: (len(Field._fields),): pose, soft tissue, cast, film and detector.
        strokes: (N, len(Stroke._fields)): soft tissue besides the field's one cylinder.
        finish: (len(Finish._fields),), or (0,) for a tidy film, which skips all that it describes.
    """

    tubes: np.ndarray
    blobs: np.ndarray
    segments: np.ndarray
    field: np.ndarray
    strokes: np.ndarray = np.zeros((0, len(Stroke._fields)), np.float32)
    finish: np.ndarray = np.zeros(0, np.float32)
