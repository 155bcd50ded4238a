"""AO codes of a study -> `Findings`.

Forearm codes follow the AO Pediatric Comprehensive Classification of Long Bone Fractures (Slongo
and Audigé 2007) as GRAZPEDWRI-DX uses it, hand codes the AO/OTA compendium of 2018:

    23r-M/3.1   distal forearm (23) or forearm shaft (22); radius r, ulna u, both bones no letter;
                epiphysis E, metaphysis M, diaphysis D; child code (the pattern); severity 1 or 2
    72B(b)      carpal bone and type: 71 lunate, 72 scaphoid, 73 capitate, 74 hamate, 75 trapezium
    76.2.A      76.1 pisiform, 76.2 triquetrum, 76.3 trapezoid
    77.1.1A     metacarpal: ray, segment (1 base, 2 shaft, 3 distal end), type
    78.5.1.2A   phalanx: finger, phalanx, segment, type

What they mean here:
- M/2 is incomplete (torus or greenstick, not known which), M/3 complete, E/1 to E/4 Salter-Harris I
  to IV, E/8, E/9 and M/9 other.
- E/7 of the ulna is a fracture of the ulnar styloid without a type, not of the distal ulna; E/7 of
  the radius is an avulsion of the distal radius; without a letter it is both.
- Severity (.1 simple, .2 multifragmentary) has no place in `Findings` and is dropped.
- Segment 22 and all hand codes go to `other_fractures`, by the name of the bone; D/6 and D/7 keep
  the name of the lesion (Monteggia, Galeazzi).
- The distal segment has no diaphysis. `23r-D` and `23-D` are read as metaphyseal codes, since the
  description of the data set counts every 23r and 23 as a distal radius; `23u-D` as an ulnar shaft,
  since it counts only metaphysis and physis of the distal ulna. All are listed as slips.
- Several codes on one region are joined by `union.join_regions`: the more severe type is kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import (
    Findings,
    FractureType,
    Laterality,
    RegionFindings,
    View,
)
from wristmir_jax.reports.union import join_regions

_FOREARM = re.compile(r"(22|23)([RU]?)[-/]?([EMD])[-/]?([1-9])(\.?)([12]?)")
_CARPAL = re.compile(r"7([1-5])\.?([ABC])\.?(?:\(([A-Z])\))?")
_SMALL_CARPAL = re.compile(r"76\.?([123])\.?([ABC])")
_METACARPAL = re.compile(r"77\.([1-5])\.([123])\.?([ABC])")
_PHALANX = re.compile(r"78\.([1-5])\.([123])\.([123])\.?([ABC])")

_TYPES: dict[str, FractureType | None] = {
    "M/2": "incomplete",
    "M/3": "complete",
    "M/9": "other",
    "E/1": "salter_harris_1",
    "E/2": "salter_harris_2",
    "E/3": "salter_harris_3",
    "E/4": "salter_harris_4",
    "E/8": "other",
    "E/9": "other",
}
# Diaphyseal patterns in metaphyseal terms, for the slip 23-D: bowing and greenstick are incomplete.
_D_AS_M = {"1": "M/2", "2": "M/2", "4": "M/3", "5": "M/3", "9": "M/9"}
_LESIONS = {"D/6": "ulnar shaft (monteggia)", "D/7": "radial shaft (galeazzi)"}
_BONES = {"r": ("radial",), "u": ("ulnar",), "": ("radial", "ulnar")}
# Patterns that the data set writes without a severity; the others with one.
_NO_SEVERITY = ("E/1", "E/3", "E/7", "E/8", "E/9")

_CARPALS = {"1": "lunate", "2": "scaphoid", "3": "capitate", "4": "hamate", "5": "trapezium"}
_SMALL_CARPALS = {"1": "pisiform", "2": "triquetrum", "3": "trapezoid"}
_RAYS = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth"}
_FINGERS = {
    "1": "thumb",
    "2": "index finger",
    "3": "middle finger",
    "4": "ring finger",
    "5": "little finger",
}
_METACARPAL_SEGMENTS = {"1": "{} metacarpal base", "2": "{} metacarpal shaft"}
_PHALANGES = {"1": "proximal", "2": "middle", "3": "distal"}


@dataclass(frozen=True)
class AoCode:
    """One code in its normal form, and what it says.

    Attributes:
        text: the normal form, e.g. `23u-E/7`.
        regions: region name -> findings, of the regions it names.
        other_fractures: names of the fractured bones elsewhere.
    """

    text: str
    regions: dict[str, RegionFindings] = field(default_factory=dict, hash=False)
    other_fractures: tuple[str, ...] = ()


def normalise(value: str) -> tuple[tuple[AoCode, ...], tuple[str, ...]]:
    """The codes in `value`, a list separated by semicolons, and its spelling slips.

    Args:
        value: as in the table; "" where no fracture is coded.

    Returns:
        The distinct codes in the order given, and a description of each slip; "" has neither.

    Raises:
        UserError: a code is not known; the message names it.
    """
    slips = []
    if "," in value:
        slips.append("comma for a semicolon")
    tokens = [entry.strip() for entry in re.split("[;,]", value)] if value.strip() else []
    if "" in tokens:
        slips.append("empty entry")
    elif value.replace(",", ";") != "; ".join(tokens):
        slips.append("stray or missing blank")
    codes: list[AoCode] = []
    for token in filter(None, tokens):
        code, slip = _parse(token)
        if slip:
            read = "" if code.text == token else f" read as {code.text!r}"
            slips.append(f"{token!r}{read}: {slip}")
        if code in codes:
            slips.append(f"{code.text!r} repeated")
        else:
            codes.append(code)
    return tuple(codes), tuple(slips)


def findings_from_ao(
    value: str,
    exam_id: str,
    laterality: Laterality = "unknown",
    cast: bool | None = None,
    metal: bool | None = None,
    osteopenia: bool | None = None,
    diagnosis_uncertain: bool = False,
    views: Sequence[View] = (),
) -> Findings:
    """What the codes of one study say of one wrist.

    The table codes every fracture, hence a region that no code names is no_fracture, and so are all
    regions where `value` is empty. With `diagnosis_uncertain` the codes are in doubt: the regions
    they name are uncertain and keep their type, and where they name none all regions are uncertain,
    for the fracture in doubt may be in any of them; other fractures, which are listed only when
    asserted, are left out.

    Args:
        value: the table's codes, separated by semicolons.
        exam_id: name of the exam.
        laterality: the side.
        cast, metal, osteopenia: the table's flags; None where it does not say.
        diagnosis_uncertain: the table's flag.
        views: the projections of the exam.

    Raises:
        UserError: a code is not known; the message names it.
    """
    codes, _ = normalise(value)
    regions: dict[str, RegionFindings] = {}
    for code in codes:
        for name, region in code.regions.items():
            regions[name] = join_regions(regions.get(name, region), region)
    other = tuple(name for code in codes for name in code.other_fractures)
    unnamed = RegionFindings(status="no_fracture")
    if diagnosis_uncertain:
        if not regions:
            unnamed = RegionFindings(status="uncertain")
        regions = {
            name: region.model_copy(update={"status": "uncertain"})
            for name, region in regions.items()
        }
        other = ()
    return Findings(
        exam_id=exam_id,
        laterality=laterality,
        views=tuple(views),
        regions={name: regions.get(name, unnamed) for name in REGION_NAMES},
        other_fractures=other,
        cast=cast,
        hardware=metal,
        osteopenia=osteopenia,
    )


def _parse(token: str) -> tuple[AoCode, str]:
    """The code and what is wrong with its spelling, "" if nothing."""
    spelled = re.sub(r"\s", "", token).upper()
    if match := _FOREARM.fullmatch(spelled):
        code, slip = _forearm(token, *match.groups())
    else:
        code, slip = _hand(token, spelled), ""
    if not slip and code.text != token:
        slip = "spelling"
    return code, slip


def _forearm(
    token: str, segment: str, bone: str, part: str, child: str, stop: str, severity: str
) -> tuple[AoCode, str]:
    bone = bone.lower()
    slips = []
    if segment == "23" and part == "D":
        if bone == "u":
            segment = "22"
            slips.append("the distal segment has no diaphysis, taken for the shaft")
        elif child in _D_AS_M:
            part, child = _D_AS_M[child].split("/")
            slips.append("the distal segment has no diaphysis, taken for the metaphysis")
    pattern = f"{part}/{child}"
    if pattern in _NO_SEVERITY:
        if severity:
            slips.append(f"{pattern} takes no severity here")
        severity = ""
    elif not severity:
        slips.append("severity missing")
    text = f"{segment}{bone}-{pattern}" + (f".{severity}" if severity else "")
    spelled = f"{segment}{bone}-{pattern}{stop}{severity}"
    if not slips and spelled != text:
        slips.append("stray full stop")
    regions, other = _forearm_meaning(token, segment, bone, pattern)
    return AoCode(text, regions, other), ", ".join(slips)


def _forearm_meaning(
    token: str, segment: str, bone: str, pattern: str
) -> tuple[dict[str, RegionFindings], tuple[str, ...]]:
    if segment == "22" and pattern in _LESIONS:
        return {}, (_LESIONS[pattern],)
    if segment == "22" and pattern.startswith("D/"):
        return {}, tuple(f"{name} shaft" for name in _BONES[bone])
    if segment == "23" and pattern == "E/7":
        styloid = {"ulnar_styloid": RegionFindings(status="fracture")}
        radius = {"distal_radius": RegionFindings(status="fracture", fracture_type="avulsion")}
        return {"r": radius, "u": styloid, "": radius | styloid}[bone], ()
    if segment == "23" and pattern in _TYPES:
        found = RegionFindings(status="fracture", fracture_type=_TYPES[pattern])
        names = {"radial": "distal_radius", "ulnar": "distal_ulna"}
        return {names[name]: found for name in _BONES[bone]}, ()
    raise _unknown(token)


def _hand(token: str, spelled: str) -> AoCode:
    if match := _CARPAL.fullmatch(spelled):
        bone, kind, qualifier = match.groups()
        suffix = f"({qualifier.lower()})" if qualifier else ""
        return AoCode(f"7{bone}{kind}{suffix}", other_fractures=(_CARPALS[bone],))
    if match := _SMALL_CARPAL.fullmatch(spelled):
        bone, kind = match.groups()
        return AoCode(f"76.{bone}.{kind}", other_fractures=(_SMALL_CARPALS[bone],))
    if match := _METACARPAL.fullmatch(spelled):
        ray, segment, kind = match.groups()
        name = _METACARPAL_SEGMENTS.get(segment, "distal {} metacarpal").format(_RAYS[ray])
        return AoCode(f"77.{ray}.{segment}{kind}", other_fractures=(name,))
    if match := _PHALANX.fullmatch(spelled):
        finger, phalanx, segment, kind = match.groups()
        # The thumb has no middle phalanx: its second is the distal one.
        which = "distal" if finger == "1" and phalanx == "2" else _PHALANGES[phalanx]
        name = f"{_FINGERS[finger]} {which} phalanx"
        return AoCode(f"78.{finger}.{phalanx}.{segment}{kind}", other_fractures=(name,))
    raise _unknown(token)


def _unknown(token: str) -> UserError:
    return UserError(
        f"unknown AO code {token!r}: expected codes such as 23r-M/2.1 or 72B(b), "
        "separated by semicolons"
    )
