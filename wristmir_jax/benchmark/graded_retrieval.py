"""nDCG of both searches under the graded relevance of `relevance`.

A test exam whose bone is fractured asks, training exams of other patients answer. Two-stage search
runs as validation set it for F1: nothing is chosen for nDCG, and global search has no setting.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wristmir_jax.benchmark import bootstrap, relevance
from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.benchmark.ranking import TrainGallery
from wristmir_jax.benchmark.region_retrieval import Setting

NDCG = f"ndcg@{relevance.DEPTH}"
METHODS = ("global_only", "two_stage", "chance")

# Queries graded at once: a grade of every pair of query and training exam is held.
_CHUNK = 128


def graded_relevance(
    exams: Exams,
    gallery: TrainGallery,
    regions: Sequence[str],
    setting: Setting | None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> tuple[dict[str, Any], str]:
    """nDCG@5, the mean over queries of each region and then over regions.

    Args:
        setting: of the second stage; None where none could be chosen.

    Returns:
        for global_only, two_stage and chance (the expected value of a random order) ndcg@5 and
        per_region; two_stage_minus_global with its paired patient-level interval; queries per
        region. Null where undefined, and then the reason, else "".
    """
    values = {region: _per_query(exams, gallery, region, setting) for region in regions if setting}
    scored = [region for region, of_region in values.items() if len(of_region["patients"])]
    metrics: dict[str, Any] = {}
    for method in METHODS:
        means = {region: float(values[region][method].mean()) for region in scored}
        metrics[method] = {
            NDCG: float(np.mean(list(means.values()))) if scored else None,
            "per_region": {region: means.get(region) for region in regions} or None,
        }
    metrics["two_stage_minus_global"] = {NDCG: None, "ci95": None}
    if scored:
        start, statistics = 0, []
        for region in scored:
            gain = values[region]["two_stage"] - values[region]["global_only"]
            statistics.append(bootstrap.at(bootstrap.mean(gain), slice(start, start + len(gain))))
            start += len(gain)
        metrics["two_stage_minus_global"] = {
            NDCG: metrics["two_stage"][NDCG] - metrics["global_only"][NDCG],
            "ci95": bootstrap.interval(
                bootstrap.average(statistics),
                np.concatenate([values[region]["patients"] for region in scored]),
                resamples,
                seed,
            ),
        }
    metrics["queries"] = {
        region: len(values[region]["patients"]) if region in scored else 0 for region in regions
    } or None
    if scored:
        return metrics, ""
    if not regions:
        return metrics, "the data set has no regions"
    if setting is None:
        return metrics, "validation could not set the two-stage search"
    return metrics, "no test exam has findings with a fractured region that training has too"


def _per_query(
    exams: Exams, gallery: TrainGallery, region: str, setting: Setting
) -> dict[str, np.ndarray]:
    """nDCG of each answerable query by each of METHODS, and its patient under `patients`."""
    codes = relevance.RegionCodes.of(exams.findings, region)
    queries = np.flatnonzero((exams.split == "test") & codes.fractured)
    rankings = {
        "global_only": gallery.rank(queries, None),
        "two_stage": gallery.rank(queries, region, setting.region_weight, setting.num_candidates),
    }
    dcgs: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] for name in (*METHODS, "ideal")}
    for start in range(0, len(queries), _CHUNK):
        rows = queries[start : start + _CHUNK]
        grades = relevance.grade(codes.take(rows), codes.take(gallery.exams))
        allowed = exams.patient_id[rows][:, None] != exams.patient_id[gallery.exams][None, :]
        ideal, chance = relevance.ideal_and_chance(grades, allowed)
        dcgs["ideal"].append(ideal)
        dcgs["chance"].append(chance)
        # Position -1 (the gallery is smaller than the ranking) reads the extra last column, a 0.
        of_exam = np.zeros((len(rows), len(exams) + 1), np.int8)
        of_exam[:, gallery.exams] = grades
        for name, ranking in rankings.items():
            exams_ranked = ranking.exams[start : start + _CHUNK]
            dcgs[name].append(relevance.dcg(np.take_along_axis(of_exam, exams_ranked, axis=1)))
    ideal = np.concatenate(dcgs["ideal"])
    answerable = ideal > 0
    per_query = {
        name: np.concatenate(dcgs[name])[answerable] / ideal[answerable] for name in METHODS
    }
    return per_query | {"patients": exams.patient_id[queries][answerable]}
