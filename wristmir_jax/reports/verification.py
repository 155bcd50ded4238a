"""What every miner's output must pass."""

from collections.abc import Sequence

from wristmir_jax.reports.findings import DETAILED_STATUSES
from wristmir_jax.reports.mining import Mined, Rejection, Report

NO_EVIDENCE = "no evidence in the report for {}"
OTHER_SIDE = "side differs from the exam's"


def verified(
    report: Report, answer: Sequence[Mined] | Rejection
) -> tuple[list[Mined], list[list[str]]] | Rejection:
    """The answer with what is to be flagged about each side, or why it cannot be used.

    Each claim of a fracture must rest on a place in the report. That a side has both details and
    no fracture, the schema refuses by itself.
    """
    if isinstance(answer, Rejection):
        return answer
    flags: list[list[str]] = []
    for mined in answer:
        missing = _without_evidence(report, mined)
        if missing:
            return Rejection(report.exam_id, NO_EVIDENCE.format(missing[0]))
        side = mined.findings.laterality
        known = report.laterality
        differs = "unknown" not in (known, side) and side != known and len(answer) == 1
        flags.append([OTHER_SIDE] if differs else [])
    return list(answer), flags


def _without_evidence(report: Report, mined: Mined) -> list[str]:
    claims = [
        f"regions.{name}.status"
        for name, region in mined.findings.regions.items()
        if region.status in DETAILED_STATUSES
    ]
    if mined.findings.other_fractures:
        claims.append("other_fractures")
    shown = {
        item.field
        for item in mined.evidence
        if 0 <= item.start < item.end <= len(report.text)
        and report.text[item.start : item.end].strip()
    }
    return [claim for claim in claims if claim not in shown]
