"""What every miner's output must pass."""

import re
from collections.abc import Iterator, Sequence

from wristmir_jax.reports.findings import DETAILED_STATUSES
from wristmir_jax.reports.mining import Evidence, Mined, Rejection, Report

NO_EVIDENCE = "no evidence in the report for {}"
OTHER_SIDE = "side differs from the exam's"
INSTRUCTIONS = "the report gives instructions to a program that reads it"

# Sentences that speak to a program, in English and German. What radiologists tell each other
# ("disregard the prior report") is none of them.
_SPEAKS_TO_A_PROGRAM = re.compile(
    r"""
    \b(?:ignore|disregard|forget|override)\b[^.\n]{0,30}
      \b(?:above|instructions?|prompts?|rules|guidelines?|everything|(?:previous|prior)\s+text)\b
      (?!\s+(?:report|impression|reading|dictation|study|addendum|findings?)\b)
    | \b(?:answer|respond|reply|output)\b[^.\n]{0,30}
      \b(?:json|normal|no[ _]fractures?|negative|only|left|right|laterality)\b
    | \b(?:print|return|write|reveal)\b[^.\n]{0,20}\b(?:json|schema|prompt|poem)\b
    | \b(?:system\s+prompt|language\s+model|debug\s+mode|as\s+an\s+ai)\b
    | \b(?:new\s+task|next\s+instruction)\b
    | \byou\s+are\s+(?:now\s+)?(?:a|an|chat)\w*\b
    | ^\W*(?:system|assistant|user)\s*: | \bassistant\s*:
    | \b(?:ai|llm|gpt|chatgpt|chatbot|bot|assistant|parser|classifier)
      \s+(?:override|you|must|should)\b
    | \b(?:note|attention|message|instructions?|hint|dear|as)\s+(?:to\s+|for\s+)?(?:the\s+)?
      (?:ai|llm|gpt|chatgpt|chatbot|bot|model|parser|classifier|assistant)\b
    | \b(?:mark|set|label|leave|fill|copy)\b[^.\n]{0,25}\b(?:regions?|labels?|fields?|laterality)\b
    | \b(?:not_mentioned|no_fracture|salter_harris_\w+)\b | "\w+"\s*:
    | \b(?:ignoriere?n?|vergiss|missachte)\b[^.\n]{0,30}
      \b(?:obige\w*|anweisung\w*|alles|bisherige\w*)
    | \bantworte\b
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
# One of these is in every such sentence: few reports have to be looked at closely.
_OF_PROGRAMS = frozenset(
    """
    ignore disregard forget override answer respond reply output print return write reveal prompt
    language debug ai task instruction you system assistant user llm gpt chatgpt chatbot bot parser
    classifier model mark set label leave fill copy ignoriere ignorieren vergiss missachte antworte
    """.split()  # noqa: SIM905
)
_WORD = re.compile(r"[a-z]+")
_MARK = re.compile(r"[<\[#_\"]")
_MARKUP = r"<[|/]*\w+\|?>|\[/?inst\]|\[\[[^\]\n]*\]\]|\#{3,}"
_SENTENCE = re.compile(rf"{_MARKUP}|(?:(?!{_MARKUP})[^.!?\n])+", re.IGNORECASE)
_IS_MARKUP = re.compile(_MARKUP, re.IGNORECASE)


def verified(
    report: Report, answer: Sequence[Mined] | Rejection
) -> tuple[list[Mined], list[list[str]]] | Rejection:
    """The answer with what is to be flagged about each side, or why it cannot be used.

    Each claim of a fracture must rest on a place in the report, and no claim on a sentence that
    tells a program what to answer. That a side has both details and no fracture, the schema
    refuses by itself.
    """
    if isinstance(answer, Rejection):
        return answer
    instructions = list(_instructions(report.text))
    flags: list[list[str]] = []
    for mined in answer:
        unfounded = _unfounded(report, mined, instructions)
        if unfounded:
            return Rejection(report.exam_id, NO_EVIDENCE.format(unfounded[0]))
        side = mined.findings.laterality
        known = report.laterality
        differs = "unknown" not in (known, side) and side != known and len(answer) == 1
        flags.append([OTHER_SIDE] * differs + [INSTRUCTIONS] * bool(instructions))
    return list(answer), flags


def _instructions(text: str) -> Iterator[tuple[int, int]]:
    """Sentences that speak to a program, and markup, as characters [start, end)."""
    if not (_OF_PROGRAMS.intersection(_WORD.findall(text.lower())) or _MARK.search(text)):
        return
    for sentence in _SENTENCE.finditer(text):
        if _IS_MARKUP.match(sentence[0]) or _SPEAKS_TO_A_PROGRAM.search(sentence[0]):
            yield sentence.span()


def _unfounded(report: Report, mined: Mined, instructions: Sequence[tuple[int, int]]) -> list[str]:
    """Claims without evidence: of a fracture that has none, and of anything that has only bad."""
    claims = {
        f"regions.{name}.status"
        for name, region in mined.findings.regions.items()
        if region.status in DETAILED_STATUSES
    }
    if mined.findings.other_fractures:
        claims.add("other_fractures")
    claims.update(item.field for item in mined.evidence)
    founded = {
        item.field
        for item in mined.evidence
        if _stands_in(report.text, item)
        and not any(start < item.end and item.start < end for start, end in instructions)
    }
    return sorted(claims - founded)


def _stands_in(text: str, item: Evidence) -> bool:
    return 0 <= item.start < item.end <= len(text) and bool(text[item.start : item.end].strip())
