"""Stage one: the rows (images) whose global vectors are nearest to a query's."""

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from wristmir_jax.errors import UserError
from wristmir_jax.retrieval.padding import bucket, pad_rows


class CoarseSearcher(Protocol):
    """Finds rows by inner product of unit vectors.

    Attributes:
        kind: its name in the flag --coarse and in index.json.
    """

    kind: ClassVar[str]

    def search(self, queries_BxD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k rows nearest to each query, best first.

        Args:
            queries_BxD: float32.
            k: at most the number of rows; k = the number of rows finds every row.

        Returns:
            int32 (B, k) rows, -1 where the searcher found no more; float32 (B, k) inner products,
            -inf there.
        """
        ...

    def save(self, folder: epath.Path) -> None:
        """Write what `load` needs beyond the vectors themselves into `folder`."""
        ...


class ExactSearcher:
    """Every row is scored, on the device: recall 1.

    Equal scores keep the order of rows.

    Args:
        vectors_NxD: float32, on the device or not.
    """

    kind: ClassVar[str] = "exact"

    def __init__(self, vectors_NxD: jax.Array | np.ndarray):
        self._vectors = jnp.asarray(vectors_NxD)

    def search(self, queries_BxD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        num_rows = len(self._vectors)
        found = []
        for start in range(0, len(queries_BxD), _MAX_BATCH):
            batch = np.asarray(queries_BxD[start : start + _MAX_BATCH], np.float32)
            padded = pad_rows(batch, bucket(len(batch)))
            rows, scores = _exact_top_k(
                self._vectors,
                padded,
                k=min(bucket(k), num_rows),
                block=min(max(_BLOCK_SCORES // len(padded), 1), num_rows),
            )
            found.append([np.asarray(part)[: len(batch), :k] for part in (rows, scores)])
        return _joined(found, k)

    def save(self, folder: epath.Path) -> None:
        del folder  # The vectors are all there is.


class ScannSearcher:
    """ScaNN: a tree of partitions, quantised scores in the nearest ones, exact reordering.

    Small galleries are scored by brute force. Rows are positions; no ids are stored, because ScaNN
    would pickle them.
    """

    kind: ClassVar[str] = "scann"

    def __init__(self, searcher: Any, num_rows: int):
        self._searcher = searcher
        self._num_rows = num_rows
        self._num_leaves = _num_leaves(num_rows)

    @classmethod
    def build(cls, vectors_NxD: np.ndarray) -> "ScannSearcher":
        """Train and fill a searcher.

        Raises:
            UserError: ScaNN is not installed.
        """
        vectors = np.ascontiguousarray(vectors_NxD, np.float32)
        builder = _scann().builder(vectors, _DEFAULT_NEIGHBOURS, "dot_product")
        num_leaves = _num_leaves(len(vectors))
        if num_leaves:
            builder = builder.tree(
                num_leaves=num_leaves,
                num_leaves_to_search=max(1, num_leaves // 10),
                training_sample_size=min(len(vectors), _TRAINING_ROWS),
            )
            # Two dimensions a code word and this threshold are ScaNN's recommended settings.
            builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
            builder = builder.reorder(_MIN_REORDERED)
        else:
            builder = builder.score_brute_force()
        return cls(builder.build(), len(vectors))

    @classmethod
    def load(cls, folder: epath.Path, num_rows: int) -> "ScannSearcher":
        """Open what `save` wrote; `folder` may have moved since.

        Raises:
            UserError: ScaNN is not installed or cannot open the folder, or the folder holds a
                pickle, which ScaNN would run.
        """
        with tempfile.TemporaryDirectory() as scratch:
            local = Path(folder)
            if "://" in str(folder):
                local = Path(scratch)
                for path in folder.iterdir():
                    (local / path.name).write_bytes(path.read_bytes())
            for path in local.glob("*.pkl"):
                raise UserError(f"{folder / path.name}: a pickle is not opened; build the index")
            try:
                searcher = _scann().load_searcher(str(local), assets_backcompat_shim=False)
            except (OSError, RuntimeError, ValueError) as error:
                raise UserError(f"{folder}: ScaNN cannot open it; build the index again") from error
        return cls(searcher, num_rows)

    def search(self, queries_BxD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        queries = np.ascontiguousarray(queries_BxD, np.float32)
        options: dict[str, int] = {"final_num_neighbors": k}
        if self._num_leaves:
            # Deep lists need more partitions; the whole gallery needs all of them.
            share = max(0.1, min(1.0, _ROWS_PER_NEIGHBOUR * k / self._num_rows))
            options["leaves_to_search"] = int(np.ceil(share * self._num_leaves))
            options["pre_reorder_num_neighbors"] = min(
                self._num_rows, max(_MIN_REORDERED, _REORDERED_PER_NEIGHBOUR * k)
            )
        if len(queries) == 1:
            rows, scores = self._searcher.search_batched(queries, **options)
        else:
            rows, scores = self._searcher.search_batched_parallel(
                queries, batch_size=_SCANN_BATCH, **options
            )
        found = np.isfinite(scores)
        return (
            np.where(found, rows.astype(np.int32), -1),
            np.where(found, scores, -np.inf).astype(np.float32),
        )

    def save(self, folder: epath.Path) -> None:
        # ScaNN writes to local folders only.
        with tempfile.TemporaryDirectory() as scratch:
            self._searcher.serialize(scratch, relative_path=True)
            folder.mkdir(parents=True, exist_ok=True)
            for path in Path(scratch).iterdir():
                with path.open("rb") as source, (folder / path.name).open("wb") as target:
                    shutil.copyfileobj(source, target)


COARSE = (ExactSearcher.kind, ScannSearcher.kind)


def build_coarse(kind: str, vectors_NxD: jax.Array) -> CoarseSearcher:
    """A searcher over all rows.

    Raises:
        UserError: there is no such kind, or it is not installed here.
    """
    _check_kind(kind)
    if kind == ExactSearcher.kind:
        return ExactSearcher(vectors_NxD)
    return ScannSearcher.build(np.asarray(vectors_NxD))


def load_coarse(kind: str, folder: epath.Path, vectors_NxD: jax.Array) -> CoarseSearcher:
    """Open a saved searcher over the same rows.

    Raises:
        UserError: there is no such kind, it is not installed here, or `folder` is damaged.
    """
    _check_kind(kind)
    if kind == ExactSearcher.kind:
        return ExactSearcher(vectors_NxD)
    return ScannSearcher.load(folder, len(vectors_NxD))


_MAX_BATCH = 256
# Scores that the exact search holds at once. Few queries are so compared with all rows in one go:
# in blocks of rows, a single query over 100,000 of them took six times as long on a CPU.
_BLOCK_SCORES = 2**22

# Galleries with fewer rows are searched by brute force: faster than a tree, and exact.
_MIN_TREE_ROWS = 5000
_TRAINING_ROWS = 250_000
_DEFAULT_NEIGHBOURS = 10
_MIN_REORDERED = 300
_REORDERED_PER_NEIGHBOUR = 3
_ROWS_PER_NEIGHBOUR = 20
_SCANN_BATCH = 128


@partial(jax.jit, static_argnames=("k", "block"))
def _exact_top_k(
    vectors_NxD: jax.Array, queries_BxD: jax.Array, *, k: int, block: int
) -> tuple[jax.Array, jax.Array]:
    num_rows = len(vectors_NxD)
    starts = jnp.arange(0, num_rows, block)

    def in_block(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        begin = jnp.minimum(start, num_rows - block)
        vectors = jax.lax.dynamic_slice_in_dim(vectors_NxD, begin, block)
        scores = jnp.einsum("bd,nd->bn", queries_BxD, vectors, precision=jax.lax.Precision.HIGHEST)
        rows = begin + jnp.arange(block)
        # The last block reaches back into the one before it.
        scores, position = jax.lax.top_k(jnp.where(rows >= start, scores, -jnp.inf), min(k, block))
        return scores, rows[position]

    scores_SxBxK, rows_SxBxK = jax.lax.map(in_block, starts)
    scores = jnp.concatenate(list(scores_SxBxK), axis=1)
    rows = jnp.concatenate(list(rows_SxBxK), axis=1)
    scores, position = jax.lax.top_k(scores, k)
    return jnp.take_along_axis(rows, position, axis=1), scores


def _joined(found: Sequence[Sequence[np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    empty = [np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)]
    rows, scores = zip(empty, *found, strict=True)
    return np.concatenate(rows), np.concatenate(scores)


def _num_leaves(num_rows: int) -> int:
    """Partitions for a gallery, 0 for brute force."""
    return int(2 * np.sqrt(num_rows)) if num_rows >= _MIN_TREE_ROWS else 0


def _scann() -> Any:
    try:
        import scann
    except ImportError as error:
        raise UserError(
            "--coarse=scann: the package scann is not installed (its wheels are for Linux on "
            "x86-64); use --coarse=exact"
        ) from error
    return scann.scann_ops_pybind


def _check_kind(kind: str) -> None:
    if kind not in COARSE:
        raise UserError(f"--coarse={kind}: choose one of {', '.join(COARSE)}")
