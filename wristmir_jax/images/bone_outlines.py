"""Measure wrists by the outlines of their bones, and outline the bones of phantoms.

Real outlines (GRAZPEDWRI-DX, drawn by hand) and a phantom's go through the same `measure`, so that
the two can be compared. An outline is float (N, 2), x to the right and y up, in any unit; a left
wrist's (mirror a right one first): x points radially on a PA film and volarly on a lateral one.
"""

import contourpy
import numpy as np

from wristmir_jax.images import phantom_bones, phantom_carpals
from wristmir_jax.images.phantom_anatomy import CARPALS, Anatomy
from wristmir_jax.images.phantom_fractures import Injury
from wristmir_jax.images.phantom_joints import wave_radius
from wristmir_jax.images.phantom_parts import WAVES, Blob, Tube, undulation

METACARPALS = ("metacarpal_5", "metacarpal_4", "metacarpal_3", "metacarpal_2", "metacarpal_1")
Outlines = dict[str, list[np.ndarray]]


class Unmeasurable(ValueError):
    """The film does not show enough of a whole radius to define the frame."""


def measure(bones: Outlines) -> dict[str, float]:
    """Named quantities of one film.

    Lengths are in units of W, the width of the radial metaphysis on the same film, angles in
    degrees. The frame's y axis is that of the radial shaft and points distally; its origin is the
    middle of the distal end of the radial metaphysis (of the whole bone where the physis is closed
    and no epiphysis is outlined apart).

    Args:
        bones: from "radius", "ulna", "radial_epiphysis", "ulnar_epiphysis", names of
            `phantom_anatomy.CARPALS` and `METACARPALS` to the outlines of each.

    Returns:
        `width` in the unit of the outlines, `rotation` of the frame against the film (degrees,
        counter-clockwise), and whatever else the bones that are there allow.

    Raises:
        Unmeasurable: no radius in one piece that shows at least 1.2 W of the shaft.
    """
    frame, width, angle = to_frame(bones)
    found = {"width": width, "rotation": float(np.rad2deg(angle))}
    found |= _radius(frame) | _ulna(frame) | _radial_epiphysis(frame) | _ulnar_epiphysis(frame)
    for bone in CARPALS:
        if bone.name in frame:
            found |= _small_bone(bone.name, frame[bone.name])
    for name in METACARPALS:
        if name in frame:
            found |= _metacarpal(name, frame[name])
    return found


def to_frame(bones: Outlines) -> tuple[Outlines, float, float]:
    """Outlines in the frame of `measure`; W; how far the frame is turned on the film, radians.

    Raises:
        Unmeasurable: see `measure`.
    """
    if len(bones.get("radius", [])) != 1:
        raise Unmeasurable("no radius in one piece")
    radius = bones["radius"][0]
    angle, width = 0.0, 0.0
    for _ in range(6):
        turned = _turn(radius, -angle)
        width, top = _metaphysis(turned)
        reach = (top - turned[:, 1].min()) / width
        if reach < 1.2:
            raise Unmeasurable(f"the radius shows {reach:.1f} of its widths")
        angle += _lean(turned, top - min(2.4, reach - 0.15) * width, top - 0.75 * width)
    turned = _turn(radius, -angle)
    width, _ = _metaphysis(turned)
    origin = _end(turned, width)
    frame = {
        name: [(_turn(part, -angle) - origin) / width for part in parts]
        for name, parts in bones.items()
    }
    return frame, width, angle


