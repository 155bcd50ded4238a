"""A reader of captions that knows the language of radiologists and nothing of the templates.

It turns a caption back into what it says, so that a test can tell whether a phrasing dropped,
invented or contradicted something.
"""

import re

from tests.reports.strategies import OTHER_FRACTURES
from wristmir_jax.anatomy import REGIONS
from wristmir_jax.reports.findings import Findings, RegionFindings

HEDGES = (
    "possible|suspected|questionable|probable|cannot be excluded|suspicious|may represent|equivocal"
)
DENIALS = "no fracture|no evidence of fracture|intact|unremarkable|normal|negative for fracture"
TYPES = (
    ("avulsion", "avulsion"),
    ("buckle|torus", "buckle"),
    ("green-?stick", "greenstick"),
    ("incomplete", "incomplete"),
    ("complete|bicortical|both cortices", "complete"),
    ("bowing|plastic", "plastic_deformation"),
    ("other|another|not of a standard", "other"),
)
GRADES = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, **{str(n): n for n in range(1, 6)}}
DISPLACEMENTS = (
    (
        "without displacement|no displacement|anatomic|nondisplaced|undisplaced|non-displaced",
        "none",
    ),
    ("minimal|slight", "minimal"),
    ("mild", "mild"),
    ("moderate", "moderate"),
    ("severe|marked", "severe"),
    ("displace", "unspecified"),
)
HEALING = (("acute", "acute"), ("healed|consolidated", "healed"), ("healing|callus", "healing"))
OPPOSITE = {"dorsal": "volar", "volar": "dorsal", "radial": "ulnar", "ulnar": "radial"}


def _first(table, text):
    return next((value for pattern, value in table if re.search(pattern, text)), None)


def _fracture_type(text):
    named = _first(TYPES, text)
    if named:
        return named
    grade = re.search(r"(?:salter-harris|salter|\bsh)(?: type)? ?(i{1,3}|iv|v|[1-5])\b", text)
    grade = grade or re.search(r"type (i{1,3}|iv|v) physeal", text)
    if grade:
        return f"salter_harris_{GRADES[grade.group(1)]}"
    return "salter_harris_unspecified" if re.search("physeal|physis|growth", text) else None


def read_region(sentence: str) -> RegionFindings:
    """What a sentence says of the region that it names."""
    text = sentence.lower()
    for region in REGIONS:
        text = text.replace(region.label, "BONE")
    hedged = re.search(HEDGES, text)
    if re.search(DENIALS, text):
        assert not hedged, "denied and hedged at once"
        return RegionFindings(status="no_fracture")
    degrees = re.search(r"([\d.]+(?:e-\d+)?) ?(?:degrees|°)", text)
    apex = re.search("apex.(dorsal|volar|radial|ulnar)", text)
    tilt = re.search("dorsal|volar|radial|ulnar", text)
    direction = OPPOSITE[apex.group(1)] if apex else tilt and tilt.group()
    return RegionFindings(
        status="uncertain" if hedged else "fracture",
        fracture_type=_fracture_type(text),
        displacement=_first(DISPLACEMENTS, text),
        angulation_degrees=float(degrees.group(1)) if degrees else None,
        angulation_direction=direction,
        healing=_first(HEALING, text),
    )


def _physis(text):
    if re.search("nearly|closing", text):
        return "closing"
    return "closed" if re.search(r"\bfused|closed|mature", text) else "open"


def read(caption: str) -> Findings:
    """What a global caption says; exam_id is "exam" and laterality left."""
    regions, other, exam = {}, [], {}
    for sentence in filter(None, re.split(r"\.(?: |$)", caption)):
        text = sentence.lower()
        named = [region.name for region in REGIONS if region.label in text]
        negative = bool(re.search(r"\b(no|out of|normal|unremarkable)\b", text))
        if named:
            for name in named:
                assert name not in regions, f"{name} is spoken of twice"
                regions[name] = read_region(sentence)
        elif "cast" in text:
            exam["cast"] = not negative
        elif "hardware" in text:
            exam["hardware"] = not negative
        elif re.search("osteopeni|mineral|density", text):
            exam["osteopenia"] = not negative
        elif re.search("soft.tissue", text):
            exam["soft_tissue_swelling"] = not negative
        elif re.search("phys|growth plate|skeletal", text):
            exam["physis"] = _physis(text)
        elif any(name in text for name in OTHER_FRACTURES):
            assert "fracture" in text
            other += [name for name in OTHER_FRACTURES if name in text]
        else:
            assert re.search(DENIALS, text), "a sentence that says nothing"
            assert not regions
            regions = {region.name: RegionFindings(status="no_fracture") for region in REGIONS}
    return Findings(
        exam_id="exam", laterality="left", regions=regions, other_fractures=tuple(other), **exam
    )
