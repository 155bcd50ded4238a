"""Films that are not tidy: pose, field of view, collimation, exposure, processing.

`disturbance` scales how far they are from tidy: 0 is tidy (and not sampled here), 1 is what
localisers are trained on, 1.5 is harder than that. Positions on the film are mm from its middle, x
to the right and y upwards as one looks at it; angles are counter-clockwise there.
"""

from dataclasses import dataclass

import numpy as np

from wristmir_jax.images.phantom_hand import Posture, sample_posture
from wristmir_jax.images.phantom_parts import Field, Finish
from wristmir_jax.images.phantom_render import field_edge, strip_edge

# What a film is centred on, in W along the forearm, and the share of its side that W takes, for
# films that leave the wrist out.
_ELSEWHERE = {
    "fingers": (5.2, (0.21, 0.34)),
    "forearm": (-4.2, (0.30, 0.42)),
    "elbow": (-7.6, (0.13, 0.24)),
}
# A region is shown where this share of its box lies on film and collimated field.
MIN_SHOWN = 0.6


@dataclass(frozen=True)
class Film:
    """One film that is not tidy.

    Attributes:
        angle: of the forearm on the film, radians, 0 = fingers up.
        spacing: mm a pixel.
        anchor_x, anchor_y: point of the wrist's frame, in W, that lies at (at_x, at_y) mm.
        deviation: of the hand against the forearm, radians.
        posture: of fingers and arm.
        level, gamma, floor, noise, frame, frame_width: as in `Pose` and `Field`.
        soft_offset: share of the optical thickness of the wrist that is shown black.
        cast: (gap mm, thickness mm, attenuation 1/mm, texture, end W, start W) of a cast.
        finish: what the film's own coordinates need.
        letters: seed of what is burned in, None for nothing. oval: whether a reader marked it.
        marker: whether the side is marked; marker_size in mm.
        ring, watch: worn.
        wrist: whether the wrist is meant to be on the film.
    """

    angle: float
    spacing: float
    anchor_x: float
    anchor_y: float
    at_x: float
    at_y: float
    deviation: float
    posture: Posture
    level: float
    gamma: float
    floor: float
    noise: float
    frame: float
    frame_width: float
    soft_offset: float
    cast: tuple[float, float, float, float, float, float]
    finish: Finish
    letters: int | None
    oval: bool
    marker: bool
    marker_size: float
    ring: bool
    watch: bool
    wrist: bool = True


def sample_film(
    width: float, size: int, disturbance: float, rng: np.random.Generator, subject: str = "wrist"
) -> Film:  # fmt: skip
    """Draw how a wrist lies on a film and how the film was made.

    Args:
        width: W of the wrist, mm.
        size: S, pixels a side.
        disturbance: above 0.
        rng: source of every choice; their number does not depend on `size`.
        subject: "wrist", or what is shown instead: "fingers", "forearm", "elbow" or "other".
    """
    some = min(disturbance, 1.0)

    def chance(share: float) -> bool:
        return bool(rng.random() < min(share * disturbance, 0.95))

    share = _share_of_width(rng)
    along = 0.0
    if subject in _ELSEWHERE:
        along, (low, high) = _ELSEWHERE[subject]
        share = rng.uniform(low, high)
        along += rng.normal(0.0, 0.25)
    side = width / share
    finish = _collimation(side / 2, chance, rng)
    frame, frame_width = (
        float(rng.random() < 0.35) * rng.uniform(0.3, 1.0),
        rng.uniform(0.003, 0.014),
    )
    angle = _angle(disturbance, rng)
    anchor_x = -0.3 + rng.normal(0.0, 0.15)
    at = _place(finish, side, width, share, angle, some, rng, subject != "wrist")
    at_x, at_y, anchor_y = at
    exposure = _exposure(disturbance, chance, rng)
    finish = finish._replace(**exposure.pop("finish"))
    noise_scale = np.exp(rng.normal(-0.3, 0.45 * some))
    return Film(
        angle=angle,
        spacing=side / size,
        anchor_x=anchor_x,
        anchor_y=anchor_y + along,
        at_x=at_x,
        at_y=at_y,
        deviation=float(np.deg2rad(rng.normal(0.0, 9.0 * some))),
        posture=sample_posture(rng),
        noise=float(0.011 * noise_scale),
        frame=frame,
        frame_width=0.6 * frame_width * side,
        cast=(
            rng.uniform(0.5, 4.0),
            rng.uniform(3.0, 8.0),
            float(np.exp(rng.uniform(np.log(0.012), np.log(0.05)))),
            rng.uniform(0.03, 0.20),
            rng.uniform(1.6, 3.4),
            rng.uniform(-9.0, -3.0) if chance(0.5) else -1e4,
        ),
        finish=finish,
        letters=int(rng.integers(1 << 30)) if chance(0.3) else None,
        oval=chance(0.04),
        marker=bool(rng.random() < 0.72),
        marker_size=rng.uniform(0.02, 0.08) * side,
        ring=chance(0.08),
        watch=chance(0.05),
        wrist=subject == "wrist",
        **exposure,
    )


