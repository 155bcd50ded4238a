import itertools

import pytest
from hypothesis import given

from tests.reports.strategies import findings
from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import STATUSES, Findings, RegionFindings
from wristmir_jax.reports.union import union


def radius(**details) -> Findings:
    return Findings(exam_id="exam", regions={"distal_radius": RegionFindings(**details)})


@given(findings(), findings())
def test_commutative(a, b):
    assert union([a, b]) == union([b, a])


@given(findings(), findings(), findings())
def test_associative(a, b, c):
    assert union([union([a, b]), c]) == union([a, union([b, c])]) == union([a, b, c])


@given(findings(), findings())
def test_idempotent(a, b):
    assert union([a, a]) == union([a]) == a
    assert union([union([a, b]), a]) == union([a, b])


@given(findings(), findings())
def test_nothing_that_was_said_is_lost(a, b):
    joined = union([a, b])
    assert set(joined.views) == {*a.views, *b.views}
    assert set(joined.other_fractures) == {*a.other_fractures, *b.other_fractures}
    for name, region in joined.regions.items():
        ranks = [STATUSES.index(value.regions[name].status) for value in (a, b)]
        assert STATUSES.index(region.status) == max(ranks)
    for flag in ("cast", "hardware", "osteopenia", "soft_tissue_swelling"):
        stated = {getattr(a, flag), getattr(b, flag)} - {None}
        assert getattr(joined, flag) == (any(stated) if stated else None)


def test_a_fracture_beats_everything_and_keeps_its_own_details():
    lateral = radius(status="fracture", fracture_type="incomplete")
    others = [
        radius(status="uncertain", fracture_type="complete", displacement="severe"),
        radius(status="no_fracture"),
        radius(status="not_mentioned"),
    ]
    for order in itertools.permutations([lateral, *others]):
        assert union(order) == lateral


def test_details_come_from_the_view_that_says_more():
    joined = union(
        [
            radius(status="fracture", fracture_type="incomplete", displacement="none"),
            radius(status="fracture", angulation_degrees=20, angulation_direction="volar"),
            radius(
                status="fracture",
                fracture_type="buckle",
                displacement="mild",
                angulation_degrees=5,
                angulation_direction="ulnar",
            ),
        ]
    )
    assert joined == radius(
        status="fracture",
        fracture_type="buckle",
        displacement="mild",
        angulation_degrees=20,
        angulation_direction="volar",
    )


def test_the_side_is_that_of_the_source_that_knows_it():
    known = Findings(exam_id="exam", laterality="right")
    assert union([Findings(exam_id="exam"), known]).laterality == "right"


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "no findings"),
        ([Findings(exam_id="a"), Findings(exam_id="b")], "'a' and 'b'"),
        (
            [Findings(exam_id="a", laterality="left"), Findings(exam_id="a", laterality="right")],
            "'a' is called left and right",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(sources, message):
    with pytest.raises(UserError, match=message):
        union(sources)
