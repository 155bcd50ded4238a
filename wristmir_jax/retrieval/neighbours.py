"""The nearest images of each image of an export that are no positives of it."""

import importlib.util
import os

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from wristmir_jax.data.hard_negatives import NEIGHBOURS_FILE, NEIGHBOURS_SCHEMA
from wristmir_jax.retrieval.coarse import CoarseSearcher, ExactSearcher, ScannSearcher, build_coarse
from wristmir_jax.retrieval.padding import bucket
from wristmir_jax.retrieval.store import EmbeddingStore

# Exports with more images are searched by ScaNN where it is installed: comparing all with all
# grows with the square.
_MAX_EXACT_ROWS = 100_000
_QUERIES_AT_ONCE = 1024
# Images that are looked through for neighbours: what lies further off is no hard negative.
_MAX_DEPTH = 4096
_DEEPER = 4


def write_neighbours(embeddings: epath.PathLike, num_neighbours: int) -> None:
    """Write `neighbours.parquet` (`data.hard_negatives.NEIGHBOURS_SCHEMA`) into an export.

    Args:
        embeddings: what `embed` wrote.
        num_neighbours: images for each image, at least 1; fewer where not so many of the 4,096
            nearest are of another patient and another caption.

    Raises:
        UserError: the export cannot be read.
    """
    store = EmbeddingStore.load(embeddings)
    rows_Q, scores_Q = nearest_negatives(store, num_neighbours)
    columns = [store.ids["image_id"].to_pylist(), rows_Q, scores_Q]
    path = epath.Path(embeddings) / NEIGHBOURS_FILE
    aside = path.parent / f"{path.name}.partial-{os.getpid()}"
    with aside.open("wb") as file:
        pq.write_table(pa.table(columns, schema=NEIGHBOURS_SCHEMA), file, compression="zstd")
    aside.replace(path)


def nearest_negatives(
    store: EmbeddingStore, num_neighbours: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The rows nearest to each row by the global vectors, without those that are its positives.

    Left out are images of the same patient, of the same exam where the patient is not known, and
    of the same caption of the whole film.

    Args:
        store: N images.
        num_neighbours: K.

    Returns:
        For each image at most K rows, int32, and inner products, float32, best first.
    """
    vectors_NxD = store.global_embedding
    kind = ExactSearcher.kind
    if len(vectors_NxD) > _MAX_EXACT_ROWS and importlib.util.find_spec("scann"):
        kind = ScannSearcher.kind
    searcher = build_coarse(kind, jnp.asarray(vectors_NxD))
    same_of_Nx2 = _positive_keys(store)
    rows, scores = [], []
    for start in range(0, len(vectors_NxD), _QUERIES_AT_ONCE):
        asking_Q = np.arange(start, min(start + _QUERIES_AT_ONCE, len(vectors_NxD)))
        found = _search(searcher, vectors_NxD, same_of_Nx2, asking_Q, num_neighbours)
        rows += found[0]
        scores += found[1]
    return rows, scores


def _search(
    searcher: CoarseSearcher,
    vectors_NxD: np.ndarray,
    same_of_Nx2: np.ndarray,
    asking_Q: np.ndarray,
    num_neighbours: int,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Look deeper for those images whose nearest ones are mostly positives."""
    none = np.zeros(0, np.int32)
    rows, scores = [none] * len(asking_Q), [none.astype(np.float32)] * len(asking_Q)
    deepest = min(len(vectors_NxD), max(_MAX_DEPTH, num_neighbours))
    depth = min(bucket(2 * num_neighbours), deepest)
    open_Q = np.arange(len(asking_Q))
    while True:
        asking = asking_Q[open_Q]
        row_QxK, score_QxK = searcher.search(vectors_NxD[asking], depth)
        allowed_QxK = row_QxK >= 0
        for key in range(same_of_Nx2.shape[1]):
            allowed_QxK &= same_of_Nx2[row_QxK, key] != same_of_Nx2[asking, key][:, None]
        wanted_QxK = allowed_QxK & (np.cumsum(allowed_QxK, axis=1) <= num_neighbours)
        for place, wanted_K, row_K, score_K in zip(
            open_Q, wanted_QxK, row_QxK, score_QxK, strict=True
        ):
            rows[place], scores[place] = row_K[wanted_K], score_K[wanted_K]
        open_Q = open_Q[wanted_QxK.sum(axis=1) < num_neighbours]
        if depth == deepest or not len(open_Q):
            return rows, scores
        depth = min(_DEEPER * depth, deepest)


def _positive_keys(store: EmbeddingStore) -> np.ndarray:
    """int64 (N, 2): images that share a number in either column are positives of each other."""
    ids = store.ids
    names = [
        ("patient", patient) if patient else ("exam", exam)
        for patient, exam in zip(
            ids["patient_id"].to_pylist(), ids["exam_id"].to_pylist(), strict=True
        )
    ]
    number = {name: position for position, name in enumerate(dict.fromkeys(names))}
    group_N = ids["caption_group"].to_numpy()
    # Images without a caption are no positives of each other.
    group_N = np.where(group_N < 0, -1 - np.arange(len(group_N)), group_N)
    return np.stack([np.array([number[name] for name in names], np.int64), group_N], axis=1)
