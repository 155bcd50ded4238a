"""`evaluate`: an embedding store -> metrics.json, report.html and a table for the terminal."""

import json
import os
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax.benchmark import (
    bootstrap,
    graded_retrieval,
    pictures,
    probes,
    region_retrieval,
    report,
)
from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.benchmark.metrics import CaptionGallery, image_to_text, text_to_image
from wristmir_jax.benchmark.ranking import TrainGallery
from wristmir_jax.data.record import SPLITS
from wristmir_jax.errors import UserError
from wristmir_jax.retrieval.store import GLOBAL_LEVEL, EmbeddingStore

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

_RECALL_KEYS = (
    *("queries", "gallery_size", "recall@1", "recall@5", "recall@10", "recall@5_ci95"),
    *("macro_recall@5", "chance@5", "constant_ranker@5"),
)


def evaluate(
    embeddings: epath.PathLike,
    output: epath.PathLike,
    dataset: epath.PathLike | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> dict[str, Any]:
    """Score an embedding store: probes fit on train, choices on validation, scores on test.

    Args:
        embeddings: what `embed --split=all` wrote.
        output: folder for metrics.json and report.html; what else it holds is left alone.
        dataset: where the embedded data set lies now; None for where it lay. Only the report's
            pictures need it: without it they are left out and the report says so.
        resamples, seed: of the patient-level bootstrap.

    Returns:
        what metrics.json holds; null where the data set has no regions, flags, captions or
        findings, or a split lacks fractured or sound exams, with the reason under `notes`.

    Raises:
        UserError: the store cannot be read, a split is empty, or `output` is a file.
    """
    output = epath.Path(output)
    if output.exists() and not output.is_dir():
        raise UserError(f"--output={output} is a file: give a folder")
    store = EmbeddingStore.load(embeddings, splits=SPLITS)
    exams = Exams.of(store)
    gallery = TrainGallery(store, exams)
    regions = store.metadata.regions
    notes: list[str] = []
    captions = _recalls(store, notes, resamples, seed)
    metrics: dict[str, Any] = {
        "title": store.metadata.title,
        "synthetic": store.metadata.synthetic,
        "gallery_size": captions["image_to_text"]["gallery_size"],
        "queries": captions["image_to_text"]["queries"],
        "exams": {split: int((exams.split == split).sum()) for split in SPLITS},
        "patients": {
            split: len(np.unique(exams.patient_id[exams.split == split])) for split in SPLITS
        },
        **captions,
    }
    scores = {}
    for key, initial_only in (
        ("fracture_classification", False),
        ("fracture_classification_initial", True),
    ):
        scores[key], test, reason = probes.probe_fractures(store, exams, initial_only)
        metrics[key] = probes.classification_metrics(
            scores[key], exams.patient_id[test], resamples, seed
        )
        if reason:
            notes.append(f"{key}: {reason}")
    metrics["region_retrieval"], setting, reasons = region_retrieval.region_f1(
        exams, gallery, regions, resamples, seed
    )
    notes += [f"region_retrieval: {reason}" for reason in reasons]
    metrics["graded_relevance"], reason = graded_retrieval.graded_relevance(
        exams, gallery, regions, setting, resamples, seed
    )
    if reason:
        notes.append(f"graded_relevance: {reason}")
    metrics["bootstrap"] = {"unit": "patient", "resamples": resamples, "seed": seed}
    metrics["model_fingerprint"] = store.metadata.model_fingerprint
    metrics["notes"] = notes
    try:
        examples = pictures.examples(
            store, exams, gallery, setting, dataset or store.metadata.dataset
        )
    except UserError as error:
        examples = ()
        notes.append(f"report.html has no pictures: {error}")
    page = report.render(metrics, scores, examples)
    _write(output, METRICS_FILE, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    _write(output, REPORT_FILE, page)
    return metrics


def caption_gallery(store: EmbeddingStore, level: str) -> CaptionGallery:
    """Test radiographs with a caption of `level` (and a crop, if it is a region's)."""
    if level == GLOBAL_LEVEL:
        groups, embedding = store.ids["caption_group"].to_numpy(), store.global_embedding
        usable = groups >= 0
    else:
        region = store.metadata.regions.index(level)
        groups = store.ids[f"{level}_caption_group"].to_numpy()
        embedding = store.region_embedding[:, region]
        usable = (groups >= 0) & store.region_present[:, region]
    table = store.captions(level)
    split = np.asarray(store.ids["split"].to_pylist())
    rows = np.flatnonzero(usable & (split == "test") & np.isin(groups, table.groups))
    present, image_caption = np.unique(groups[rows], return_inverse=True)
    order = np.argsort(table.groups)
    positions = order[np.searchsorted(table.groups, present, sorter=order)]
    return CaptionGallery(
        image_embedding=embedding[rows],
        image_caption=image_caption,
        patients=np.asarray(store.ids["patient_id"].take(rows).to_pylist()),
        caption_embedding=table.embedding[positions],
        train_count=table.count_train[positions],
    )


def _write(folder: epath.Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{name}.partial-{os.getpid()}"
    aside.write_text(text)
    aside.replace(folder / name)


def _recalls(
    store: EmbeddingStore, notes: list[str], resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    nothing = dict.fromkeys(_RECALL_KEYS)
    gallery = caption_gallery(store, GLOBAL_LEVEL)
    if not len(gallery.image_embedding):
        notes.append("image_to_text, text_to_image: no test radiograph has a caption")
    regions = {}
    for region in store.metadata.regions:
        regions[region] = image_to_text(caption_gallery(store, region), resamples, seed) or nothing
    return {
        "image_to_text": image_to_text(gallery, resamples, seed) or nothing,
        "text_to_image": text_to_image(gallery, resamples, seed) or nothing,
        "region_image_to_text": regions,
    }
