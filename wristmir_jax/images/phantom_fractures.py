"""Injuries in millimetres and degrees: from AO codes and a severity to what is drawn and said.

AO codes say which bone breaks and how, not how badly: the severity is drawn here. `SIGNS` is the
table of what it means, from severity 0 to 1, for a radius of 24 mm (about ten years); lengths grow
with the width of the bone, an ulna has .63 of them. Displacement, in shares of the width of the
shaft (13.7 mm at 24): severity below .2 (complete) or .15 (physeal) none; then .05 to .09, .16 to
.23, .30 to .45 and .58 to .95, inside the guideline's classes minimal (up to 2 mm), mild (a quarter
of the shaft), moderate (half of it) and severe; a radius alone stops at .45. Physeal fractures III
and IV slip as those of .45 of their severity. Fragments that slip by more than half override by up
to 5.5 mm. A styloid comes off by .3 to 4.5 mm, a scaphoid's line is .3 to 1.7 mm wide.

Ranges and the distribution of the severity are our choice: the public metadata give codes and no
severity, and no published distribution of angulation or displacement was at hand to fit. At .1
signs are one to three pixels of .144 mm (the public films), at .9 nobody misses them.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from wristmir_jax.images.phantom_anatomy import Anatomy

RADIUS, ULNA = "radius", "ulna"
PHYSEAL_KINDS = ("sh1", "sh2", "sh3", "sh4")
COMPLETE_KINDS = ("complete", "shaft_complete")
SHAFT_KINDS = ("bowing", "shaft_greenstick", "shaft_complete")
# The ulna is about this share of the radius in width.
ULNA_SHARE = 0.63
_CODE = re.compile(r"(22|23)([ru]?)-([EMD])/(\d)")
_SHAFT = {"1": "bowing", "2": "shaft_greenstick", "other": "shaft_complete"}
_KINDS = {
    "22D": _SHAFT,
    "23D": _SHAFT,
    "23E": {"1": "sh1", "2": "sh2", "3": "sh3", "4": "sh4", "other": "sh2"},
    "23M": {"2": "incomplete", "other": "complete"},
}
# More telling kinds win where a bone has several codes.
_ORDER = [
    "none",
    "bowing",
    "incomplete",
    "sh1",
    "buckle",
    "greenstick",
    "sh3",
    "sh2",
    "sh4",
    "complete",
    "shaft_greenstick",
    "shaft_complete",
]


@dataclass(frozen=True)
class Sign:
    """What severity 0 and 1 mean for one kind of fracture of a radius that is 24 mm wide.

    Attributes:
        bulge: of the more buckled cortex, mm.
        gap: of a lucent line or, in physeal fractures, what the physis is wider, mm.
        tilt: angulation at severity 1, degrees, drawn as .6 to 1.1 of it in steps of 5.
        least_tilt: angulation that there always is, degrees (greensticks: from severity .2).
        tilted: share of fractures that angulate at all.
        corner: of a metaphyseal (Thurston-Holland) fragment, as a share of the width.
    """

    bulge: tuple[float, float] = (0.0, 0.0)
    gap: tuple[float, float] = (0.0, 0.0)
    tilt: float = 0.0
    least_tilt: float = 0.0
    tilted: float = 1.0
    corner: tuple[float, float] = (0.0, 0.0)


_SLIPPING = Sign(gap=(0.25, 2.2), tilt=22.0)
SIGNS = {
    "buckle": Sign(bulge=(0.25, 2.4), tilt=14.0, tilted=0.3),
    "incomplete": Sign(bulge=(0.1, 1.2), gap=(0.25, 1.6), tilt=12.0, tilted=0.4),
    "greenstick": Sign(bulge=(0.0, 0.9), gap=(0.25, 1.7), tilt=28.0, least_tilt=5.0),
    "complete": Sign(gap=(0.2, 1.6), tilt=30.0),
    "sh1": _SLIPPING,
    "sh2": replace(_SLIPPING, corner=(0.16, 0.36)),
    "sh3": replace(_SLIPPING, tilt=0.0),
    "sh4": replace(_SLIPPING, corner=(0.20, 0.36)),
    "bowing": Sign(tilt=24.0, least_tilt=5.0),
    "shaft_greenstick": Sign(bulge=(0.0, 0.6), gap=(0.25, 1.7), tilt=20.0, least_tilt=5.0),
    "shaft_complete": Sign(gap=(0.2, 1.9), tilt=20.0),
}
_SIGN_WIDTH = 24.0
# Below it complete and physeal fractures do not slip.
_STAYS = {"complete": 0.2, "shaft_complete": 0.2} | dict.fromkeys(PHYSEAL_KINDS, 0.15)
# Displacement as a share of the shaft width, by severity: clear of the borders of the classes.
_SLIPS = (
    (0.00, 0.35, 0.05, 0.09),
    (0.35, 0.52, 0.16, 0.23),
    (0.52, 0.75, 0.30, 0.45),
    (0.75, 1.20, 0.58, 0.95),
)


@dataclass(frozen=True)
class BoneInjury:
    """The fracture of one long bone. Lengths mm, angles degrees; dorsal and radial are positive.

    Attributes:
        kind: one of `_ORDER`.
        location: of the fracture, proximal of the end of the metaphysis.
        dorsal, radial: displacement of the distal fragment; `shortening`: overlap of the fragments.
        tilt_dorsal, tilt_radial: angulation of the distal fragment.
        bulge: height of a buckled cortex, at most; `gap`: of a lucent line, at most.
        corner: size of a metaphyseal (Thurston-Holland) fragment.
        callus: thickness; `sclerosis`: density along the healing line; both 0 when fresh.
    """

    kind: str = "none"
    severity: float = 0.0
    location: float = 10.0
    dorsal: float = 0.0
    radial: float = 0.0
    shortening: float = 0.0
    tilt_dorsal: float = 0.0
    tilt_radial: float = 0.0
    bulge: float = 0.0
    gap: float = 0.0
    slope: float = 0.0
    corner: float = 0.0
    callus: float = 0.0
    sclerosis: float = 0.0
    jag_phase: float = 0.0

    @property
    def displacement(self) -> float:
        """mm, in the plane of the larger component as a reader would measure it on two views."""
        return float(np.hypot(self.dorsal, self.radial))


@dataclass(frozen=True)
class Injury:
    """Everything that is wrong with one wrist at one exam.

    Attributes:
        styloid_gap: displacement of an avulsed ulnar styloid, mm; 0 = intact.
        scaphoid: width of a scaphoid fracture line, mm; 0 = intact.
        swelling: thickness of soft-tissue swelling, mm.
        weeks: since the injury; 0 = initial exam.
    """

    radius: BoneInjury = BoneInjury()
    ulna: BoneInjury = BoneInjury()
    styloid_gap: float = 0.0
    styloid_callus: float = 0.0
    scaphoid: float = 0.0
    swelling: float = 0.0
    weeks: float = 0.0

    @property
    def fractured(self) -> bool:
        return (
            self.radius.kind != "none"
            or self.ulna.kind != "none"
            or self.styloid_gap > 0
            or self.scaphoid > 0
        )

    @property
    def severity(self) -> float:
        """0..1 of the worst part, 0 where nothing is broken."""
        small = max(min(1.0, self.styloid_gap / 5.0), min(1.0, self.scaphoid / 1.7))
        return max(self.radius.severity, self.ulna.severity, small)


@dataclass(frozen=True)
class Broken:
    """What AO codes break: the kind of fracture of each long bone, and two small bones."""

    radius: str = "none"
    ulna: str = "none"
    styloid: bool = False
    scaphoid: bool = False


def broken_by(codes: tuple[str, ...], rng: np.random.Generator) -> Broken:
    """What AO pediatric codes break.

    `M/2` says "incomplete" only, so that torus or greenstick is drawn by chance.
    """
    worst = {RADIUS: "none", ULNA: "none"}
    styloid = False
    for match in filter(None, map(_CODE.match, codes)):
        segment, bone, part, child = match.groups()
        bones = {"r": (RADIUS,), "u": (ULNA,), "": (RADIUS, ULNA)}[bone]
        if part == "E" and child == "7":
            styloid = styloid or ULNA in bones
            continue
        kind = _KINDS[segment + part].get(child, _KINDS[segment + part]["other"])
        if kind == "incomplete":
            kind = str(rng.choice(("buckle", "greenstick", "incomplete"), p=(0.66, 0.24, 0.10)))
        for name in bones:
            worst[name] = max(worst[name], kind, key=_ORDER.index)
    return Broken(worst[RADIUS], worst[ULNA], styloid, any(c.startswith("72B") for c in codes))


def sample_severity(rng: np.random.Generator) -> float:
    """0 (barely visible) .. 1: Beta(1.6, 1.4), mean .53, 4 % below .1; our choice, see above."""
    return float(rng.beta(1.6, 1.4))


def bone_injury(
    kind: str,
    severity: float,
    anatomy: Anatomy,
    bone: str,
    rng: np.random.Generator,
    free: bool = True,
) -> BoneInjury:
    """The fresh fracture `kind` of one bone at a severity in 0..1.

    `SIGNS` says how far. Angles come in steps of 5 degrees give or take 1.5; displacement keeps
    clear of the borders between the guideline's classes, so that what is drawn and what is said
    agree. A radius whose ulna is whole is not `free` to slip by more than half its width. With the
    same `rng` only the severity changes: no sign of a more severe fracture is smaller.
    """
    if kind == "none":
        return BoneInjury()
    sign = SIGNS[kind]
    scale = 1.0 if bone == RADIUS else ULNA_SHARE
    shaft, width = anatomy.shaft_width * scale, anatomy.width * scale
    in_shaft, physeal = kind in SHAFT_KINDS, kind in PHYSEAL_KINDS
    dorsal = 1.0 if rng.random() < 0.85 else -1.0
    across = float(rng.choice((-1.0, 1.0), p=(0.35, 0.65)) * rng.uniform(0.1, 0.5))
    place = rng.uniform(1.45, 1.9) if in_shaft else rng.uniform(0.38, 0.85)
    slope, jag_phase = rng.uniform(-0.22, 0.22), rng.uniform(0.0, 10.0)
    angle = severity * sign.tilt * rng.uniform(0.6, 1.1)
    off, sideways = rng.uniform(-1.5, 1.5), rng.uniform(-0.3, 0.3)
    tilted = rng.random() < sign.tilted and not (physeal and severity <= 0.25)
    level = severity * rng.uniform(0.75, 1.2) * (0.45 if kind in ("sh3", "sh4") else 1.0)
    if bone == ULNA and kind == "buckle":
        tilted = False

    # The mildest greensticks are a line; what has no line angulates.
    least = sign.least_tilt if severity >= 0.2 or kind == "bowing" else 0.0
    steps = round(max(angle, least) / 5.0) if tilted else 0
    tilt = 0.0 if steps == 0 else dorsal * (5.0 * steps + off)
    share = _displacement_share(level, free) if severity > _STAYS.get(kind, 1.0) else 0.0
    slip = shaft * share / float(np.hypot(1.0, across))

    def length(ends: tuple[float, float]) -> float:
        return (ends[0] + (ends[1] - ends[0]) * severity) * width / _SIGN_WIDTH

    if kind in ("sh3", "sh4"):
        # What is split off is the radial part; it goes outwards.
        across = abs(across)
    if kind not in COMPLETE_KINDS:
        sideways = across if in_shaft or kind == "greenstick" else 0.0
    return BoneInjury(
        kind=kind,
        severity=severity,
        location=0.0 if physeal else anatomy.width * place,
        dorsal=dorsal * slip,
        radial=across * slip,
        shortening=max(0.0, share - 0.5) * 0.9 * shaft if kind in COMPLETE_KINDS else 0.0,
        tilt_dorsal=tilt,
        tilt_radial=tilt * sideways,
        bulge=length(sign.bulge),
        gap=length(sign.gap),
        slope=slope,
        corner=length((sign.corner[0] * _SIGN_WIDTH, sign.corner[1] * _SIGN_WIDTH)),
        jag_phase=jag_phase,
    )


def _displacement_share(level: float, free: bool) -> float:
    """Displacement as a share of the shaft width, inside one of the guideline's classes."""
    for low, high, least, most in _SLIPS:
        if level < high or (not free and most > 0.4):
            return least + (most - least) * min((level - low) / (high - low), 1.0)
    return _SLIPS[-1][3]


