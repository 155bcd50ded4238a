"""How fast an index answers: prints one JSON object on its last line.

Embeddings are clustered random vectors, two views an exam; queries come from the same clusters.
Recall is against the exact search, latency is of one query at a time, with its hits made up.

python tools/bench/retrieval.py --num_exams=50000 --dim=128
"""

import json
import time

import jax
import numpy as np
import pyarrow as pa
from absl import app, flags

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.retrieval.coarse import CoarseSearcher, ExactSearcher, ScannSearcher
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.store import StoreMetadata, id_schema
from wristmir_jax.retrieval.two_stage import NUM_CANDIDATES, Index

_EXAMS = flags.DEFINE_integer("num_exams", 50_000, "Exams of two images each.", lower_bound=100)
_DIM = flags.DEFINE_integer("dim", 128, "Length of global and region vectors.", lower_bound=2)
_QUERIES = flags.DEFINE_integer("num_queries", 1024, "Queries of the coarse search.", lower_bound=1)
_SINGLE = flags.DEFINE_integer("num_single", 300, "Two-stage queries, one by one.", lower_bound=1)
_CANDIDATES = flags.DEFINE_integer("num_candidates", NUM_CANDIDATES, "Of the second stage.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the vectors.")

_NEIGHBOURS = 10
_VIEWS = 2
_EXAMS_A_CLUSTER = 50
# Distances within a cluster and between views of an exam, as fractions of a centre's length.
_SPREAD, _VIEW_SPREAD = 0.7, 0.3


def measure(
    num_exams: int, dim: int, num_queries: int, num_single: int, num_candidates: int, seed: int
) -> dict:
    """Queries a second and recall of both coarse searches, milliseconds of whole searches."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(num_exams // _EXAMS_A_CLUSTER, 1), dim))
    exams = _around(centres[rng.integers(len(centres), size=num_exams)], _SPREAD, rng)
    rows = np.repeat(exams, _VIEWS, axis=0)
    vectors = _unit(_around(rows, _VIEW_SPREAD, rng))
    regions = np.stack([_unit(_around(rows, _VIEW_SPREAD, rng)) for _ in REGION_NAMES])
    asked = _around(centres[rng.integers(len(centres), size=num_queries)], _SPREAD, rng)
    queries = _unit(_around(asked, _VIEW_SPREAD, rng))

    result: dict = {
        "benchmark": "retrieval",
        "data": "clustered random vectors",
        "device": jax.devices()[0].device_kind,
        "exams": num_exams,
        "images": len(vectors),
        "dim": dim,
        "num_candidates": num_candidates,
    }
    start = time.perf_counter()
    scann = ScannSearcher.build(vectors)
    result["scann_build_seconds"] = round(time.perf_counter() - start, 2)
    expected, _ = ExactSearcher(vectors).search(queries, _NEIGHBOURS)
    for searcher in (ExactSearcher(vectors), scann):
        found, seconds = _batch(searcher, queries)
        result[f"{searcher.kind}_queries_per_second"] = round(num_queries / seconds, 1)
        result[f"{searcher.kind}_recall@{_NEIGHBOURS}"] = round(_recall(found, expected), 4)
        index = _index(vectors, regions, searcher)
        p50, p99 = _latency(index, queries, num_single, num_candidates)
        result[f"two_stage_{searcher.kind}_p50_ms"] = round(p50, 3)
        result[f"two_stage_{searcher.kind}_p99_ms"] = round(p99, 3)
    return result


def _around(centres: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    return (centres + spread * rng.normal(size=centres.shape)).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _batch(searcher: CoarseSearcher, queries: np.ndarray) -> tuple[np.ndarray, float]:
    """Rows found, and seconds of a second call: the first one compiles."""
    searcher.search(queries, _NEIGHBOURS)
    start = time.perf_counter()
    found, _ = searcher.search(queries, _NEIGHBOURS)
    return found, time.perf_counter() - start


def _recall(found: np.ndarray, expected: np.ndarray) -> float:
    return float(
        np.mean([np.isin(ours, best).mean() for ours, best in zip(found, expected, strict=True)])
    )


def _index(vectors: np.ndarray, regions: np.ndarray, searcher: CoarseSearcher) -> Index:
    metadata = StoreMetadata(
        model_fingerprint="none",
        embedding_dim=vectors.shape[1],
        region_embedding_dim=regions.shape[2],
        regions=REGION_NAMES,
        dataset="none",
        dataset_title="clustered random vectors",
        synthetic=True,
        image_size=1,
        crop_size=1,
    )
    num_rows = len(vectors)
    names = {
        "image_id": [f"image-{row}" for row in range(num_rows)],
        "exam_id": [f"exam-{row // _VIEWS}" for row in range(num_rows)],
        "patient_id": [f"patient-{row // (2 * _VIEWS)}" for row in range(num_rows)],
    }
    columns = []
    for field in id_schema(REGION_NAMES):
        blank = "" if field.type == pa.string() else None if field.nullable else 0
        columns.append(pa.array(names.get(field.name, [blank] * num_rows), field.type))
    ids = pa.table(columns, schema=id_schema(REGION_NAMES))
    present = np.ones(regions.shape[:2], bool)
    return Index(metadata, ids, vectors, regions, present, searcher)


def _latency(
    index: Index, queries: np.ndarray, num_single: int, num_candidates: int
) -> tuple[float, float]:
    """Median and 99th percentile in ms of whole searches, the query's patient left out."""
    present = np.ones((1, len(REGION_NAMES)), bool)
    times = []
    for number in range(-10, num_single):  # The first ones compile.
        vector = queries[number % len(queries)]
        of_regions = np.repeat(vector[None, None], len(REGION_NAMES), axis=1)
        query = Queries.of_images(vector[None], of_regions, present)
        start = time.perf_counter()
        index.search(
            query,
            REGION_NAMES[number % len(REGION_NAMES)],
            num_candidates=num_candidates,
            exclude_patient=f"patient-{max(number, 0)}",
        )
        times.append(1000 * (time.perf_counter() - start))
    p50, p99 = np.percentile(times[10:], [50, 99])
    return float(p50), float(p99)


def main(_) -> None:
    print(
        json.dumps(
            measure(
                _EXAMS.value,
                _DIM.value,
                _QUERIES.value,
                _SINGLE.value,
                _CANDIDATES.value,
                _SEED.value,
            )
        )
    )


if __name__ == "__main__":
    app.run(main)
