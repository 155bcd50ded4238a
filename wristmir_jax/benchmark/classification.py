"""AUROC, average precision and F1 of weighted units, many weightings at once.

Weights make the bootstrap one matrix product instead of a thousand calls; with weights of 1 the
values are those of scikit-learn.
"""

import numpy as np

from wristmir_jax.benchmark.bootstrap import Statistic, ratio


def auroc(labels: np.ndarray, scores: np.ndarray) -> Statistic:
    """Area under the ROC curve: P(score of a positive > of a negative), ties count half.

    Args:
        labels: bool (N,).
        scores: float (N,), higher means positive.
    """
    order, starts = _tie_groups(scores)
    positive = np.asarray(labels, bool)[order]

    def statistic(weights_BxN: np.ndarray) -> np.ndarray:
        sorted_weights = weights_BxN[:, order]
        # By distinct score, falling: weights of positives and of negatives.
        p = np.add.reduceat(sorted_weights * positive, starts, axis=1)
        n = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
        below = n.sum(1, keepdims=True) - np.cumsum(n, axis=1)
        return ratio((p * (below + 0.5 * n)).sum(1), p.sum(1) * n.sum(1))

    return statistic


def average_precision(labels: np.ndarray, scores: np.ndarray) -> Statistic:
    """Area under the precision-recall curve as sum of precision times step in recall.

    Args:
        labels: bool (N,).
        scores: float (N,), higher means positive.
    """
    order, starts = _tie_groups(scores)
    positive = np.asarray(labels, bool)[order]

    def statistic(weights_BxN: np.ndarray) -> np.ndarray:
        sorted_weights = weights_BxN[:, order]
        p = np.add.reduceat(sorted_weights * positive, starts, axis=1)
        every = np.add.reduceat(sorted_weights, starts, axis=1)
        precision = ratio(np.cumsum(p, axis=1), np.cumsum(every, axis=1))
        # Where nothing was drawn yet precision is undefined, and recall has not risen either.
        return ratio((np.nan_to_num(precision) * p).sum(1), p.sum(1))

    return statistic


def f1(labels: np.ndarray, predicted: np.ndarray) -> Statistic:
    """2 TP / (2 TP + FP + FN); undefined without a positive unit.

    Args:
        labels: bool (N,).
        predicted: bool (N,).
    """
    labels, predicted = np.asarray(labels, bool), np.asarray(predicted, bool)

    def statistic(weights_BxN: np.ndarray) -> np.ndarray:
        positive = weights_BxN @ labels
        value = ratio(2 * (weights_BxN @ (labels & predicted)), positive + weights_BxN @ predicted)
        return np.where(positive > 0, value, np.nan)

    return statistic


def value(statistic: Statistic, num_units: int) -> float | None:
    """The statistic of the units as they are; None where it is undefined."""
    if num_units == 0:
        return None
    result = float(statistic(np.ones((1, num_units)))[0])
    return result if np.isfinite(result) else None


def _tie_groups(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of falling scores, and where each distinct score starts in it."""
    scores = np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    return order, starts
