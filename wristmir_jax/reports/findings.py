"""`Findings`: what a report says about one wrist, as a typed record.

One `Findings` per report and side. The meaning of every value is the labelling guideline in
`docs`-strings below and in BUILD_NOTES.md; miners, code tables and captions share it.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from wristmir_jax.anatomy import REGION_NAMES

SCHEMA_VERSION = 1

# Codes in arrays are positions in this tuple; data sets on disk hold them.
STATUSES = ("not_mentioned", "no_fracture", "uncertain", "fracture")
Status = Literal["not_mentioned", "no_fracture", "uncertain", "fracture"]
FractureType = Literal[
    "buckle",
    "greenstick",
    "incomplete",
    "complete",
    "salter_harris_1",
    "salter_harris_2",
    "salter_harris_3",
    "salter_harris_4",
    "salter_harris_5",
    "salter_harris_unspecified",
    "avulsion",
    "plastic_deformation",
    "other",
]
Displacement = Literal["none", "minimal", "mild", "moderate", "severe", "unspecified"]
AngulationDirection = Literal["dorsal", "volar", "radial", "ulnar"]
Healing = Literal["acute", "healing", "healed"]
Laterality = Literal["left", "right", "unknown"]
View = Literal["pa", "lateral", "oblique"]
Physis = Literal["open", "closing", "closed"]


class RegionFindings(BaseModel):
    """What is said of one region. Details are null for `no_fracture` and `not_mentioned`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Status = "not_mentioned"
    fracture_type: FractureType | None = None
    displacement: Displacement | None = None
    angulation_degrees: float | None = Field(default=None, ge=0, le=180)
    angulation_direction: AngulationDirection | None = None
    healing: Healing | None = None


class Findings(BaseModel):
    """What one report says of one wrist (one exam = one study of one side)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exam_id: str
    laterality: Laterality = "unknown"
    views: tuple[View, ...] = ()
    regions: dict[str, RegionFindings] = Field(default_factory=dict, validate_default=True)
    other_fractures: tuple[str, ...] = ()
    cast: bool | None = None
    hardware: bool | None = None
    osteopenia: bool | None = None
    soft_tissue_swelling: bool | None = None
    physis: Physis | None = None

    @field_validator("regions")
    @classmethod
    def _every_region(cls, regions: dict[str, RegionFindings]) -> dict[str, RegionFindings]:
        unknown = set(regions) - set(REGION_NAMES)
        if unknown:
            raise ValueError(f"unknown regions {sorted(unknown)}: expected {list(REGION_NAMES)}")
        return {name: regions.get(name, RegionFindings()) for name in REGION_NAMES}
