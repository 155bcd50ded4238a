"""What every miner's output must pass."""

import re
from collections.abc import Sequence

from wristmir_jax.reports.findings import DETAILED_STATUSES
from wristmir_jax.reports.mining import Evidence, Mined, Rejection, Report

NO_EVIDENCE = "no evidence in the report for {}"
OTHER_SIDE = "side differs from the exam's"
INSTRUCTIONS = "the report gives instructions to a program that reads it"

# Words that speak to a program, in English and German. What radiologists tell each other
# ("disregard the prior report") is none of them.
_SPEAKS_TO_A_PROGRAM = re.compile(
    r"""
    \b(?:ignore|forget|override)\b[^.]{0,30}\babove\b
    | \b(?:ignore|disregard|forget|override)\b[^.]{0,30}
      \b(?:instructions?|prompts?|rules|guidelines?|everything|(?:previous|prior)\s+text)\b
      (?!\s+(?:report|impression|reading|dictation|study|addendum|findings?)\b)
    | \b(?:answer|respond|reply|output)\b[^.]{0,20}
      \b(?:json|normal|no[ _]fractures?|negative|only\s+in|laterality)\b
    | \b(?:print|return|write|reveal)\b[^.]{0,20}\b(?:json|schema|prompt|poem)\b
    | \b(?:system\s+prompt|language\s+model|debug\s+mode|as\s+an\s+ai)\b
    | \b(?:new\s+task|next\s+instruction)\b
    | \byou\s+are\s+(?:now\s+)?(?:a|an|chat)\w*\b
    | \bassistant\s*:
    | \b(?:ai|llm|gpt|chatgpt|chatbot|bot|assistant|parser|classifier)
      \s+(?:override|you|must|should)\b
    | \b(?:note|attention|message|instructions?|hint|dear|as)\s+(?:to\s+|for\s+)?(?:the\s+)?
      (?:ai|llm|gpt|chatgpt|chatbot|bot|model|parser|classifier|assistant)\b
    | \b(?:mark|set|label|leave|fill|copy)\s+(?:all|every|each|any|the)\s+(?:\w+\s+)?
      (?:regions?|labels?|fields?)\b
    | \bset\s+laterality\b
    | \b(?:not_mentioned|no_fracture|salter_harris_\w+)\b | "\w+"\s*:
    | \b(?:ignorier(?:en?)?|vergiss|missachte)\b[^.]{0,30}
      \b(?:obige\w*|anweisung\w*|alles|bisherige\w*)
    | \bantworte\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
# One of these is in every such sentence: few reports have to be looked at closely.
_OF_PROGRAMS = frozenset(
    """
    ignore ignorier disregard forget override answer respond reply output print return write reveal
    prompt language debug ai task instruction you system assistant user llm gpt chatgpt chatbot bot
    parser classifier model mark set label leave fill copy ignoriere ignorieren vergiss missachte
    antworte
    """.split()  # noqa: SIM905
)
_WORD = re.compile(r"[a-z]+")
_MARK = re.compile(r"[<\[_\"]")
# Of chat templates and of the frame of our prompt; what is redacted ("<DATE>") is none.
_MARKUP = re.compile(
    r"<[/|]*(?:start_of_turn|end_of_turn|im_start|im_end|report|s|bos|eos|system|user|assistant|inst"
    r"|think|tool_\w+|endoftext|eot_id|\w+_header_id)\|?>|<\|\w+\|>|\[/?(?:inst|system_prompt)\]",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?}\n]")


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
    told = instructions(report.text)
    flags: list[list[str]] = []
    for mined in answer:
        unfounded = _unfounded(report, mined, told)
        if unfounded:
            return Rejection(report.exam_id, NO_EVIDENCE.format(unfounded[0]))
        side = mined.findings.laterality
        known = report.laterality
        differs = "unknown" not in (known, side) and side != known and len(answer) == 1
        flags.append([OTHER_SIDE] * differs + [INSTRUCTIONS] * bool(told))
    return list(answer), flags


def instructions(text: str) -> list[tuple[int, int]]:
    """Places, characters [start, end), where a report speaks to a program that reads it.

    Sentences that tell it what to do, and all between the first and the last mark of a chat
    template.
    """
    marks = [found.span() for found in _MARKUP.finditer(text)] if _MARK.search(text) else []
    places = [(marks[0][0], marks[-1][1])] if marks else []
    if _OF_PROGRAMS.isdisjoint(_WORD.findall(text.lower())) and not _MARK.search(text):
        return places
    for found in _SPEAKS_TO_A_PROGRAM.finditer(text):
        before = [end.end() for end in _SENTENCE_END.finditer(text, 0, found.start())]
        after = _SENTENCE_END.search(text, found.end())
        places.append((before[-1] if before else 0, after.start() if after else len(text)))
    return places


def _unfounded(report: Report, mined: Mined, told: Sequence[tuple[int, int]]) -> list[str]:
    """Claims without evidence: of a fracture that has none, and of anything that has bad."""
    claims = {
        f"regions.{name}.status"
        for name, region in mined.findings.regions.items()
        if region.status in DETAILED_STATUSES
    }
    if mined.findings.other_fractures:
        claims.add("other_fractures")
    founded = {item.field for item in mined.evidence}
    bad = {
        item.field
        for item in mined.evidence
        if not _stands_in(report.text, item)
        or any(start < item.end and item.start < end for start, end in told)
    }
    return sorted((claims - founded) | bad)


def _stands_in(text: str, item: Evidence) -> bool:
    return 0 <= item.start < item.end <= len(text) and bool(text[item.start : item.end].strip())
