"""Scores of mined findings against a gold set."""

from collections.abc import Mapping, Sequence

import numpy as np

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.benchmark.bootstrap import interval
from wristmir_jax.reports.agreement import FIELDS, Counts, compare, matched
from wristmir_jax.reports.findings import STATUSES, Findings


def score(
    expected: Mapping[str, Sequence[Findings]],
    mined: Mapping[str, Sequence[Findings]],
    *,
    resamples: int = 1000,
) -> dict[str, dict[str, object]]:
    """Scores with their 95 % bootstrap intervals over exams.

    Args:
        expected: findings by exam.
        mined: likewise; exams that are missing count as wrong.
        resamples: of the bootstrap; 0 leaves intervals out.

    Returns:
        {name: {"value": float, "interval": [low, high] or None}}; for fields also "precision",
        "recall" and "stated", how many values are expected.
    """
    exams: list[str] = []
    counts: list[Counts] = []
    for exam, findings in expected.items():
        for theirs, ours in matched(findings, mined.get(exam, ())):
            exams.append(exam)
            counts.append(compare(theirs, ours))
    status = np.array([count.status for count in counts])
    sides = np.array([count.side for count in counts], float)

    def entry(statistic: object, array: np.ndarray, **more: object) -> dict[str, object]:
        def weighted(weights: np.ndarray) -> np.ndarray:
            return statistic(np.tensordot(weights, array, 1))  # pyright: ignore[reportCallIssue]

        value = float(weighted(np.ones((1, len(array))))[0])
        given = interval(weighted, exams, resamples) if resamples else None
        return {"value": value, "interval": given, **more}

    def accuracy(sums: np.ndarray) -> np.ndarray:
        return sums[:, 0] / np.maximum(sums[:, 1], 1e-9)

    found = {"status macro F1": entry(_macro, status.sum(axis=1))}
    for row, region in enumerate(REGION_NAMES):
        found[f"fracture F1 {region}"] = entry(_fracture, status[:, row])
    for name in FIELDS:
        array = np.array([count.fields[name] for count in counts])
        hit, extra, missed = array.sum(axis=0)
        found[name] = entry(
            _f1,
            array,
            precision=float(hit / max(hit + extra, 1)),
            recall=float(hit / max(hit + missed, 1)),
            stated=int(hit + missed),
        )
    pairs = np.stack([sides, np.ones(len(sides))], axis=-1)
    return found | {"laterality accuracy": entry(accuracy, pairs)}


def _macro(confusion_Bx4x4: np.ndarray) -> np.ndarray:
    hit = np.diagonal(confusion_Bx4x4, axis1=1, axis2=2)
    total = confusion_Bx4x4.sum(axis=1) + confusion_Bx4x4.sum(axis=2)
    occurs = confusion_Bx4x4.sum(axis=2) > 0
    f1 = 2 * hit / np.maximum(total, 1e-9)
    return (f1 * occurs).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)


def _fracture(confusion_Bx4x4: np.ndarray) -> np.ndarray:
    index = STATUSES.index("fracture")
    hit = confusion_Bx4x4[:, index, index]
    total = confusion_Bx4x4[:, index].sum(axis=1) + confusion_Bx4x4[:, :, index].sum(axis=1)
    return np.where(total > 0, 2 * hit / np.maximum(total, 1e-9), np.nan)


def _f1(sums_Bx3: np.ndarray) -> np.ndarray:
    total = 2 * sums_Bx3[:, 0] + sums_Bx3[:, 1] + sums_Bx3[:, 2]
    return np.where(total > 0, 2 * sums_Bx3[:, 0] / np.maximum(total, 1e-9), np.nan)
