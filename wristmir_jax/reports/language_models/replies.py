"""What a language model is to write about a report, and what becomes of it.

Every string and array is bounded, so that decoding by the schema always ends. Quotes come before
the values that rest on them: a model that writes from left to right then looks before it decides.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from wristmir_jax.anatomy import REGION_NAMES, VIEWS
from wristmir_jax.reports.findings import (
    DETAILED_STATUSES,
    DETAILS,
    AngulationDirection,
    Displacement,
    Findings,
    FractureType,
    Healing,
    Laterality,
    Physis,
    Status,
    View,
)
from wristmir_jax.reports.mining import (
    INSEPARABLE_SIDES,
    UNSUPPORTED_LANGUAGE,
    Evidence,
    Mined,
    Rejection,
    Report,
)
from wristmir_jax.reports.verification import NO_EVIDENCE

BROKEN = "the model's answer is no JSON of the schema"
CONTRADICTION = "contradiction in the model's answer: {}"
CUT_OFF = "the model's answer was longer than {} tokens"
NO_WRIST = "the model's answer is about no wrist"

Quote = Annotated[str, Field(max_length=160)]


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RegionReply(_Reply):
    """One region; an angulation is one number of degrees or both ends of a range."""

    quote: Quote
    status: Status
    fracture_type: FractureType | None
    displacement: Displacement | None
    angulation_degrees: Annotated[list[Annotated[int, Field(ge=0, le=180)]], Field(max_length=2)]
    angulation_direction: AngulationDirection | None
    healing: Healing | None


class OtherFracture(_Reply):
    """A fracture of a bone that is no region."""

    quote: Quote
    bone: Annotated[str, Field(max_length=40)]


_EACH_REGION: dict[str, Any] = {name: (RegionReply, ...) for name in REGION_NAMES}
Regions = create_model("Regions", __base__=_Reply, **_EACH_REGION)


class WristReply(_Reply):
    """One wrist."""

    laterality: Laterality
    views: Annotated[list[View], Field(max_length=len(VIEWS))]
    regions: Regions  # pyright: ignore[reportInvalidTypeForm]
    other_fractures: Annotated[list[OtherFracture], Field(max_length=3)]
    cast: bool | None
    hardware: bool | None
    osteopenia: bool | None
    soft_tissue_swelling: bool | None
    physis: Physis | None


class Reply(_Reply):
    """A model's answer about one report."""

    refused: Literal["no", "language", "inseparable"]
    wrists: Annotated[list[WristReply], Field(max_length=2)]


SCHEMA: dict[str, Any] = Reply.model_json_schema()
_REFUSALS = {"language": UNSUPPORTED_LANGUAGE, "inseparable": INSEPARABLE_SIDES}


def mined_from(answer: str, report: Report) -> list[Mined] | Rejection:
    """The findings in a model's answer, or why it cannot be used.

    Each status that says something must rest on a quote that stands in the report.
    """
    try:
        reply = Reply.model_validate_json(answer)
    except ValidationError:
        return Rejection(report.exam_id, BROKEN)
    if reply.refused != "no":
        return Rejection(report.exam_id, _REFUSALS[reply.refused])
    if not reply.wrists:
        return Rejection(report.exam_id, NO_WRIST)
    sides = [wrist.laterality for wrist in reply.wrists]
    if len(set(sides)) < len(sides):
        return Rejection(report.exam_id, CONTRADICTION.format("one side twice"))
    found: list[Mined] = []
    for wrist in reply.wrists:
        mined = _mined(wrist, report)
        if isinstance(mined, Rejection):
            return mined
        found.append(mined)
    return found


def _mined(wrist: WristReply, report: Report) -> Mined | Rejection:
    evidence: list[Evidence] = []
    claims = [
        (f"regions.{name}.status", region.quote)
        for name, region in _regions(wrist).items()
        if region.status != "not_mentioned"
    ]
    claims += [("other_fractures", fracture.quote) for fracture in wrist.other_fractures]
    for field, quote in claims:
        place = place_of(quote, report.text)
        if place is None:
            return Rejection(report.exam_id, NO_EVIDENCE.format(field))
        evidence.append(Evidence(field, *place))
    regions = {name: _values(region) for name, region in _regions(wrist).items()}
    for name, values in regions.items():
        details = [detail for detail in DETAILS if values.get(detail) is not None]
        if details and values["status"] not in DETAILED_STATUSES:
            told = f"{name} is {values['status']} and has {', '.join(details)}"
            return Rejection(report.exam_id, CONTRADICTION.format(told))
    findings = Findings.model_validate(
        {
            "exam_id": report.exam_id,
            "regions": regions,
            "other_fractures": [fracture.bone for fracture in wrist.other_fractures],
            **wrist.model_dump(exclude={"regions", "other_fractures"}),
        }
    )
    return Mined(findings, tuple(evidence))


def _regions(wrist: WristReply) -> dict[str, RegionReply]:
    return {name: getattr(wrist.regions, name) for name in REGION_NAMES}


def _values(region: RegionReply) -> dict[str, Any]:
    """Of `RegionFindings`: a range by its midpoint."""
    values = region.model_dump(exclude={"quote", "angulation_degrees"})
    ends = region.angulation_degrees
    if ends:
        values["angulation_degrees"] = sum(ends) / len(ends)
    return values


# Fewer letters would be found in any report.
_FEWEST_LETTERS = 4


def place_of(quote: str, text: str) -> tuple[int, int] | None:
    """Characters [start, end) of a text where a quote stands, or None.

    Case, line breaks and runs of blanks may differ; so may quotation marks and dots around it.
    """
    words = quote.strip(" \t\n\"'.\u2026\u201c\u201d\u201e").split()
    if sum(character.isalpha() for character in "".join(words)) < _FEWEST_LETTERS:
        return None
    pattern = r"\s+".join(map(re.escape, words))
    found = re.search(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)
    return (found.start(), found.end()) if found else None