def _share_of_width(rng: np.random.Generator) -> float:
    """Share of the film's side that W takes, 0.05 to 0.3."""
    kind = rng.random()
    if kind < 0.5:
        return rng.uniform(0.16, 0.30)
    edges = (0.09, 0.16) if kind < 0.8 else (0.05, 0.09)
    return float(np.exp(rng.uniform(*np.log(edges))))


def _angle(disturbance: float, rng: np.random.Generator) -> float:
    """Radians: mostly within 30 degrees, a quarter anything, some hanging down."""
    kind = rng.random() / max(disturbance, 1e-6)
    near = float(np.clip(rng.normal(0.0, 11.0), -30.0, 30.0)) * min(disturbance, 1.0)
    anything = rng.uniform(-180.0, 180.0)
    degrees = anything if kind < 0.24 else (180.0 + near if kind < 0.42 else near)
    return float(np.deg2rad(degrees))


def _place(
    finish: Finish, side: float, width: float, share: float, angle: float, some: float,
    rng: np.random.Generator, elsewhere: bool,
) -> tuple[float, float, float]:  # fmt: skip
    """Where (mm) which height of the limb (W) lies, so that the wrist is on the field.

    A point of the limb is put near the middle of the field; a tight film is centred on the wrist,
    a wide one anywhere between elbow and fingers.
    """
    tight = share > 0.16
    cut, edge, beyond, beside = rng.random(), *rng.uniform(-1.0, 1.0, 3)
    if not elsewhere and cut < 0.12 * some:
        # The field's edge passes through the wrist, or near it.
        across = finish.first_half_width + 0.6 * beyond * width
        along = finish.first_half_height + 0.6 * beyond * width
        sign = 1.0 if edge > 0 else -1.0
        if abs(edge) < 0.5:
            point = (sign * across, 0.6 * beside * finish.first_half_height)
        else:
            point = (0.6 * beside * finish.first_half_width, sign * along)
        cos, sin = np.cos(finish.first_turn), np.sin(finish.first_turn)
        x = finish.first_x + cos * point[0] - sin * point[1]
        return float(x), float(finish.first_y + sin * point[0] + cos * point[1]), 0.0
    draws = rng.uniform(-1.0, 1.0, (24, 3))
    normal = rng.normal(0.0, 1.0, (24, 3))
    spread = 0.10 + 0.12 * some
    up = np.array([-np.sin(angle), np.cos(angle)])
    for uniform, bell in zip(draws, normal, strict=True):
        reach = 0.5 * bell[2] if tight else uniform[2] * (0.28 / share) + 0.5
        x = finish.first_x + spread * bell[0] * finish.first_half_width
        y = finish.first_y + spread * bell[1] * finish.first_half_height
        if elsewhere:
            return float(x), float(y), 0.0
        # The wrist lies `reach` widths back from there along the forearm.
        wrist = np.array([x, y]) - reach * width * up
        if _hidden(wrist[0], wrist[1], finish, side, -0.75 * width) == 0.0:
            return float(x), float(y), float(reach)
    return float(finish.first_x), float(finish.first_y), 0.2


