"""Small embedding stores with clustered random vectors, for the tests of retrieval."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.reports.findings import STATUSES
from wristmir_jax.retrieval.store import EmbeddingStore, EmbeddingWriter, StoreMetadata


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def metadata(regions: tuple[str, ...] = REGION_NAMES, dim: int = 16, **update: Any) -> Any:
    return StoreMetadata(
        model_fingerprint="fingerprint",
        embedding_dim=dim,
        region_embedding_dim=dim,
        regions=regions,
        dataset="data",
        dataset_title="phantoms (synthetic)",
        synthetic=True,
        image_size=32,
        crop_size=16,
    ).model_copy(update=update)


def random_rows(
    num_exams: int, regions: tuple[str, ...] = REGION_NAMES, dim: int = 16, seed: int = 0
) -> tuple[dict[str, list], np.ndarray, np.ndarray, np.ndarray]:
    """Arguments of `EmbeddingWriter.add`: exams of 1 to 3 views, two exams a patient.

    Some exams lack a region altogether, some views lack it.
    """
    rng = np.random.default_rng(seed)
    views = rng.integers(1, 4, num_exams)
    exam = np.repeat(np.arange(num_exams), views)
    view = np.concatenate([np.arange(count) for count in views])
    n, r = len(exam), len(regions)
    centres = rng.normal(size=(8, dim))
    vectors = unit(centres[exam % 8] + 0.5 * rng.normal(size=(n, dim)))
    region_vectors = unit(rng.normal(size=(n, r, dim)))
    present = (rng.random((n, r)) < 0.8) & (rng.random((num_exams, r)) < 0.85)[exam]
    status = rng.integers(0, len(STATUSES), (num_exams, r))
    ids: dict[str, list] = {
        "image_id": [f"image-{e}-{v}" for e, v in zip(exam, view, strict=True)],
        "exam_id": [f"exam-{e}" for e in exam],
        "patient_id": [f"patient-{e // 2}" for e in exam],
        "split": [("train", "validation", "test")[e % 3] for e in exam],
        "view": [("pa", "lateral", "oblique")[v] for v in view],
        "laterality": [("left", "right")[e % 2] for e in exam],
        "sex": [("female", "male", "unknown")[e // 2 % 3] for e in exam],
        "age_years": [None if e % 7 == 0 else float(e % 17) for e in exam],
        "pixel_spacing_mm": [None if e % 3 == 0 else 0.125 for e in exam],
        "fracture": [("yes", "no", "uncertain", "unknown")[e % 4] for e in exam],
        "caption": [f"caption {e % 5}" for e in exam],
        "caption_group": [int(e % 5) for e in exam],
        "findings": [""] * n,
        "source_hash": [f"{i:016x}" for i in range(n)],
        "record_index": list(range(n)),
    }
    for name in ("initial_exam", "fracture_visible", "cast", "hardware", "osteopenia"):
        ids[name] = [(True, False, None)[e % 3] for e in exam]
    for i, region in enumerate(regions):
        ids[f"{region}_status"] = [STATUSES[status[e, i]] for e in exam]
        ids[f"{region}_caption"] = [f"{region} {status[e, i]}" for e in exam]
        ids[f"{region}_caption_group"] = [int(status[e, i]) for e in exam]
    return ids, vectors, region_vectors, present


def write_store(
    folder: Path,
    num_exams: int = 30,
    regions: tuple[str, ...] = REGION_NAMES,
    dim: int = 16,
    seed: int = 0,
) -> Path:
    rng = np.random.default_rng(seed + 1)
    with EmbeddingWriter(folder, metadata(regions, dim)) as writer:
        writer.add(*random_rows(num_exams, regions, dim, seed))
        for level in ("global", *regions):
            writer.write_captions(
                level,
                ["a", "b"],
                np.array([1, 2]),
                unit(rng.normal(size=(2, dim))),
                np.array([3, 4]),
                np.array([5, 6]),
            )
    return folder


def random_store(
    num_exams: int,
    regions: tuple[str, ...] = REGION_NAMES,
    dim: int = 16,
    seed: int = 0,
    axes: bool = False,
) -> EmbeddingStore:
    """A store of `random_rows`; with `axes` every vector lies along an axis, so that most tie."""
    ids, vectors, region_vectors, present = random_rows(num_exams, regions, dim, seed)
    if axes:
        vectors, region_vectors = _along_axis(vectors), _along_axis(region_vectors)
    with tempfile.TemporaryDirectory() as folder:
        with EmbeddingWriter(Path(folder) / "E", metadata(regions, dim)) as writer:
            writer.add(ids, vectors, region_vectors, present)
        return EmbeddingStore.load(Path(folder) / "E")


def _along_axis(vectors: np.ndarray) -> np.ndarray:
    largest = np.abs(vectors) == np.abs(vectors).max(axis=-1, keepdims=True)
    return np.where(largest, np.sign(vectors), 0).astype(np.float32)
