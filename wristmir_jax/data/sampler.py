"""In which order records are drawn: a seeded global shuffle with balanced region status."""

from functools import lru_cache

import numpy as np


def status_weights(status_NxR: np.ndarray, present_NxR: np.ndarray, balance: float) -> np.ndarray:
    """How often to draw each record relative to the others.

    A record's weight is the mean over its present regions of (1 / share of its status)**balance,
    so that rare statuses are seen more often. Records without a region get the mean weight.

    Args:
        status_NxR: codes into reports.findings.STATUSES; R may be 0.
        present_NxR: bool, the region has a crop.
        balance: 0 draws evenly, 1 draws each status of a region equally often.

    Returns:
        float64 (N,), summing to N.
    """
    num_records, num_regions = status_NxR.shape
    total_N, count_N = np.zeros(num_records), np.zeros(num_records)
    for region in range(num_regions):
        present_N = present_NxR[:, region].astype(bool)
        counts = np.bincount(status_NxR[present_N, region], minlength=1).astype(float)
        share = counts / max(counts.sum(), 1)
        with np.errstate(divide="ignore"):
            rarity = np.where(share > 0, share**-balance, 0.0)
        total_N += np.where(present_N, rarity[status_NxR[:, region] % len(rarity)], 0.0)
        count_N += present_N
    weight_N = np.divide(total_N, count_N, out=np.zeros(num_records), where=count_N > 0)
    seen_N = count_N > 0
    weight_N[~seen_N] = weight_N[seen_N].mean() if seen_N.any() else 1.0
    return weight_N * (num_records / weight_N.sum())


class RecordOrder:
    """The order of a whole run: position -> record, the same for any number of processes.

    Each epoch draws as many records as there are, by systematic sampling of their weights (a record
    of weight w is drawn floor(w) or ceil(w) times), in an order of its own. With equal weights an
    epoch is a permutation. It holds no state, so a run resumes at any position.

    Args:
        weight_N: float64 (N,), summing to N.
        length: positions in the run.
        seed: of the run.
    """

    def __init__(self, weight_N: np.ndarray, length: int, seed: int):
        self._cumulative = np.cumsum(weight_N / weight_N.sum())
        self._length = length
        self._seed = seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[int, int]:
        """(position, record) of a position."""
        num_records = len(self._cumulative)
        epoch, place = divmod(int(index), num_records)
        return int(index), int(self._epoch(epoch)[place])

    def _epoch(self, epoch: int) -> np.ndarray:
        return _epoch_order(self._cumulative.tobytes(), self._seed, epoch)


# Two, since batches of neighbouring epochs are interleaved by the workers.
@lru_cache(maxsize=2)
def _epoch_order(cumulative: bytes, seed: int, epoch: int) -> np.ndarray:
    share_N = np.frombuffer(cumulative)
    generator = np.random.default_rng((seed, epoch))
    points_N = (np.arange(len(share_N)) + generator.random()) / len(share_N)
    drawn_N = np.minimum(np.searchsorted(share_N, points_N, side="right"), len(share_N) - 1)
    return generator.permutation(drawn_N)
