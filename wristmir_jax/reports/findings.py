"""`Findings`: what a report says about one wrist, as a typed record.

One `Findings` per report and side. What every value means is the labelling guideline,
GUIDELINE.md beside this file; miners, code tables and captions share it.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from wristmir_jax.anatomy import REGION_NAMES, VIEWS

# Of the schema and of GUIDELINE.md: raise it when either changes what a value means.
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


# A region has details only where a fracture is asserted or suspected.
DETAILED_STATUSES = ("fracture", "uncertain")
DETAILS = (
    "fracture_type",
    "displacement",
    "angulation_degrees",
    "angulation_direction",
    "healing",
)


class RegionFindings(BaseModel):
    """What is said of one region. Details are null for `no_fracture` and `not_mentioned`.

    An angulation of 0 degrees is stored as null, with its direction: both say "no angulation".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Status = "not_mentioned"
    fracture_type: FractureType | None = None
    displacement: Displacement | None = None
    angulation_degrees: float | None = Field(default=None, ge=0, le=180)
    angulation_direction: AngulationDirection | None = None
    healing: Healing | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_angulation(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("angulation_degrees") == 0:
            return {**data, "angulation_degrees": None, "angulation_direction": None}
        return data

    @model_validator(mode="after")
    def _details_of_a_fracture(self) -> Self:
        if self.status in DETAILED_STATUSES or self.model_fields_set.isdisjoint(DETAILS):
            return self
        stated = [name for name in DETAILS if getattr(self, name) is not None]
        if stated:
            raise ValueError(
                f"status {self.status} with {', '.join(stated)}: "
                f"details belong to the statuses {' and '.join(DETAILED_STATUSES)} only"
            )
        return self


# Frozen, so that one does for all.
_NOT_MENTIONED = RegionFindings()
_NO_PUNCTUATION = str.maketrans(",;:.", "    ")


class Findings(BaseModel):
    """What one report says of one wrist (one exam = one study of one side).

    Views are kept distinct and in the order of `anatomy.VIEWS`; `other_fractures` distinct, sorted,
    in lower case and without commas, semicolons, colons and full stops, so that findings that mean
    the same compare equal and a list of names can be read back.
    """

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

    @field_validator("views")
    @classmethod
    def _views_in_order(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(views) < 2:
            return views
        return tuple(sorted(set(views), key=VIEWS.index))

    @field_validator("other_fractures")
    @classmethod
    def _plain_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            return names
        plain = {" ".join(name.translate(_NO_PUNCTUATION).lower().split()) for name in names}
        return tuple(sorted(plain - {""}))

    @field_validator("regions")
    @classmethod
    def _every_region(cls, regions: dict[str, RegionFindings]) -> dict[str, RegionFindings]:
        if tuple(regions) == REGION_NAMES:
            return regions
        unknown = regions.keys() - REGION_NAMES
        if unknown:
            raise ValueError(f"unknown regions {sorted(unknown)}: expected {list(REGION_NAMES)}")
        return {name: regions.get(name, _NOT_MENTIONED) for name in REGION_NAMES}
