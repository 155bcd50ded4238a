from types import SimpleNamespace

import numpy as np
import pytest

from wristmir_jax.benchmark.ranking import Ranking
from wristmir_jax.benchmark.region_retrieval import (
    GLOBAL_GRID,
    TWO_STAGE_GRID,
    Choice,
    Predictions,
    Setting,
    choose,
    f1_metrics,
    predict,
    vote,
)
from wristmir_jax.reports.findings import STATUSES

UNSAID, SOUND, UNCERTAIN, BROKEN = (
    STATUSES.index(name) for name in ("not_mentioned", "no_fracture", "uncertain", "fracture")
)


def ranking(exams: list[list[int]], scores: list[list[float]] | None = None) -> Ranking:
    return Ranking(
        np.array(exams), np.array(scores or np.zeros_like(exams, float), dtype=np.float32)
    )


def test_only_definite_exams_among_the_first_k_vote():
    status = np.array([BROKEN, SOUND, UNCERTAIN, UNSAID, BROKEN])
    found = ranking([[0, 2, 1, 3, 4], [2, 3, 2, 3, 0], [1, -1, -1, -1, -1]])
    assert vote(found, status, Setting(4, None)).tolist() == [0.5, 0.0, 0.0]
    assert vote(found, status, Setting(5, None)).tolist() == [pytest.approx(2 / 3), 1.0, 0.0]


def test_a_temperature_lets_near_exams_weigh_more():
    status = np.array([BROKEN, SOUND])
    found = ranking([[0, 1]], [[0.9, 0.8]])
    assert vote(found, status, Setting(2, 0.1))[0] == pytest.approx(1 / (1 + np.exp(-1)))
    missing = ranking([[0, -1]], [[0.9, -np.inf]])
    assert vote(missing, status, Setting(2, 0.01))[0] == 1


def test_both_methods_choose_from_as_many_settings():
    assert len(set(GLOBAL_GRID)) == len(set(TWO_STAGE_GRID)) == len(GLOBAL_GRID)


def exams(status: list[int], split: list[str], patients: list[int] | None = None):
    return SimpleNamespace(
        region_status=np.array(status)[:, None],
        split=np.array(split),
        patient_id=np.array([str(p) for p in patients or range(len(status))]),
    )


def test_settings_and_threshold_come_from_validation_and_nothing_else():
    # Training: 0 broken, 1 sound. Setting k=1 answers right on validation and wrong on test.
    these = exams(
        [BROKEN, SOUND, BROKEN, SOUND, UNCERTAIN, BROKEN, SOUND],
        ["train", "train", "validation", "validation", "validation", "test", "test"],
    )
    right = {2: 0, 3: 1, 5: 1, 6: 0}

    def rank(queries, region, setting):
        assert region == "bone"
        assert 4 not in queries  # uncertain bones do not ask
        return ranking([[right[q] if setting.k == 1 else 1 - right[q]] for q in queries])

    choice = choose(rank, these, ["bone"], [Setting(2, None), Setting(1, None)])
    assert choice is not None
    assert choice.setting.k == 1 and choice.validation_mean_f1 == 1
    assert choice.thresholds["bone"] == 0.5  # the middle of those that are equally good
    predicted = predict(rank, these, ["bone"], choice)["bone"]
    assert predicted.queries.tolist() == [5, 6]
    assert predicted.predicted.tolist() == [False, True]


def test_a_region_without_both_kinds_of_validation_queries_is_not_scored():
    these = exams([BROKEN, BROKEN, BROKEN, SOUND], ["train", "validation", "test", "test"])
    assert choose(lambda *_: ranking([[0]]), these, ["bone"], GLOBAL_GRID) is None
    metrics = f1_metrics({"global_only": {}, "two_stage": {}}, these, ["bone"])
    assert metrics["two_stage"]["mean_f1"] is None
    assert metrics["global_only"]["per_region"] == {"bone": None}
    unscored = predict(
        lambda *_: ranking([[0]]), these, ["bone"], Choice(Setting(1, None), {}, 0.0)
    )
    assert unscored == {}


def test_f1_and_the_paired_interval():
    count = 60
    labels = np.arange(count) % 2 == 0
    these = exams([BROKEN if label else SOUND for label in labels], ["test"] * count)
    queries = np.arange(count)
    half = labels & (queries % 4 == 0)
    metrics = f1_metrics(
        {
            "global_only": {"bone": Predictions(queries, labels, half)},
            "two_stage": {"bone": Predictions(queries, labels, labels)},
        },
        these,
        ["bone"],
    )
    assert metrics["two_stage"]["mean_f1"] == 1
    assert metrics["global_only"]["per_region"]["bone"] == pytest.approx(2 / 3)
    assert metrics["always_fractured"]["bone"] == pytest.approx(2 / 3)
    low, high = metrics["two_stage_minus_global"]["ci95"]
    assert 0 < low < 1 / 3 < high
