"""Injuries in millimetres and degrees: from AO codes and a severity to what is drawn and said.

AO codes say which bone breaks and how, not how badly: the severity is drawn here. Its distribution
is our choice for the demo (most fractures plain to see, a tail of barely visible ones), not a
measured one.
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
    """0 (barely visible) .. 1: Beta(1.6, 1.4), mean .53, 8 % below .1."""
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

    Angles come in steps of 5 degrees give or take 1.5; displacement keeps clear of the borders
    between the guideline's classes, so that what is drawn and what is said agree. A radius whose
    ulna is whole is not `free` to slip by more than half its width.
    """
    if kind == "none":
        return BoneInjury()
    scale = 1.0 if bone == RADIUS else ULNA_SHARE
    shaft = anatomy.shaft_width * scale
    width = anatomy.width * scale
    dorsal = 1.0 if rng.random() < 0.85 else -1.0
    across = rng.choice((-1.0, 1.0), p=(0.35, 0.65)) * rng.uniform(0.1, 0.5)
    location = anatomy.width * rng.uniform(0.38, 0.85)
    injury = BoneInjury(
        kind=kind,
        severity=severity,
        location=location,
        slope=rng.uniform(-0.22, 0.22),
        jag_phase=rng.uniform(0.0, 10.0),
    )

    def angle(most: float) -> float:
        steps = round(severity * most * rng.uniform(0.6, 1.1) / 5.0)
        return 0.0 if steps == 0 else dorsal * (5.0 * steps + rng.uniform(-1.5, 1.5))

    if kind == "buckle":
        tilt = angle(16.0) if bone == RADIUS and rng.random() < 0.3 else 0.0
        return replace(injury, bulge=(0.10 + 0.90 * severity) * 0.17 * width, tilt_dorsal=tilt)
    if kind == "incomplete":
        return replace(
            injury,
            bulge=(0.05 + 0.6 * severity) * 0.10 * width,
            gap=0.5 + 1.3 * severity,
            tilt_dorsal=angle(12.0) if rng.random() < 0.4 else 0.0,
        )
    if kind in ("greenstick", "shaft_greenstick", "bowing"):
        in_shaft = kind != "greenstick"
        if in_shaft:
            injury = replace(injury, location=anatomy.width * rng.uniform(1.45, 1.9))
        tilt = angle(20.0 if in_shaft else 28.0)
        if abs(tilt) < 1.0:
            tilt = dorsal * 5.0
        return replace(
            injury,
            tilt_dorsal=tilt,
            tilt_radial=tilt * across,
            gap=0.5 + 1.2 * severity,
            bulge=0.04 * width * severity,
        )
    if kind in PHYSEAL_KINDS:
        level = 0.45 * severity if kind in ("sh3", "sh4") else severity
        slip = shaft * _displacement_share(level, free, rng) if severity > 0.15 else 0.0
        return replace(
            injury,
            location=0.0,
            dorsal=dorsal * slip,
            radial=across * slip,
            tilt_dorsal=angle(22.0) if severity > 0.25 and kind != "sh3" else 0.0,
            gap=0.4 + 2.6 * severity,
            corner=width * (0.18 + 0.22 * rng.random()) * (0.6 + 0.6 * severity)
            if kind in ("sh2", "sh4")
            else 0.0,
        )
    # Complete fractures of metaphysis or shaft.
    if kind == "shaft_complete":
        injury = replace(injury, location=anatomy.width * rng.uniform(1.45, 1.9))
    share = _displacement_share(severity, free, rng) if severity > 0.2 else 0.0
    slip = shaft * share
    return replace(
        injury,
        dorsal=dorsal * slip,
        radial=across * slip,
        shortening=max(0.0, share - 0.55) * 0.7 * shaft,
        tilt_dorsal=angle(20.0 if kind == "shaft_complete" else 30.0),
        tilt_radial=rng.uniform(-0.35, 0.35) * angle(24.0),
        gap=0.7 + 1.2 * severity,
    )


def _displacement_share(severity: float, free: bool, rng: np.random.Generator) -> float:
    """Displacement as a share of the shaft width: the middle of one of the guideline's classes."""
    s = severity * rng.uniform(0.75, 1.2)
    if s < 0.35:
        return rng.uniform(0.05, 0.09)
    if s < 0.52:
        return rng.uniform(0.16, 0.23)
    if s < 0.75 or not free:
        return rng.uniform(0.30, 0.45)
    return rng.uniform(0.58, 0.95)


def sample_injury(
    codes: tuple[str, ...],
    anatomy: Anatomy,
    rng: np.random.Generator,
    severity: float | None = None,
) -> Injury:
    """A fresh injury with these AO codes; `severity` 0..1 for every part of it, or drawn."""
    broken = broken_by(codes, rng)

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
    gap = (0.6 + 5.0 * level()) * anatomy.width / 26.0 if styloid else 0.0
    scaphoid = 0.5 + 1.2 * level() if broken.scaphoid and anatomy.carpals[4] > 0.3 else 0.0
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