def sample_injury(
    codes: tuple[str, ...],
    anatomy: Anatomy,
    rng: np.random.Generator,
    severity: float | None = None,
) -> Injury:
    """A fresh injury with these AO codes; `severity` 0..1 for every part of it, or drawn."""
    return injure(broken_by(codes, rng), anatomy, rng, severity)


def injure(
    broken: Broken,
    anatomy: Anatomy,
    rng: np.random.Generator,
    severity: float | None = None,
) -> Injury:
    """A fresh injury that breaks these bones; `severity` as in `sample_injury`."""

    def level() -> float:
        return sample_severity(rng) if severity is None else severity

    free = broken.ulna != "none" or broken.styloid
    radius = bone_injury(broken.radius, level(), anatomy, RADIUS, rng, free)
    ulna = bone_injury(broken.ulna, level(), anatomy, ULNA, rng)
    if radius.kind != "none" and ulna.kind != "none":
        # One fall: both distal fragments go the same way.
        way = np.sign(radius.tilt_dorsal or radius.dorsal or ulna.tilt_dorsal or 1.0)
        ulna = replace(
            ulna,
            dorsal=float(way * abs(ulna.dorsal)),
            tilt_dorsal=float(way * abs(ulna.tilt_dorsal)),
            radial=float(np.sign(radius.radial or 1.0) * abs(ulna.radial)),
        )
    if radius.kind == ulna.kind and radius.kind not in ("none", "buckle", "incomplete"):
        # Both broke through: the same share of their widths, the same angle.
        ulna = replace(
            ulna,
            dorsal=radius.dorsal * ULNA_SHARE,
            radial=radius.radial * ULNA_SHARE,
            tilt_dorsal=radius.tilt_dorsal,
            tilt_radial=radius.tilt_radial,
            shortening=radius.shortening,
        )
    styloid = broken.styloid and anatomy.styloid > 0
    gap = (0.3 + 4.2 * level()) * anatomy.width / _SIGN_WIDTH if styloid else 0.0
    scaphoid = 0.3 + 1.4 * level() if broken.scaphoid and anatomy.carpals[4] > 0.3 else 0.0
    worst = max(radius.severity, ulna.severity, 0.3 if gap else 0.0)
    injury = Injury(radius=radius, ulna=ulna, styloid_gap=gap, scaphoid=scaphoid)
    swelling = (0.5 + 4.5 * worst) * rng.uniform(0.4, 1.2) if injury.fractured else 0.0
    if not injury.fractured and rng.random() < 0.15:
        swelling = rng.uniform(2.0, 4.0)
    return replace(injury, swelling=swelling)


