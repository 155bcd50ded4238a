import numpy as np
import pytest

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.record import NO, UNCERTAIN, UNKNOWN, YES
from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import Findings, RegionFindings
from wristmir_jax.reports.labels import exam_fracture_label, status_codes


def wrist(*statuses, **fields) -> Findings:
    regions = {
        name: RegionFindings(status=status)
        for name, status in zip(REGION_NAMES, statuses, strict=True)
    }
    return Findings(exam_id="exam", regions=regions, **fields)


INTACT = ("no_fracture",) * 3


@pytest.mark.parametrize(
    ("findings", "label"),
    [
        (wrist("no_fracture", "uncertain", "fracture"), YES),
        (wrist(*INTACT, other_fractures=("scaphoid",)), YES),
        (wrist("no_fracture", "uncertain", "not_mentioned"), UNCERTAIN),
        (wrist(*INTACT), NO),
        (wrist("no_fracture", "no_fracture", "not_mentioned"), UNKNOWN),
        (Findings(exam_id="exam", cast=True), UNKNOWN),
    ],
)
def test_exam_fracture_label(findings, label):
    assert exam_fracture_label(findings) == label


def test_status_codes_follow_the_order_that_was_asked_for():
    findings = wrist("fracture", "uncertain", "no_fracture")
    codes = status_codes(findings, ["ulnar_styloid", "distal_radius"])
    assert codes.dtype == np.uint8
    assert codes.tolist() == [1, 3]
    assert status_codes(findings, []).shape == (0,)
    with pytest.raises(UserError, match="unknown region 'elbow'"):
        status_codes(findings, ["elbow"])