def _collimation(half: float, chance, rng: np.random.Generator) -> Finish:
    """Fields on a film of half-side `half` mm."""
    kind = rng.random()
    turn = np.deg2rad(rng.normal(0.0, 2.5))
    height, width = rng.uniform(0.9, 1.0), rng.uniform(0.45, 0.95)
    corner, circle, second = 1e6, 1e6, {}
    first_x = first_y = 0.0
    if kind > 0.5:
        # The whole plate.
        height, width, turn = rng.uniform(0.96, 1.02), rng.uniform(0.72, 1.02), 0.2 * turn
    if chance(0.22):
        turn = np.deg2rad(rng.uniform(-45.0, 45.0))
        height, width = rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.9)
        first_x, first_y = rng.uniform(-0.12, 0.12, 2) * half
    if rng.random() < 0.3:
        height, width = width, height
    extra = rng.random()
    if chance(0.16) and extra < 0.35:
        corner = rng.uniform(0.85, 1.1) * 0.75 * (height + width) * half
    elif chance(0.16) and extra < 0.6:
        circle = rng.uniform(0.85, 1.15) * max(height, width) * half
    elif chance(0.06):
        gap = rng.uniform(0.01, 0.05)
        width = 0.5 * width - gap / 2
        first_x = (width + gap / 2) * half * rng.choice((-1.0, 1.0))
        second = dict(
            second_x=-first_x,
            second_y=first_y,
            second_half_width=width * half,
            second_half_height=height * half * rng.uniform(0.7, 1.05),
            second_turn=turn,
        )
    outside = float(rng.choice((0.0, 1.0, rng.uniform(0.03, 0.9)), p=(0.72, 0.16, 0.12)))
    strip = {}
    if chance(0.2):
        towards = np.deg2rad(90.0 * rng.integers(4) + rng.normal(0.0, 2.0))
        strip = dict(
            strip_x=float(np.cos(towards)),
            strip_y=float(np.sin(towards)),
            strip_at=half * rng.uniform(0.78, 0.98),
            strip_level=rng.uniform(0.85, 1.0),
            strip_ragged=half * rng.uniform(0.0, 0.02),
        )
    return Finish(
        first_x=float(first_x),
        first_y=float(first_y),
        first_half_width=width * half,
        first_half_height=height * half,
        first_turn=float(turn),
        corner=float(corner),
        circle=float(circle),
        outside=outside,
        slope_x=rng.normal(0.0, 0.10) / half,
        slope_y=rng.normal(0.0, 0.10) / half,
        **second,
        **strip,
    )


def _exposure(disturbance: float, chance, rng: np.random.Generator) -> dict:
    """Grey levels and processing; most films are right, some too dark, too white or flat."""
    level = rng.uniform(0.42, 0.78)
    floor, ceiling, offset = rng.uniform(0.0, 0.16), rng.uniform(0.86, 1.0), 0.0
    if chance(0.14):
        level = rng.uniform(0.85, 1.5)
    elif chance(0.18):
        level = rng.uniform(0.24, 0.42)
    if chance(0.12):
        floor, ceiling = rng.uniform(0.1, 0.35), rng.uniform(0.65, 0.9)
    if chance(0.25):
        offset = rng.uniform(0.08, 0.32)
    blur, sigma = 0.0, 1.0
    if chance(0.22):
        blur, sigma = rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.6) * max(disturbance, 0.5)
    elif chance(0.55):
        blur, sigma = -rng.uniform(0.3, 1.2), rng.uniform(0.8, 2.5)
    finish = dict(
        sigmoid=rng.uniform(-0.2, 0.8) if chance(0.4) else 0.0,
        ceiling=ceiling,
        equalise=rng.uniform(0.1, 0.6) if chance(0.6) else 0.0,
        blur=blur,
        blur_sigma=sigma,
        banding=rng.uniform(0.0, 0.008) if chance(0.3) else 0.0,
        grain=rng.uniform(0.003, 0.025) * disturbance if chance(0.25) else 0.0,
        coarse_step=rng.uniform(0.02, 0.09) if chance(0.25) else 0.0,
        ink=float(rng.choice((1.0, 0.0), p=(0.9, 0.1))),
    )
    return dict(
        level=level,
        gamma=float(np.exp(rng.normal(0.05, 0.22))),
        floor=floor,
        soft_offset=offset,
        finish=finish,
    )


