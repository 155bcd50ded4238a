"""Intervals by resampling patients: films of one patient are never taken for independent ones."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

RESAMPLES = 1000
SEED = 0

# A statistic of weighted units: float (B, N) weights -> (B,) values, NaN where it is undefined.
Statistic = Callable[[np.ndarray], np.ndarray]

# Resamples are drawn in chunks of about this many weights, so that memory stays flat.
_CHUNK_WEIGHTS = 1 << 22
# With fewer defined resamples than this share, an interval would say little.
_MIN_DEFINED = 0.9


def interval(
    statistic: Statistic,
    patients: Sequence[Any] | np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[float] | None:
    """The 95 % percentile interval of a statistic over patients drawn with replacement.

    A cluster bootstrap: a drawn patient brings all of their units. The same seed and patients give
    the same draws, so a difference of two methods is a paired one when `statistic` returns it.

    Args:
        statistic: of N units (films, exams, queries), given their weights in every resample.
        patients: N patients, one a unit.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        [low, high], or None where there is one patient only or the statistic is undefined in more
        than a tenth of the draws.
    """
    values = np.concatenate(
        [np.zeros(0), *(statistic(w) for w in weights(patients, resamples, seed))]
    )
    values = values[np.isfinite(values)]
    if len(np.unique(np.asarray(patients))) < 2 or len(values) < _MIN_DEFINED * resamples:
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return [float(low), float(high)]


def weights(
    patients: Sequence[Any] | np.ndarray, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[np.ndarray]:
    """Chunks of float64 (b, N): how often each unit occurs in each of the resamples."""
    _, patient_N = np.unique(np.asarray(patients), return_inverse=True)
    if not len(patient_N):
        return
    num_patients = int(patient_N.max()) + 1
    chunk = max(1, min(resamples, _CHUNK_WEIGHTS // len(patient_N)))
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.integers(num_patients, size=(size, num_patients))
        drawn += np.arange(size)[:, None] * num_patients
        counts = np.bincount(drawn.ravel(), minlength=size * num_patients)
        yield counts.reshape(size, num_patients)[:, patient_N].astype(np.float64)


def mean(values: np.ndarray) -> Statistic:
    """The mean of N values."""
    values = np.asarray(values, np.float64)

    def statistic(weights_BxN: np.ndarray) -> np.ndarray:
        return ratio(weights_BxN @ values, weights_BxN.sum(1))

    return statistic


def at(statistic: Statistic, units: np.ndarray | slice) -> Statistic:
    """`statistic`, which is of some units only, as one of all of them.

    Args:
        units: positions of its units (an int array or a slice) among all.
    """
    return lambda weights_BxN: statistic(weights_BxN[:, units])


def difference(first: Statistic, second: Statistic) -> Statistic:
    """first - second in the same resample: a paired difference."""
    return lambda weights_BxN: first(weights_BxN) - second(weights_BxN)


def average(statistics: Sequence[Statistic]) -> Statistic:
    """Mean of several statistics, over those that are defined in the resample.

    A draw without a single fractured styloid still has a mean over the other bones.
    """

    def statistic(weights_BxN: np.ndarray) -> np.ndarray:
        values = np.stack([inner(weights_BxN) for inner in statistics])
        defined = np.isfinite(values)
        return ratio(np.where(defined, values, 0).sum(0), defined.sum(0))

    return statistic


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, NaN where the denominator is 0."""
    denominator = np.asarray(denominator, np.float64)
    return np.divide(
        numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator != 0
    )
