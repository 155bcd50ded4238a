"""What every miner takes and gives."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from wristmir_jax.reports.findings import Findings, Laterality

# Reasons of a rejection that a miner may give by itself.
UNSUPPORTED_LANGUAGE = "language"
INSEPARABLE_SIDES = "inseparable"


@dataclasses.dataclass(frozen=True)
class Report:
    """A radiology report.

    Attributes:
        exam_id: of the exam that it is on.
        text: as dictated.
        laterality: of the exam, where it is known from elsewhere.
    """

    exam_id: str
    text: str
    laterality: Laterality = "unknown"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Where in the report a claim stands: characters [start, end) of its text.

    Attributes:
        field: of `Findings`, such as `regions.distal_radius.status`.
    """

    field: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Mined:
    """Findings of one side, each claim of a fracture with its evidence."""

    findings: Findings
    evidence: tuple[Evidence, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A report that could not be mined, and why; never its text.

    Attributes:
        exam_id: of its exam.
        reason: one line.
        again: whether the miner failed and not the report, so that the next run asks once more.
    """

    exam_id: str
    reason: str
    again: bool = False


class Miner(Protocol):
    """Reads reports."""

    def __call__(self, reports: Sequence[Report]) -> list[list[Mined] | Rejection]:
        """For each report its findings, one of each side, or why there are none."""
        ...
