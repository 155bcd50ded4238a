"""Hard negatives: the order of a run in which part of each batch looks like the rest of it."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
from etils import epath

from wristmir_jax.data.sampler import RecordOrder
from wristmir_jax.errors import UserError
from wristmir_jax.tables import read_parquet

NEIGHBOURS_FILE = "neighbours.parquet"
# A row per image of an export. Its neighbours are rows of this table, nearest first, with their
# inner products.
NEIGHBOURS_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("neighbours", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
    ]
)


class HardNegativeOrder(RecordOrder):
    """As `RecordOrder`, but the last records of each batch are neighbours of its first ones.

    The first records (anchors) of all batches follow each other as `RecordOrder` draws them, epoch
    by epoch. Then each anchor in turn gives one of its neighbours that is not in the batch yet, and
    another one in the next round, until the batch is full. Where the neighbours are used up, other
    records follow that the batch does not hold yet, and only where there are none it holds a record
    twice. It holds no state, so a run resumes at any position.

    The negatives' positions follow each other, so that every process, to which positions are dealt
    in turn, gets its share of them, whatever the number of processes.

    Args:
        weight_N: float64 (N,), summing to N.
        length: positions in the run.
        seed: of the run.
        batch_size: records a global batch.
        num_negatives: of them, at least 0 and below `batch_size`.
        neighbours_NxK: int32, records nearest to each record; -1 behind the last one.
    """

    def __init__(
        self,
        weight_N: np.ndarray,
        length: int,
        seed: int,
        *,
        batch_size: int,
        num_negatives: int,
        neighbours_NxK: np.ndarray,
    ):
        super().__init__(weight_N, length, seed)
        self._batch_size = batch_size
        self._num_negatives = num_negatives
        self._neighbours_NxK = neighbours_NxK
        self._count_N = (neighbours_NxK >= 0).sum(axis=1)

    def __getitem__(self, index: int) -> tuple[int, int]:
        """(position, record) of a position."""
        batch, place = divmod(int(index), self._batch_size)
        return int(index), int(_batch_records(self, batch)[place])

    def draw(self, batch: int) -> np.ndarray:
        """int64 (batch_size,): the records of a batch, negatives last."""
        num_records = len(self._count_N)
        num_anchors = self._batch_size - self._num_negatives
        epoch_A, place_A = np.divmod(batch * num_anchors + np.arange(num_anchors), num_records)
        anchor_A = np.empty(num_anchors, np.int64)
        for epoch in np.unique(epoch_A):
            here_A = epoch_A == epoch
            anchor_A[here_A] = self._epoch(int(epoch))[place_A[here_A]]
        # The third word keeps it apart from the draw of the epoch of that number.
        generator = np.random.default_rng((self._seed, batch, 1))
        return np.concatenate([anchor_A, self._negatives(anchor_A, generator)])

    def _negatives(self, anchor_A: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        free_N = np.ones(len(self._count_N), bool)
        free_N[anchor_A] = False
        anchor_A = anchor_A[self._count_N[anchor_A] > 0]
        count_A = self._count_N[anchor_A]
        first_A = generator.integers(0, count_A)
        found, missing = [], self._num_negatives
        for further in range(count_A.max(initial=0)):
            if not missing:
                break
            given_A = self._neighbours_NxK[anchor_A, (first_A + further) % count_A]
            found.append(_each_once(given_A[free_N[given_A]])[:missing])
            free_N[found[-1]] = False
            missing -= len(found[-1])
        if missing:
            others = np.flatnonzero(free_N)
            found.append(generator.permutation(others)[:missing])
            missing -= len(found[-1])
        found.append(generator.integers(0, len(free_N), missing))
        return np.concatenate(found)


# The workers' threads each read a batch of their own.
@lru_cache(maxsize=4)
def _batch_records(order: HardNegativeOrder, batch: int) -> np.ndarray:
    return order.draw(batch)


def _each_once(values: np.ndarray) -> np.ndarray:
    """Distinct values, in the order in which they come first."""
    return values[np.sort(np.unique(values, return_index=True)[1])]


def read_neighbours(folder: epath.PathLike, image_ids: pa.ChunkedArray) -> np.ndarray:
    """The neighbours of records among these records, from an export of any splits.

    Args:
        folder: what `embed --neighbours=K` wrote.
        image_ids: of N records, each once.

    Returns:
        int32 (N, K): records nearest to each record, nearest first; -1 behind the last one, and
        for a record that was not exported.

    Raises:
        UserError: the folder has no neighbours, or none of these records; or they are damaged.
    """
    path = epath.Path(folder) / NEIGHBOURS_FILE
    key = f"config.loader.hard_negatives_from={folder}"
    try:
        table = read_parquet(path).select(NEIGHBOURS_SCHEMA.names).cast(NEIGHBOURS_SCHEMA)
    except FileNotFoundError:
        raise UserError(missing_neighbours(folder)) from None
    except (OSError, KeyError, ValueError, pa.ArrowException):
        raise UserError(f"{path} is damaged: run embed with --neighbours again") from None
    neighbours_M = table["neighbours"].combine_chunks()
    count_M, flat = neighbours_M.value_lengths().to_numpy(), neighbours_M.flatten().to_numpy()
    if ((flat < 0) | (flat >= len(table))).any():
        raise UserError(f"{path} is damaged: run embed with --neighbours again")
    record_M = _positions(table["image_id"], image_ids)
    if (record_M < 0).all():
        raise UserError(
            f"{key}: none of its images is a record of config.dataset and config.split: embed that "
            "data set with --neighbours"
        )
    owner = np.repeat(record_M, count_M)
    known = (owner >= 0) & (record_M[flat] >= 0)
    if not known.any():
        raise UserError(
            f"{key}: no record of config.dataset and config.split has a neighbour among them: "
            "embed more of that data set, or with more --neighbours"
        )
    return _padded(owner[known], record_M[flat[known]], len(image_ids))


def missing_neighbours(folder: epath.PathLike) -> str:
    """What to tell where a folder holds no neighbours."""
    return (
        f"config.loader.hard_negatives_from={folder}: holds no {NEIGHBOURS_FILE}: give a folder "
        "that `embed --neighbours=32` wrote"
    )


def _positions(values: pa.ChunkedArray, among: pa.ChunkedArray) -> np.ndarray:
    """int64: where each value stands `among` others, -1 where it does not."""
    position = {value: number for number, value in enumerate(among.to_pylist())}
    return np.array([position.get(value, -1) for value in values.to_pylist()], np.int64)


def _padded(owner_P: np.ndarray, neighbour_P: np.ndarray, num_records: int) -> np.ndarray:
    """Pairs of a record and its neighbour as rows of neighbours, in the order of the pairs."""
    order_P = np.argsort(owner_P, kind="stable")
    owner_P, neighbour_P = owner_P[order_P], neighbour_P[order_P]
    count_N = np.bincount(owner_P, minlength=num_records)
    place_P = np.arange(len(owner_P)) - (np.cumsum(count_N) - count_N)[owner_P]
    neighbours_NxK = np.full((num_records, count_N.max()), -1, np.int32)
    neighbours_NxK[owner_P, place_P] = neighbour_P
    return neighbours_NxK
