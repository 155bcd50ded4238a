from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.reports.strategies import findings
from wristmir_jax.reports.findings import SCHEMA_VERSION, STATUSES, Findings, RegionFindings


@given(findings(names=st.text(max_size=12), exam_id=st.text(max_size=12)))
def test_json_brings_back_the_same_findings(value):
    assert Findings.model_validate_json(value.model_dump_json()) == value


@pytest.mark.parametrize("status", ["no_fracture", "not_mentioned"])
@pytest.mark.parametrize(
    ("detail", "value"),
    [
        ("fracture_type", "buckle"),
        ("displacement", "none"),
        ("angulation_degrees", 5),
        ("angulation_direction", "dorsal"),
        ("healing", "healed"),
    ],
)
def test_details_need_a_fracture(status, detail, value):
    with pytest.raises(ValidationError, match=f"status {status} with {detail}"):
        RegionFindings.model_validate({"status": status, detail: value})
    assert RegionFindings.model_validate({"status": "uncertain", detail: value})


def test_no_angulation_is_stored_as_null():
    region = RegionFindings(status="fracture", angulation_degrees=0, angulation_direction="dorsal")
    assert region == RegionFindings(status="fracture")


@pytest.mark.parametrize("degrees", [-1, 181, float("nan"), float("inf")])
def test_impossible_angles_are_refused(degrees):
    with pytest.raises(ValidationError):
        RegionFindings(status="fracture", angulation_degrees=degrees)


def test_findings_that_mean_the_same_are_equal():
    a = Findings(exam_id="x", views=("lateral", "pa", "pa"), other_fractures=("b", " A  a,", ""))
    b = Findings(exam_id="x", views=("pa", "lateral"), other_fractures=("a a", "b"))
    assert a == b


@pytest.mark.parametrize(
    "bad",
    [{"regions": {"elbow": {}}}, {"side": "left"}, {"views": ["skyline"]}, {"cast": "perhaps"}],
)
def test_what_the_schema_does_not_know_is_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        Findings.model_validate({"exam_id": "x", **bad})


def test_the_guideline_ships_with_its_schema():
    text = files("wristmir_jax.reports").joinpath("GUIDELINE.md").read_text("utf-8")
    assert f"version {SCHEMA_VERSION} (`SCHEMA_VERSION`" in text
    missing = [
        name
        for name in (*STATUSES, *RegionFindings.model_fields, *Findings.model_fields)
        if name not in ("status", "exam_id", "laterality", "regions") and f"`{name}`" not in text
    ]
    assert not missing