def bone_texture(spacing: float) -> float:
    """Contrast of trabeculae on pixels of `spacing` mm, of which coarse ones average many."""
    return 0.13 * min(1.0, (0.2 / spacing) ** 0.5)


def place(field: Field, film: Film, width: float, optical: float) -> Field:
    """The field of a tidy film with the wrist where `film` puts it.

    Args:
        field: tidy.
        film: the other one.
        width: W, mm.
        optical: thickness of bone over soft tissue.
    """
    rotation = field.mirror * film.angle
    cos, sin = np.cos(rotation), np.sin(rotation)
    x, y = film.anchor_x * width, film.anchor_y * width
    taken = 0.6 * film.finish.equalise + film.soft_offset
    contrast = optical * max(1.0 - taken, 0.55)
    gap, thickness, attenuation, texture, end, _ = film.cast
    return field._replace(
        spacing=film.spacing,
        bone_texture=bone_texture(film.spacing),
        rotation=rotation,
        shift_x=field.mirror * film.at_x - (cos * x - sin * y),
        shift_y=film.at_y - (sin * x + cos * y),
        exposure=film.level / contrast,
        gamma=film.gamma,
        floor=film.floor,
        noise=film.noise,
        frame=film.frame,
        frame_width=film.frame_width,
        cast_mu=attenuation if field.cast_mu > 0 else 0.0,
        cast_gap=gap,
        cast_thickness=thickness,
        cast_texture=texture,
        cast_end=end * width,
    )


def finish_of(film: Film, width: float, optical: float, splint: bool) -> Finish:
    """The film's finish with what depends on the wrist."""
    return film.finish._replace(
        soft_top=4.0 * width,
        soft_bottom=-(film.posture.forearm + 0.6) * width,
        soft_fade=1.5 * width,
        slab=float(np.sign(film.deviation) or 1.0) if splint else 0.0,
        cast_start=film.cast[5] * width,
        offset=film.soft_offset * optical,
    )


def _hidden(film_x, film_y, finish: Finish, side: float, room: float = 0.0) -> float:
    """Share of points that are not at least -`room` mm inside film, field and strip."""
    outside = np.maximum(np.abs(film_x), np.abs(film_y)) - side / 2
    outside = np.maximum(outside, field_edge(film_x, film_y, finish, np))
    outside = np.maximum(outside, strip_edge(film_x, film_y, finish))
    return float(np.mean(outside > room))


def shown(corners: np.ndarray, to_film, finish: Finish, side: float) -> bool:
    """Whether enough of an upright box of the wrist lies on film and collimated field.

    Args:
        corners: (2, 2), (x, y) of two opposite corners in the wrist's frame, mm.
        to_film: from such x and y to mm on the film.
        finish: of the film.
        side: of the film, mm.
    """
    across, along = (np.linspace(corners[0, k], corners[1, k], 26)[:-1] for k in (0, 1))
    x, y = np.meshgrid(across + (across[1] - across[0]) / 2, along + (along[1] - along[0]) / 2)
    film_x, film_y = to_film(x, y)
    return _hidden(film_x, film_y, finish, side) <= 1.0 - MIN_SHOWN


def on_film(x, y, to_film, finish: Finish, side: float, margin: float) -> bool:
    """Whether any of these points of the wrist's frame is within `margin` mm of film and field."""
    film_x, film_y = to_film(np.asarray(x), np.asarray(y))
    outside = np.maximum(np.abs(film_x), np.abs(film_y)) - side / 2
    return bool((np.maximum(outside, field_edge(film_x, film_y, finish, np)) < margin).any())
