import numpy as np
import pytest

from tests.retrieval.stores import random_store
from wristmir_jax.retrieval.filters import NO_FILTERS, Filters


@pytest.mark.parametrize(
    ("filters", "meets"),
    [
        (NO_FILTERS, lambda row: True),
        (Filters(view="lateral"), lambda row: row["view"] == "lateral"),
        (Filters(laterality="right"), lambda row: row["laterality"] == "right"),
        (Filters(sex="unknown"), lambda row: row["sex"] == "unknown"),
        (Filters(min_age=5), lambda row: row["age_years"] is not None and row["age_years"] >= 5),
        (Filters(max_age=5), lambda row: row["age_years"] is not None and row["age_years"] <= 5),
        (
            Filters(min_age=3, max_age=3),
            lambda row: row["age_years"] is not None and row["age_years"] == 3,
        ),
        (Filters(cast=True), lambda row: row["cast"] is True),
        (Filters(hardware=False), lambda row: row["hardware"] is False),
        (
            Filters(initial_exam=True, laterality="left"),
            lambda row: row["initial_exam"] is True and row["laterality"] == "left",
        ),
    ],
)
def test_a_row_stays_where_it_is_known_to_meet_every_filter(filters, meets):
    ids = random_store(40).ids
    expected = [meets(row) for row in ids.to_pylist()]
    assert any(expected)
    np.testing.assert_array_equal(filters.rows(ids), expected)