def follow_up(fresh: Injury, weeks: float, fixed: bool, rng: np.random.Generator) -> Injury:
    """The same injury `weeks` later: reduced, calloused, its line blurred and filled in."""
    callus = float(np.interp(weeks, (1.5, 4.0, 8.0, 14.0), (0.0, 0.8, 1.0, 0.45)))
    line_left = float(np.interp(weeks, (0.0, 2.0, 6.0, 10.0), (1.0, 1.15, 0.6, 0.0)))

    def heal(bone: BoneInjury) -> BoneInjury:
        if bone.kind == "none":
            return bone
        unstable = abs(bone.tilt_dorsal) >= 20 or bone.displacement > 4.0
        left = 0.0 if fixed and unstable else (0.35 if unstable else 1.0)
        steps = round(bone.tilt_dorsal * left / 5.0)
        tilt = 0.0 if steps == 0 else 5.0 * steps
        slip = 0.3 if unstable else 1.0
        thickness = {"buckle": 0.05, "incomplete": 0.05, "bowing": 0.0, "sh1": 0.04, "sh3": 0.03}
        return replace(
            bone,
            dorsal=bone.dorsal * slip,
            radial=bone.radial * slip,
            shortening=0.0 if unstable else bone.shortening,
            tilt_dorsal=tilt,
            tilt_radial=bone.tilt_radial * left,
            gap=bone.gap * line_left,
            bulge=bone.bulge * (1.0 - 0.5 * min(1.0, weeks / 12.0)),
            callus=callus * anatomy_scale(bone) * thickness.get(bone.kind, 0.15),
            sclerosis=float(np.interp(weeks, (1.5, 4.0, 8.0, 14.0), (0.0, 0.7, 0.8, 0.3))),
        )

    def anatomy_scale(bone: BoneInjury) -> float:
        return rng.uniform(14.0, 26.0) * (0.5 + 0.7 * bone.severity)

    return replace(
        fresh,
        radius=heal(fresh.radius),
        ulna=heal(fresh.ulna),
        styloid_gap=fresh.styloid_gap * (0.8 if fresh.styloid_gap else 0.0),
        swelling=fresh.swelling * float(np.exp(-weeks / 2.0)),
        weeks=weeks,
    )
