"""Which exams a search may find."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from wristmir_jax import anatomy
from wristmir_jax.errors import UserError

_NAMES = {"view": anatomy.VIEWS, "laterality": anatomy.SIDES, "sex": anatomy.SEXES}
_FLAGS = ("cast", "hardware", "initial_exam")


@dataclass(frozen=True)
class Filters:
    """Only images that meet every filter are searched; None leaves a field free.

    An exam is found, and scored, by those of its images that remain. Where a field is unknown, the
    image does not meet a filter on it.

    Attributes:
        view, laterality, sex: names from `anatomy`.
        min_age, max_age: years, inclusive.
        cast, hardware, initial_exam: as the reports say.
    """

    view: str | None = None
    laterality: str | None = None
    sex: str | None = None
    min_age: float | None = None
    max_age: float | None = None
    cast: bool | None = None
    hardware: bool | None = None
    initial_exam: bool | None = None

    def __post_init__(self) -> None:
        for field, names in _NAMES.items():
            if (name := getattr(self, field)) is not None:
                anatomy.code(names, name, f"{field} to filter by")
        for field in ("min_age", "max_age"):
            if (years := getattr(self, field)) is not None and math.isnan(years):
                raise UserError(f"{field}={years}: give years")
        if self.min_age is not None and self.max_age is not None and self.min_age > self.max_age:
            raise UserError(f"no age is at least {self.min_age} and at most {self.max_age}")

    def rows(self, ids: pa.Table) -> np.ndarray:
        """bool (N,): the rows of `retrieval.store.id_schema` that meet the filters."""
        keep = np.ones(ids.num_rows, bool)
        for field in (*_NAMES, *_FLAGS):
            if (wanted := getattr(self, field)) is not None:
                keep &= np.array([value == wanted for value in ids[field].to_pylist()], bool)
        if self.min_age is not None or self.max_age is not None:
            age = np.array(
                [np.nan if years is None else years for years in ids["age_years"].to_pylist()]
            )
            keep &= ~np.isnan(age)
            keep &= ~(age < (-np.inf if self.min_age is None else self.min_age))
            keep &= ~(age > (np.inf if self.max_age is None else self.max_age))
        return keep


NO_FILTERS = Filters()
