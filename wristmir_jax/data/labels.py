"""What is known of an exam, and how it becomes the captions and codes of a record."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wristmir_jax import anatomy
from wristmir_jax.data.record import UNKNOWN
from wristmir_jax.reports.captions import Captions, canonical_captions, phrase
from wristmir_jax.reports.findings import STATUSES, Findings, RegionFindings
from wristmir_jax.reports.labels import exam_fracture_label, status_codes

_NOT_MENTIONED = STATUSES.index("not_mentioned")


@dataclass(frozen=True)
class RecordLabels:
    """The label fields of a `Record`; what each means stands there."""

    fracture: int
    region_status: np.ndarray
    caption: str
    caption_phrasings: list[str]
    region_captions: list[str]
    region_caption_phrasings: list[str]
    findings_json: str


class Labels(Protocol):
    """What is known of one exam."""

    def render(
        self,
        regions: tuple[str, ...],
        age_years: float,
        num_phrasings: int,
        rng: np.random.Generator,
    ) -> RecordLabels:
        """The label fields, with P = `num_phrasings` wordings drawn by `rng`."""
        ...


@dataclass(frozen=True)
class FindingsLabels:
    """An exam of which `Findings` are known."""

    findings: Findings

    def render(
        self,
        regions: tuple[str, ...],
        age_years: float,
        num_phrasings: int,
        rng: np.random.Generator,
    ) -> RecordLabels:
        findings = without_absent(self.findings, age_years)
        drawn = [phrase(findings, rng) for _ in range(num_phrasings)]
        return _labels(
            regions,
            canonical_captions(findings),
            drawn,
            # Of all findings: a cartilaginous styloid leaves no doubt whether the wrist is broken.
            fracture=exam_fracture_label(self.findings),
            region_status=status_codes(findings, regions),
            findings_json=findings.model_dump_json(),
        )


@dataclass(frozen=True)
class CaptionLabels:
    """An exam of which only ready-made captions are known (or nothing: no captions).

    Attributes:
        captions: canonical, and the only wording.
        fracture: as in `Record`.
    """

    captions: Captions
    fracture: int = UNKNOWN

    def render(
        self,
        regions: tuple[str, ...],
        age_years: float,
        num_phrasings: int,
        rng: np.random.Generator,
    ) -> RecordLabels:
        status = np.full(len(regions), _NOT_MENTIONED, np.uint8)
        return _labels(regions, self.captions, [self.captions], self.fracture, status, "")


def without_absent(findings: Findings, age_years: float) -> Findings:
    """Findings that say nothing of bones that are still cartilage at this age.

    A normal exam covers "no fracture" of every region, but a region that is not ossified yet has no
    caption. What was seen nevertheless (a fracture, certain or not) stays.
    """
    regions = dict(findings.regions)
    for name, region in findings.regions.items():
        if region.status == "no_fracture" and anatomy.region(name).absent(age_years):
            regions[name] = RegionFindings()
    return findings.model_copy(update={"regions": regions})


def _labels(
    regions: tuple[str, ...],
    captions: Captions,
    drawn: list[Captions],
    fracture: int,
    region_status: np.ndarray,
    findings_json: str,
) -> RecordLabels:
    return RecordLabels(
        fracture=fracture,
        region_status=region_status,
        caption=captions.global_caption,
        caption_phrasings=[wording.global_caption for wording in drawn],
        region_captions=[captions.regions.get(name, "") for name in regions],
        region_caption_phrasings=[
            wording.regions.get(name, "") for name in regions for wording in drawn
        ],
        findings_json=findings_json,
    )
