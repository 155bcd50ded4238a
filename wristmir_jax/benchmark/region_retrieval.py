"""Does the search find exams whose bone is alike? Global similarity alone against two stages.

A test exam asks, training exams answer (those of its own patient never do), and the bone in
question of the query is called fractured when enough of the answers are. Exams whose bone is
uncertain or not mentioned neither ask nor vote. F1 per region and its mean, as in WristMIR.

Every choice is made on validation queries for mean F1. So that neither method wins by trying more,
both choose from as many settings (`GLOBAL_GRID`, `TWO_STAGE_GRID`): global search spends them on
depth and weighting of the vote, two-stage search also on its own two settings. Each then takes,
for each region, the best of the same thresholds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from wristmir_jax.benchmark import bootstrap, classification
from wristmir_jax.benchmark.bootstrap import Statistic
from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.benchmark.ranking import Ranking, TrainGallery
from wristmir_jax.reports.findings import STATUSES

_FRACTURE, _NO_FRACTURE = STATUSES.index("fracture"), STATUSES.index("no_fracture")

THRESHOLDS = tuple(np.round(np.arange(0.05, 1.0, 0.05), 2).tolist())


@dataclass(frozen=True)
class Setting:
    """One way to search and to vote.

    Attributes:
        k: exams that vote.
        temperature: a vote weighs exp(score / temperature); None for one exam, one vote.
        region_weight, num_candidates: of the second stage; None without one.
    """

    k: int
    temperature: float | None
    region_weight: float | None = None
    num_candidates: int | None = None


GLOBAL_GRID = tuple(
    Setting(k, temperature)
    for k, temperature in product(
        (1, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 75), (None, 0.1, 0.03, 0.01)
    )
)
TWO_STAGE_GRID = tuple(
    Setting(k, temperature, region_weight, num_candidates)
    for k, temperature, region_weight, num_candidates in product(
        (5, 10, 20, 40), (None, 0.03), (0.5, 0.75, 1.0), (100, 400)
    )
)
assert len(GLOBAL_GRID) == len(TWO_STAGE_GRID)

# Ranks query exams (positions in Exams) for a region under a setting.
Rank = Callable[[np.ndarray, str, Setting], Ranking]


@dataclass(frozen=True)
class Choice:
    """What validation chose for one method.

    Attributes:
        setting: of the search and vote.
        thresholds: region -> share of the vote from which a bone is called fractured; regions
            without a fractured and a sound validation query have none.
        validation_mean_f1: what it reached there.
    """

    setting: Setting
    thresholds: dict[str, float]
    validation_mean_f1: float


@dataclass(frozen=True)
class Predictions:
    """One method on the test queries of one region.

    Attributes:
        queries: int (Q,), positions in Exams.
        labels, predicted: bool (Q,), fractured.
    """

    queries: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray


def region_f1(
    exams: Exams,
    gallery: TrainGallery,
    regions: Sequence[str],
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> tuple[dict[str, Any], Setting | None, list[str]]:
    """Choose both methods' settings on validation and score them on test.

    Returns:
        what `f1_metrics` returns and `choices`; the two-stage setting, None where validation could
        choose none; reasons for what is null.
    """

    def rank(queries: np.ndarray, region: str, setting: Setting) -> Ranking:
        if setting.num_candidates is None:
            return gallery.rank(queries, None)
        return gallery.rank(queries, region, setting.region_weight, setting.num_candidates)

    choices = {
        "global_only": choose(rank, exams, regions, GLOBAL_GRID),
        "two_stage": choose(rank, exams, regions, TWO_STAGE_GRID),
    }
    predictions = {
        name: predict(rank, exams, regions, choice) if choice else {}
        for name, choice in choices.items()
    }
    metrics = f1_metrics(predictions, exams, regions, resamples, seed)
    metrics["choices"] = {
        name: choice
        and {
            **vars(choice.setting),
            "thresholds": choice.thresholds,
            "validation_mean_f1": choice.validation_mean_f1,
        }
        for name, choice in choices.items()
    }
    reasons = [
        f"{region} is not scored: validation lacks fractured or sound exams, or test fractured ones"
        for region in regions
        if metrics["queries"] and metrics["queries"][region] is None
    ]
    if not regions:
        reasons.append("the data set has no regions")
    two_stage = choices["two_stage"]
    return metrics, two_stage and two_stage.setting, reasons


def definite(exams: Exams, region: int, split: str) -> np.ndarray:
    """Positions of the exams of a split whose region is fractured or not fractured."""
    status = exams.region_status[:, region]
    known = (status == _FRACTURE) | (status == _NO_FRACTURE)
    return np.flatnonzero(known & (exams.split == split))


def vote(ranking: Ranking, status_E: np.ndarray, setting: Setting) -> np.ndarray:
    """Share of fractured exams among the first k, uncertain and not mentioned left out.

    Args:
        ranking: of Q queries.
        status_E: int (E,), of every exam in the region.
        setting: k and weighting.

    Returns:
        float64 (Q,); 0 where no exam among the k votes, for nothing speaks for a fracture.
    """
    exams, scores = ranking.exams[:, : setting.k], ranking.scores[:, : setting.k]
    status = np.where(exams >= 0, status_E[exams], -1)
    votes = (status == _FRACTURE) | (status == _NO_FRACTURE)
    if setting.temperature is None:
        weight = votes.astype(np.float64)
    else:
        best = np.where(votes, scores, -np.inf).max(1, initial=-np.inf, keepdims=True)
        distance = np.where(votes, scores - np.where(np.isfinite(best), best, 0), -np.inf)
        weight = np.exp(distance / setting.temperature)
    share = bootstrap.ratio((weight * (status == _FRACTURE)).sum(1), weight.sum(1))
    return np.nan_to_num(share)


def choose(
    rank: Rank, exams: Exams, regions: Sequence[str], grid: Sequence[Setting]
) -> Choice | None:
    """The setting and thresholds with the best mean F1 over validation queries.

    Of equal settings the first of the grid is taken, of equal thresholds the middle one.

    Returns:
        None where no region has both a fractured and a sound validation query.
    """
    queries = {region: definite(exams, r, "validation") for r, region in enumerate(regions)}
    labels = {
        region: exams.region_status[queries[region], r] == _FRACTURE
        for r, region in enumerate(regions)
    }
    scored = [region for region in regions if 0 < labels[region].sum() < len(labels[region])]
    if not scored:
        return None
    best: Choice | None = None
    for setting in grid:
        thresholds, values = {}, []
        for region in scored:
            ranking = rank(queries[region], region, setting)
            shares = vote(ranking, exams.region_status[:, regions.index(region)], setting)
            thresholds[region], value = _best_threshold(labels[region], shares)
            values.append(value)
        if best is None or np.mean(values) > best.validation_mean_f1:
            best = Choice(setting, thresholds, float(np.mean(values)))
    return best


def predict(
    rank: Rank, exams: Exams, regions: Sequence[str], choice: Choice
) -> dict[str, Predictions]:
    """A method on the test queries of every region with a threshold and a fractured query."""
    predictions = {}
    for r, region in enumerate(regions):
        queries = definite(exams, r, "test")
        labels = exams.region_status[queries, r] == _FRACTURE
        if region not in choice.thresholds or not labels.any():
            continue
        shares = vote(
            rank(queries, region, choice.setting), exams.region_status[:, r], choice.setting
        )
        predictions[region] = Predictions(queries, labels, shares >= choice.thresholds[region])
    return predictions


def f1_metrics(
    methods: dict[str, dict[str, Predictions]],
    exams: Exams,
    regions: Sequence[str],
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> dict[str, Any]:
    """F1 of each method with patient-level intervals, and the paired difference.

    Args:
        methods: "global_only" and "two_stage" -> region -> predictions on the same queries.

    Returns:
        for each method mean_f1, mean_f1_ci95, per_region, per_region_ci95 (null where a region is
        not scored), and two_stage_minus_global: mean_f1, ci95, per_region_ci95; queries and
        prevalence per region, and always_fractured: the F1 of calling every bone fractured.
    """
    global_only, two_stage = methods["global_only"], methods["two_stage"]
    scored = [region for region in regions if region in global_only and region in two_stage]
    # One unit is an exam; it counts in a region only where it is a query of that region.
    units = np.unique(
        np.concatenate([np.zeros(0, int), *(global_only[region].queries for region in scored)])
    )
    patients = exams.patient_id[units]

    def statistic(predictions: dict[str, Predictions], region: str) -> Statistic:
        chosen = predictions[region]
        f1 = classification.f1(chosen.labels, chosen.predicted)
        return bootstrap.at(f1, np.searchsorted(units, chosen.queries))

    def mean(predictions: dict[str, Predictions]) -> Statistic:
        return bootstrap.average([statistic(predictions, region) for region in scored])

    def ci(inner: Statistic) -> list[float] | None:
        return bootstrap.interval(inner, patients, resamples, seed)

    def per_region(function: Callable[[str], Any]) -> dict[str, Any] | None:
        if not regions:
            return None
        return {region: function(region) if region in scored else None for region in regions}

    metrics: dict[str, Any] = {}
    for name, predictions in (("global_only", global_only), ("two_stage", two_stage)):
        statistics = {region: statistic(predictions, region) for region in scored}
        values = {
            region: classification.value(inner, len(units)) for region, inner in statistics.items()
        }
        known = [value for value in values.values() if value is not None]
        metrics[name] = {
            "mean_f1": float(np.mean(known)) if known else None,
            "mean_f1_ci95": ci(mean(predictions)) if scored else None,
            "per_region": per_region(values.__getitem__),
            "per_region_ci95": per_region(lambda region, s=statistics: ci(s[region])),
        }
    metrics["two_stage_minus_global"] = {
        "mean_f1": metrics["two_stage"]["mean_f1"] - metrics["global_only"]["mean_f1"]
        if scored
        else None,
        "ci95": ci(bootstrap.difference(mean(two_stage), mean(global_only))) if scored else None,
        "per_region_ci95": per_region(
            lambda region: ci(
                bootstrap.difference(statistic(two_stage, region), statistic(global_only, region))
            )
        ),
    }
    metrics["queries"] = per_region(lambda region: len(global_only[region].queries))
    metrics["prevalence"] = per_region(lambda region: float(global_only[region].labels.mean()))
    metrics["always_fractured"] = per_region(
        lambda region: _f1(
            global_only[region].labels, np.ones(len(global_only[region].labels), bool)
        )
    )
    return metrics


def _best_threshold(labels: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    values = np.array([_f1(labels, shares >= threshold) for threshold in THRESHOLDS])
    best = np.flatnonzero(values == values.max())
    return THRESHOLDS[best[(len(best) - 1) // 2]], float(values.max())


def _f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return classification.value(classification.f1(labels, predicted), len(labels)) or 0.0
