import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from wristmir_jax.benchmark.relevance import RegionCodes, dcg, grade, ideal_and_chance
from wristmir_jax.reports.findings import Findings, RegionFindings

REGION = "distal_radius"


def codes(*regions: dict) -> RegionCodes:
    return RegionCodes.of(
        [Findings(exam_id="e", regions={REGION: RegionFindings(**r)}) for r in regions], REGION
    )


def grade_of(query: dict, retrieved: dict) -> int:
    fracture = {"status": "fracture"}
    return int(grade(codes(fracture | query), codes(fracture | retrieved))[0, 0])


GREENSTICK = {
    "fracture_type": "greenstick",
    "displacement": "mild",
    "angulation_degrees": 20,
    "angulation_direction": "dorsal",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 4),
        ({"status": "uncertain"}, 0),
        ({"fracture_type": "incomplete"}, 4),  # names the family
        ({"fracture_type": "buckle"}, 3),  # of the family, but another type
        ({"fracture_type": "complete"}, 3),
        ({"fracture_type": None}, 3),
        ({"displacement": "moderate"}, 4),
        ({"displacement": "severe"}, 3),
        ({"displacement": "unspecified"}, 4),
        ({"displacement": None}, 3),
        ({"angulation_degrees": 30}, 4),
        ({"angulation_degrees": 31}, 3),
        ({"angulation_direction": "volar"}, 3),
        ({"angulation_degrees": None}, 4),  # the same direction, amount unsaid
        ({"angulation_degrees": None, "angulation_direction": "volar"}, 3),
        ({"angulation_degrees": None, "angulation_direction": None}, 3),
        ({"healing": "acute"}, 4),
        ({"healing": "healing"}, 3),
        ({"fracture_type": "complete", "displacement": None, "healing": "healed"}, 1),
    ],
)
def test_the_written_rule(change, expected):
    assert grade_of(GREENSTICK, GREENSTICK | change) == expected


def test_small_opposite_angles_add_up():
    dorsal = {"angulation_degrees": 8, "angulation_direction": "dorsal"}
    volar = {"angulation_degrees": 8, "angulation_direction": "volar"}
    assert grade_of(dorsal, volar) == 3
    assert grade_of(dorsal, {}) == 4
    assert grade_of(dorsal, {"angulation_degrees": 8}) == 4


def test_a_salter_harris_grade_matches_the_unnamed_grade_but_no_other():
    two, three = {"fracture_type": "salter_harris_2"}, {"fracture_type": "salter_harris_3"}
    unnamed = {"fracture_type": "salter_harris_unspecified"}
    assert [grade_of(two, other) for other in (two, unnamed, three)] == [4, 4, 3]


def test_nobody_is_relevant_for_a_sound_bone_or_without_findings():
    sound, broken = codes({"status": "no_fracture"}), codes({"status": "fracture"})
    assert grade(sound, broken)[0, 0] == grade(sound, sound)[0, 0] == 0
    assert grade(broken, codes({"status": "not_mentioned"}))[0, 0] == 0
    assert grade(broken, sound)[0, 0] == 0
    nothing = RegionCodes.of([None], REGION)
    assert grade(broken, nothing)[0, 0] == 0


def test_ndcg_equals_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, (6, 30))
    order = np.argsort(-rng.random((6, 30)), axis=1)
    ideal, _ = ideal_and_chance(grades, np.ones((6, 30), bool))
    ours = dcg(np.take_along_axis(grades, order, axis=1)) / ideal
    # scikit-learn takes the gains themselves, and scores to order by.
    scores = -np.argsort(order, axis=1)
    theirs = ndcg_score(2.0**grades - 1, scores, k=5)
    assert ours.mean() == pytest.approx(theirs)


def test_chance_is_the_mean_of_random_orders_of_the_allowed():
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, (1, 20))
    allowed = np.ones((1, 20), bool)
    allowed[0, :8] = False
    _, chance = ideal_and_chance(grades, allowed)
    orders = [dcg(rng.permutation(grades[0, 8:])) for _ in range(4000)]
    assert chance[0] == pytest.approx(np.mean(orders), rel=0.03)


def test_the_ideal_leaves_out_the_patients_own_exams():
    ideal, _ = ideal_and_chance(np.array([[4, 0, 1]]), np.array([[False, True, True]]))
    assert ideal[0] == pytest.approx(dcg(np.array([1])))