def _turn(points: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def _crossings(points: np.ndarray, levels: np.ndarray, axis: int) -> np.ndarray:
    """(L, 2): least and greatest coordinate of an outline where `axis` equals each level."""
    a, b = points, np.roll(points, -1, 0)
    level = levels[:, None]
    low, high = np.minimum(a[:, axis], b[:, axis]), np.maximum(a[:, axis], b[:, axis])
    hit = (low <= level) & (level < high)
    span = np.where(b[:, axis] == a[:, axis], 1.0, b[:, axis] - a[:, axis])
    other = 1 - axis
    at = a[:, other] + (level - a[:, axis]) / span * (b[:, other] - a[:, other])
    least = np.where(hit, at, np.inf).min(1)
    most = np.where(hit, at, -np.inf).max(1)
    missing = ~hit.any(1)
    least[missing] = most[missing] = np.nan
    return np.stack([least, most], 1)


def _metaphysis(points: np.ndarray) -> tuple[float, float]:
    """Greatest width of the distal end of a long bone, and how far distally it reaches."""
    top = points[:, 1].max()
    guess = 0.5 * np.ptp(points[:, 0])
    for _ in range(3):
        edges = _crossings(points, np.linspace(top - 0.75 * guess, top, 60)[:-1], 1)
        guess = float(np.nanmax(edges[:, 1] - edges[:, 0]))
    return guess, float(top)


def _end(points: np.ndarray, width: float) -> np.ndarray:
    """Middle of the distal end: halfway across the metaphysis, mean height of the end."""
    top = points[:, 1].max()
    levels = np.linspace(top - 0.6 * width, top, 60)[:-1]
    edges = _crossings(points, levels, 1)
    widest = edges[np.nanargmax(edges[:, 1] - edges[:, 0])]
    middle = widest.mean()
    columns = np.linspace(middle - 0.3 * np.ptp(widest), middle + 0.3 * np.ptp(widest), 25)
    return np.array([middle, np.nanmean(_crossings(points, columns, 0)[:, 1])])


def _lean(points: np.ndarray, low: float, high: float) -> float:
    """How far the mid-line of a bone between two levels leans to the left, radians."""
    levels = np.linspace(low, high, 40)
    middle = _crossings(points, levels, 1).mean(1)
    good = np.isfinite(middle)
    return float(-np.arctan(np.polyfit(levels[good], middle[good], 1)[0]))


def _width_at(points: np.ndarray, level: float) -> float:
    edges = _crossings(points, np.linspace(level - 0.05, level + 0.05, 5), 1)
    return float(np.nanmean(edges[:, 1] - edges[:, 0]))


def _middle_at(points: np.ndarray, level: float) -> float:
    edges = _crossings(points, np.linspace(level - 0.05, level + 0.05, 5), 1)
    return float(np.nanmean(edges))


def _shaft(name: str, points: np.ndarray, end: float, levels: tuple[float, ...]):
    bottom = points[:, 1].min()
    for level in levels:
        if end - level - 0.1 > bottom:
            yield f"{name}_width_at_{level}", _width_at(points, end - level)


def _radius(frame: Outlines) -> dict[str, float]:
    points = frame["radius"][0]
    found = dict(_shaft("radius", points, 0.0, (0.3, 0.6, 1.0, 1.6, 2.2)))
    found["radius_shaft_x"] = _middle_at(points, -1.05)
    if "radial_epiphysis" not in frame:
        found |= _joint_surface(points, 0.6)
    else:
        left, middle, right = _crossings(points, np.array([-0.38, 0.0, 0.38]), 0)[:, 1]
        found["radius_end_dome"] = float(middle - (left + right) / 2)
    return found


def _joint_surface(points: np.ndarray, share: float) -> dict[str, float]:
    """Slope of the joint surface of the radius: of the top of the outline, in degrees."""
    top = points[:, 1].max()
    levels = np.linspace(top - share, top, 60)[:-1]
    left, right = np.nanmin(_crossings(points, levels, 1)), np.nanmax(_crossings(points, levels, 1))
    columns = left + (right - left) * np.linspace(0.12, 0.88, 30)
    heights = _crossings(points, columns, 0)[:, 1]
    slope = np.polyfit(columns, heights, 1)[0]
    return {"joint_slope": float(np.rad2deg(np.arctan(slope)))}


def _ulna(frame: Outlines) -> dict[str, float]:
    if len(frame.get("ulna", [])) != 1:
        return {}
    points = frame["ulna"][0]
    width, top = _metaphysis(points)
    x, y = _end(points, width)
    found = {"ulna_width": width, "ulna_x": float(x), "ulna_y": float(y)}
    found |= dict(_shaft("ulna", points, y, (0.3, 0.8, 1.6)))
    bottom = points[:, 1].min()
    if top - bottom > 1.2:
        lean = _lean(points, max(bottom + 0.1, top - 2.4), top - 0.4)
        found["ulna_lean"] = float(np.rad2deg(lean))
    return found


def _columns(points: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left, right = points[:, 0].min(), points[:, 0].max()
    columns = left + (right - left) * shares
    return columns, _crossings(points, columns, 0)


def _radial_epiphysis(frame: Outlines) -> dict[str, float]:
    if len(frame.get("radial_epiphysis", [])) != 1:
        return {}
    points = frame["radial_epiphysis"][0]
    found = {
        "radial_epiphysis_width": float(np.ptp(points[:, 0])),
        "radial_epiphysis_x": float(points[:, 0].max() + points[:, 0].min()) / 2,
    }
    shares = np.linspace(0.05, 0.95, 37)
    columns, edges = _columns(points, shares)
    heights = edges[:, 1] - edges[:, 0]
    for share in (0.2, 0.5, 0.8):
        near = np.abs(shares - share) < 0.06
        found[f"radial_epiphysis_height_at_{share}"] = float(heights[near].mean())
        found[f"radial_epiphysis_base_at_{share}"] = float(edges[near, 0].mean())
    found |= _joint_surface(points, np.ptp(points[:, 1]))
    ends = _crossings(frame["radius"][0], columns, 0)[:, 1]
    inner = (shares > 0.2) & (shares < 0.8) & np.isfinite(ends)
    if inner.sum() > 5:
        found["physis_gap"] = float((edges[inner, 0] - ends[inner]).mean())
    return found


def _ulnar_epiphysis(frame: Outlines) -> dict[str, float]:
    if len(frame.get("ulnar_epiphysis", [])) != 1 or len(frame.get("ulna", [])) != 1:
        return {}
    points, ulna = frame["ulnar_epiphysis"][0], frame["ulna"][0]
    end_x, end_y = _end(ulna, _metaphysis(ulna)[0])
    _, edges = _columns(points, np.linspace(0.05, 0.95, 37))
    heights = edges[:, 1] - edges[:, 0]
    middle = float(np.median(heights))
    return {
        "ulnar_epiphysis_width": float(np.ptp(points[:, 0])),
        "ulnar_epiphysis_height": middle,
        "ulnar_epiphysis_x": float(points[:, 0].max() + points[:, 0].min()) / 2 - float(end_x),
        "ulnar_epiphysis_gap": float(np.median(edges[:, 0])) - float(end_y),
        "ulnar_styloid_rise": float(points[:, 1].max() - np.median(edges[:, 1])),
    }


def moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Centroid (2,), covariance (2, 2) and area of the inside of an outline."""
    centre = points.mean(0)
    a, b = points - centre, np.roll(points, -1, 0) - centre
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    area = cross.sum() / 2
    mean = (cross[:, None] * (a + b)).sum(0) / (6 * area)
    total = a + b
    second = np.einsum("n,ni,nj->ij", cross, a, a) + np.einsum("n,ni,nj->ij", cross, b, b)
    second = (second + np.einsum("n,ni,nj->ij", cross, total, total)) / (24 * area)
    return centre + mean, second - np.outer(mean, mean), abs(float(area))


def _small_bone(name: str, parts: list[np.ndarray]) -> dict[str, float]:
    """Centre, axes of the ellipse of equal second moments, direction of the long one (0..180)."""
    centre, covariance, _ = moments(max(parts, key=lambda part: moments(part)[2]))
    values, vectors = np.linalg.eigh(covariance)
    breadth, length = 4.0 * np.sqrt(np.maximum(values, 0.0))
    found = {
        f"{name}_x": float(centre[0]),
        f"{name}_y": float(centre[1]),
        f"{name}_length": float(length),
        f"{name}_breadth": float(breadth),
    }
    if length > 1.15 * breadth:
        x, y = vectors[:, 1]
        found[f"{name}_direction"] = float(np.rad2deg(np.arctan2(y, x)) % 180.0)
    return found


def _metacarpal(name: str, parts: list[np.ndarray]) -> dict[str, float]:
    """Middle and width of the base, and width and direction of the shaft 0.5 W beyond it."""
    points = max(parts, key=lambda part: moments(part)[2])
    _, covariance, _ = moments(points)
    vectors = np.linalg.eigh(covariance)[1]
    along = vectors[:, 1] * np.sign(vectors[1, 1])
    angle = float(np.arctan2(along[1], along[0])) - np.pi / 2
    upright = _turn(points, -angle)
    bottom, top = upright[:, 1].min(), upright[:, 1].max()
    if top - bottom < 0.8 or np.rad2deg(abs(angle)) > 75:
        return {}
    base = _crossings(upright, np.linspace(bottom, bottom + 0.25, 20)[1:], 1)
    wide = float(np.nanmax(base[:, 1] - base[:, 0]))
    shaft = _lean(upright, bottom + 0.3, min(top - 0.1, bottom + 1.2)) + angle
    x, y = _turn(np.array([[np.nanmean(base), bottom]]), angle)[0]
    found = {
        f"{name}_base_x": float(x),
        f"{name}_base_y": float(y),
        f"{name}_base_width": wide,
        f"{name}_direction": float(np.rad2deg(shaft)) + 90.0,
    }
    found[f"{name}_width"] = _width_at(upright, bottom + 0.6)
    return found


# A phantom's outlines.


def phantom_outlines(anatomy: Anatomy, view: str, rotation: float = 0.0) -> Outlines:
    """Outlines (mm) of the bones of an uninjured phantom, as if traced on a film without noise.

    Args:
        anatomy: of the wrist.
        view: "pa", "lateral" or "oblique".
        rotation: of the wrist on the film, radians counter-clockwise.
    """
    lateral = view == "lateral"
    radius, ulna = phantom_bones.long_bones(anatomy, view)
    bones: dict[str, Tube | Blob] = {
        "radius": radius.tube(anatomy, 1.0),
        "ulna": ulna.tube(anatomy, 1.0),
    }
    first, _, ulnar, styloid = phantom_bones.epiphyses(
        anatomy, Injury(), lateral, 1.0, radius, ulna
    )
    bones |= {"radial_epiphysis": first, "ulnar_epiphysis": ulnar, "styloid": styloid}
    names = [bone.name for bone in CARPALS]
    bones |= zip(names, phantom_carpals.carpals(anatomy, Injury(), lateral, 1.0), strict=True)
    bones |= zip(METACARPALS, phantom_carpals.metacarpals(anatomy, lateral, 1.0), strict=True)
    outlines = {
        name: tube_outline(bone, 3.3 * anatomy.width)
        if isinstance(bone, Tube)
        else blob_outline(bone)
        for name, bone in bones.items()
        if isinstance(bone, Tube) or bone.mu_inside > 0
    }
    # Who traces bones draws the styloid as part of the ulna, and one bone where a physis is closed.
    _join(outlines, "ulnar_epiphysis", "styloid")
    if anatomy.physis == "closed":
        _join(outlines, "radius", "radial_epiphysis")
        _join(outlines, "ulna", "ulnar_epiphysis")
    return {name: [_turn(points, rotation)] for name, points in outlines.items()}


def tube_outline(p: Tube, reach: float = np.inf) -> np.ndarray:
    """(N, 2) outline of an unbroken tube from its distal end `reach` mm back, mm."""
    u = np.linspace(-min(p.length, reach), 0.05 * p.flare_length, 160)
    flare = 1.0 / (1.0 + (u / p.flare_length) ** 2)
    base = 1.0 / (1.0 + ((u + p.length) / p.base_length) ** 4)
    left = p.shaft + p.flare_left * flare + p.base_flare * base
    right = p.shaft + p.flare_right * flare + p.base_flare * base

    def end(v):
        uneven = undulation(v, p.end_frequency, p.end_phase)
        corner = (v / (p.shaft + 0.5 * (p.flare_left + p.flare_right))) ** 8
        return p.end_curve * (v / p.shaft) ** 2 - p.end_round * corner + p.end_wave * uneven

    sides = [(u[u < end(v)], v[u < end(v)]) for v in (right, -left)]
    across = np.linspace(sides[0][1][-1], sides[1][1][-1], 40)[1:-1]
    u = np.concatenate([sides[0][0], end(across), sides[1][0][::-1]])
    v = np.concatenate([sides[0][1], across, sides[1][1][::-1]])
    if p.base_curve or p.base_slope:

        def start(v):
            return p.base_curve * (v / (p.shaft + p.base_flare)) ** 4 + p.base_slope * v - p.length

        u = np.maximum(u, start(v))
        across = np.linspace(v[-1], v[0], 20)
        u = np.concatenate([u, start(across)])
        v = np.concatenate([v, across])
    v = v - p.bow * u * u
    return np.stack(
        [p.origin_x + u * p.axis_x + v * p.axis_y, p.origin_y + u * p.axis_y - v * p.axis_x], 1
    )


def blob_outline(p: Blob, count: int = 120) -> np.ndarray:
    """(N, 2) outline of a blob, mm."""
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    # Squared radius t along each ray: (1 - s) t + s t^2 (cos^4 + sin^4) = 1.
    linear, square = 1.0 - p.square, p.square * (cos**4 + sin**4)
    t = 2.0 / (linear + np.sqrt(linear**2 + 4.0 * square))
    beyond = np.sqrt(t) * np.maximum(wave_radius(angle, [getattr(p, name) for name in WAVES]), 0.3)
    tu, tw = beyond * cos, beyond * sin
    u = tu * p.half_length
    height = p.half_height * np.maximum(1.0 + p.taper * tu + p.pinch * tu * tu, 0.2)
    w = tw * height + p.shear * u + p.bend * tu * tu
    uneven = undulation(u, p.base_frequency, p.base_phase)
    w = w + p.base_wave * uneven * np.clip(-tw, 0.0, 1.0)
    if p.clip > 0.5:
        w = np.maximum(w, p.clip_at)
    return np.stack(
        [p.center_x + u * p.axis_x - w * p.axis_y, p.center_y + u * p.axis_y + w * p.axis_x], 1
    )


def fit_waves(points: np.ndarray) -> tuple[list[float], float]:
    """The waves of `Blob` that make a circle an outline (N, 2) around 0, and its radius."""
    steps = np.linspace(0.0, 1.0, 8, endpoint=False)[:, None, None]
    dense = (points + steps * (np.roll(points, -1, 0) - points)).transpose(1, 0, 2).reshape(-1, 2)
    angle = np.linspace(-np.pi, np.pi, 96, endpoint=False)
    order = np.argsort(theta := np.arctan2(dense[:, 1], dense[:, 0]))
    radius = np.interp(angle, theta[order], np.hypot(*dense[order].T), period=2 * np.pi)
    waves = []
    for order in range(1, len(WAVES) // 2 + 1):
        waves += [
            2 * np.mean(radius * np.cos(order * angle)),
            2 * np.mean(radius * np.sin(order * angle)),
        ]
    return [float(wave / radius.mean()) for wave in waves], float(radius.mean())


def normalised_waves(waves: list[float]) -> list[float]:
    """Waves of much the same outline whose centroid is 0 and whose second moments are those of 1.

    So a blob's half-axes are those of the ellipse of equal moments, as `measure` gives them.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    for _ in range(4):
        points = ring * wave_radius(angle, waves)[:, None]
        centre, covariance, _ = moments(points)
        values, vectors = np.linalg.eigh(covariance)
        points = (points - centre) @ (vectors / (2.0 * np.sqrt(values))) @ vectors.T
        waves, _ = fit_waves(points)
    return waves


def _join(outlines: dict[str, np.ndarray], bone: str, other: str) -> None:
    """Make `other` a part of `bone`: the outer boundary of both."""
    if other not in outlines:
        return
    added = outlines.pop(other)
    if bone in outlines:
        outlines[bone] = _union(outlines[bone], added)


def _union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Outline of what two outlines cover, traced on a grid; the gap between them is bridged."""
    both = np.concatenate([a, b])
    low, high = both.min(0) - 1.0, both.max(0) + 1.0
    step = 0.25
    xs, ys = np.arange(low[0], high[0], step), np.arange(low[1], high[1], step)
    # A physis that is as good as closed is drawn as closed.
    inside = _inside(a, xs, ys) | _inside(b, xs, ys) | _inside(b - np.array([0.0, 0.6]), xs, ys)
    generator = contourpy.contour_generator(xs, ys, inside.astype(float))
    lines = [np.asarray(line) for line in generator.lines(0.5)]
    return max(lines, key=lambda line: moments(line)[2])


def _inside(points: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    edges = _crossings(points, ys, 1)
    return (xs[None, :] >= edges[:, :1]) & (xs[None, :] <= edges[:, 1:])
