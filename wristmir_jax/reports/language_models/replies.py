"""What a language model is to write about a report, and what becomes of it.

Every string and array is bounded, so that decoding by the schema always ends. Quotes come before
the values that rest on them: a model that writes from left to right then looks before it decides.
"""

import itertools
import re
from collections.abc import Sequence
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
from wristmir_jax.reports.verification import NO_EVIDENCE, instructions

BROKEN = "the model's answer is no JSON of the schema"
CONTRADICTION = "contradiction in the model's answer: {}"
CUT_OFF = "the model's answer was longer than {} tokens"
NO_BONE = "the model's answer names a bone that is none"
NO_WRIST = "the model's answer is about no wrist"

QUOTE_LENGTH = 160
Quote = Annotated[str, Field(max_length=QUOTE_LENGTH)]


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
# Models that decode without a schema often set their JSON in a block of Markdown.
_FENCE = re.compile(r"^\s*```\w*|```\s*$")
_REFUSALS = {"language": UNSUPPORTED_LANGUAGE, "inseparable": INSEPARABLE_SIDES}


def mined_from(answer: str, report: Report) -> list[Mined] | Rejection:
    """The findings in a model's answer, or why it cannot be used.

    Each status that says something must rest on a quote that stands in the report.
    """
    try:
        reply = Reply.model_validate_json(_FENCE.sub("", answer))
    except ValidationError:
        return Rejection(report.exam_id, BROKEN)
    reason = _unusable(reply)
    if reason is not None:
        return Rejection(report.exam_id, reason)
    found: list[Mined] = []
    for wrist in reply.wrists:
        mined = _mined(wrist, report)
        if isinstance(mined, Rejection):
            return mined
        found.append(mined)
    return found


def _unusable(reply: Reply) -> str | None:
    """Why an answer as a whole cannot be used, or None."""
    sides = [wrist.laterality for wrist in reply.wrists]
    if reply.refused != "no":
        return _REFUSALS[reply.refused]
    if not sides:
        return NO_WRIST
    if sides == ["unknown", "unknown"]:
        return INSEPARABLE_SIDES
    if len(set(sides)) < len(sides):
        return CONTRADICTION.format("one side twice")
    return None


def _mined(wrist: WristReply, report: Report) -> Mined | Rejection:
    evidence: list[Evidence] = []
    claims = [
        (f"regions.{name}.status", region.quote)
        for name, region in _regions(wrist).items()
        if region.status != "not_mentioned"
    ]
    claims += [("other_fractures", fracture.quote) for fracture in wrist.other_fractures]
    if not all(is_bone(fracture.bone) for fracture in wrist.other_fractures):
        return Rejection(report.exam_id, NO_BONE)
    barred = instructions(report.text)
    for field, quote in claims:
        place = place_of(quote, report.text, barred)
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
    if any(ends):
        values["angulation_degrees"] = sum(ends) / len(ends)
    elif ends:
        # The guideline: 0 degrees are no angulation, and so have no direction.
        values["angulation_direction"] = None
    return values


# Fewer letters would be found in any report.
_FEWEST_LETTERS = 4
# Signs that models write in another way than reports; each stands for one, so places stay.
_ALIKE = str.maketrans(
    "\u2018\u2019\u201c\u201d\u201e\u2010\u2011\u2012\u2013\u2014\u2212\u00a0", '\'\'"""------ '
)
_AROUND = " \t\n\"'.\u2026"
_LETTER_OF_WORDS = re.compile(r"[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff]")


def place_of(
    quote: str, text: str, barred: Sequence[tuple[int, int]] = ()
) -> tuple[int, int] | None:
    """Characters [start, end) of a text where a quote stands, or None.

    Case, line breaks, runs of blanks and kinds of dashes may differ; so may quotation marks and
    dots around it. The last place counts, in the quote's own case if there is one: history and
    technique come first in a report.

    Args:
        quote: that a model gave; cut off where it is as long as the schema allows.
        text: of the report.
        barred: places that are no evidence, passed over where there is another.
    """
    words = quote.translate(_ALIKE).strip(_AROUND).split()
    if len(quote) >= QUOTE_LENGTH and len(words) > 1:
        words.pop()
    if sum(character.isalpha() for character in "".join(words)) < _FEWEST_LETTERS:
        return None
    pattern = _bounded(words[0][0], r"(?<!\w)") + re.escape(words[0])
    for before, word in itertools.pairwise(words):
        # The prompt sets a blank behind what could open a mark.
        pattern += (r"\s*" if before[-1] in "<[" else r"\s+") + re.escape(word)
    pattern += _bounded(words[-1][-1], r"(?!\w)")
    plain = text.translate(_ALIKE)
    found = [match.span() for match in re.finditer(pattern, plain, re.IGNORECASE)]
    exact = [match.span() for match in re.finditer(pattern, plain)]
    for places in (exact, found):
        for start, end in reversed(places):
            if not any(first < end and start < last for first, last in barred):
                return start, end
    return found[-1] if found else None


def _bounded(character: str, boundary: str) -> str:
    """The edge of a word, in scripts that set words apart."""
    return boundary if _LETTER_OF_WORDS.match(character) else ""


# Stems of bones and of their parts: what a model calls a bone is text of its own, and goes on.
_BONE = re.compile(
    r"radi|uln|humer|scaph|navic|lunat|triquetr|pisif|trapez|capitat|hamat|carp|phalan|thumb|finger"
    r"|digit|clavic|scapul|acromi|tibi|fibul|femur|femor|condyl|olecran|coronoid|malleol|tars|talus"
    r"|calcan|\brib|elbow|forearm|hand|sesam|patell|pelvi|vertebr|monteggia|galeazzi"
)
_LETTERS = re.compile(r"[a-z0-9 -]+")


def is_bone(name: str) -> bool:
    """Whether a name may be that of a bone."""
    plain = name.lower()
    return bool(_LETTERS.fullmatch(plain) and _BONE.search(plain))
