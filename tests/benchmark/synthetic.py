"""Synthetic embedding stores with a known answer: vectors are made from the captions themselves."""

from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np

from tests.retrieval.stores import metadata, unit
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.reports.captions import canonical_captions, caption_group
from wristmir_jax.reports.findings import Findings, RegionFindings
from wristmir_jax.retrieval.store import EmbeddingStore, EmbeddingWriter

DIM = 64
_FRACTURE_RATES = {"distal_radius": 0.5, "distal_ulna": 0.3, "ulnar_styloid": 0.25}


def text_vector(caption: str, dim: int = DIM) -> np.ndarray:
    """Unit vector of a caption: the sum of random vectors of its words, neighbours and itself."""
    words = caption.split()
    total = np.zeros(dim)
    for token in (*words, *pairwise(words), caption):
        total += np.random.default_rng(crc32(repr(token).encode())).normal(size=dim)
    return unit(total)


def random_findings(exam_id: str, rng: np.random.Generator) -> Findings:
    regions = {}
    for name, rate in _FRACTURE_RATES.items():
        status = rng.choice(
            ["fracture", "uncertain", "not_mentioned", "no_fracture"],
            p=[rate, 0.05, 0.1, 0.85 - rate],
        )
        if status != "fracture":
            regions[name] = RegionFindings(status=status)
            continue
        regions[name] = RegionFindings(
            status="fracture",
            fracture_type=rng.choice(["buckle", "greenstick", "complete", "salter_harris_2"]),
            displacement=rng.choice(["none", "mild", "severe"]),
            angulation_degrees=float(rng.choice([10, 20, 30])),
            angulation_direction=rng.choice(["dorsal", "volar"]),
            healing=rng.choice([None, "healing"], p=[0.8, 0.2]),
        )
    broken = any(region.status == "fracture" for region in regions.values())
    return Findings(
        exam_id=exam_id,
        regions=regions,
        cast=bool(rng.random() < (0.5 if broken else 0.1)),
        hardware=bool(rng.random() < 0.05),
        osteopenia=None if rng.random() < 0.5 else bool(rng.random() < 0.2),
    )


def write_store(
    folder: Path,
    num_exams: int = 150,
    noise: float = 0.0,
    region_noise: float = 0.0,
    regions: tuple[str, ...] = REGION_NAMES,
    findings: bool = True,
    splits: tuple[str, ...] = ("train", "train", "validation", "test"),
    seed: int = 0,
    **metadata_update: object,
) -> EmbeddingStore:
    """A store of exams of one or two views, one or two exams a patient; the noise is per image.

    Args:
        noise, region_noise: length of the noise beside a unit caption vector; 0 is perfect.
        regions: () for a data set as FracAtlas, whose flags and findings are unknown too.
        findings: whether the rows hold them.
        splits: of patients, in turn.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict] = []
    vectors, region_vectors, present = [], [], []
    for e in range(num_exams):
        found = random_findings(f"exam-{e}", rng)
        captions = canonical_captions(found)
        patient = e * 2 // 3
        broken = {r.status for r in found.regions.values()}
        for view in ("pa", "lateral")[: rng.integers(1, 3)]:
            row = {
                "image_id": f"image-{e}-{view}",
                "exam_id": f"exam-{e}",
                "patient_id": f"patient-{patient}",
                "split": splits[patient % len(splits)],
                "view": view,
                "laterality": ("left", "right")[e % 2],
                "sex": ("female", "male")[e % 2],
                "age_years": float(e % 17),
                "pixel_spacing_mm": None,
                "initial_exam": bool(e % 3) if regions else None,
                "fracture_visible": None,
                "cast": found.cast if regions else None,
                "hardware": found.hardware if regions else None,
                "osteopenia": found.osteopenia if regions else None,
                "fracture": "yes" if "fracture" in broken else "no",
                "caption": captions.global_caption,
                "caption_group": caption_group(captions.global_caption),
                "findings": found.model_dump_json() if findings else "",
                "source_hash": "",
                "record_index": 0,
            }
            for name in regions:
                caption = captions.regions[name]
                row[f"{name}_status"] = found.regions[name].status
                row[f"{name}_caption"] = caption
                row[f"{name}_caption_group"] = caption_group(caption) if caption else -1
            rows.append(row)
            # A styloid is not cropped on a lateral film.
            present.append(
                [not (name == "ulnar_styloid" and view == "lateral") for name in regions]
            )
            vectors.append(_noisy(text_vector(captions.global_caption), noise, rng))
            region_vectors.append(
                [
                    _noisy(text_vector(captions.regions[name] or "none"), region_noise, rng)
                    for name in regions
                ]
            )
    counts = {split: 0 for split in splits}
    for row in rows:
        row["record_index"] = counts[row["split"]]
        counts[row["split"]] += 1
    with EmbeddingWriter(folder, metadata(regions, DIM, **metadata_update)) as writer:
        writer.add(
            {name: [row[name] for row in rows] for name in rows[0]},
            np.array(vectors),
            np.array(region_vectors).reshape(len(rows), len(regions), DIM),
            np.array(present).reshape(len(rows), len(regions)),
        )
        for level, column in (("global", "caption"), *((r, f"{r}_caption") for r in regions)):
            texts = sorted({row[column] for row in rows} - {""})
            writer.write_captions(
                level,
                texts,
                np.array([caption_group(text) for text in texts]),
                np.array([text_vector(text) for text in texts]).reshape(-1, DIM),
                np.array([_count(rows, column, text, "train") for text in texts]),
                np.array([_count(rows, column, text, None) for text in texts]),
            )
    return EmbeddingStore.load(folder)


def _noisy(vector: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    if not noise:
        return vector
    return unit(vector + noise * unit(rng.normal(size=vector.shape)))


def _count(rows: list[dict], column: str, text: str, split: str | None) -> int:
    return sum(row[column] == text and split in (None, row["split"]) for row in rows)
