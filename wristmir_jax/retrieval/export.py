"""Export: a prepared data set through a trained model into an embedding store."""

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from etils import epath
from tqdm import tqdm

from wristmir_jax.anatomy import MIRRORED_SIDE, SEXES, SIDES, VIEWS
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.record import NO, SPLITS, UNCERTAIN, UNKNOWN, YES
from wristmir_jax.errors import UserError
from wristmir_jax.reports.captions import caption_group
from wristmir_jax.reports.findings import STATUSES
from wristmir_jax.retrieval.store import GLOBAL_LEVEL, EmbeddingWriter, StoreMetadata

_FRACTURE = {YES: "yes", NO: "no", UNCERTAIN: "uncertain", UNKNOWN: "unknown"}
_FLAGS = ("initial_exam", "fracture_visible", "cast", "hardware", "osteopenia")
_IMAGE_BATCH = 256


class ImageTextEmbedder(Protocol):
    """What the export needs of `learning.inference.Embedder`."""

    model_fingerprint: str
    regions: tuple[str, ...]
    image_size: int
    crop_size: int

    def embed_images(
        self,
        image: np.ndarray,
        crops: np.ndarray,
        crop_present: np.ndarray,
        mirrored: np.ndarray,
        /,
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def embed_texts(self, texts: Sequence[str], level: str, /) -> np.ndarray: ...


def export_embeddings(
    embedder: ImageTextEmbedder,
    dataset_folder: epath.PathLike,
    output: epath.PathLike,
    split: str = "all",
) -> StoreMetadata:
    """Embed every radiograph of a split, and every distinct canonical caption of the data set.

    Args:
        embedder: of a trained run.
        dataset_folder: what `prepare` wrote.
        output: the store; appears whole or not at all.
        split: train, validation, test or all.

    Raises:
        UserError: the data set has other regions or sizes than the model, or the split is empty.
    """
    dataset = Dataset(dataset_folder)
    info = dataset.info
    ours = (embedder.regions, embedder.image_size, embedder.crop_size)
    theirs = (info.regions, info.image_size, info.crop_size)
    if ours != theirs:
        raise UserError(
            f"--dataset={dataset_folder} has regions, image and crop size {theirs}, but the model "
            f"was trained with {ours}: prepare the data set again with the model's"
        )
    splits = SPLITS if split == "all" else (split,)
    splits = [name for name in splits if info.num_records.get(name)]
    if not splits:
        raise UserError(f"--split={split} of {dataset_folder} is empty: choose another split")
    counts = {level: (Counter[str](), Counter[str]()) for level in (GLOBAL_LEVEL, *info.regions)}
    probe = embedder.embed_texts(["probe"], GLOBAL_LEVEL).shape[1]
    metadata = StoreMetadata(
        model_fingerprint=embedder.model_fingerprint,
        embedding_dim=probe,
        region_embedding_dim=probe,
        regions=info.regions,
        dataset=str(dataset_folder),
        dataset_title=info.title,
        synthetic=info.synthetic,
        image_size=info.image_size,
        crop_size=info.crop_size,
        localizer=info.localizer,
    )
    total = sum(info.num_records[name] for name in splits)
    with (
        EmbeddingWriter(output, metadata) as writer,
        tqdm(total=total, unit="image", desc="embed", file=sys.stderr, mininterval=1) as progress,
    ):
        for name in splits:
            source = dataset.source(name)
            for start in range(0, len(source), _IMAGE_BATCH):
                indices = range(start, min(start + _IMAGE_BATCH, len(source)))
                records = [source[index] for index in indices]
                _add(writer, embedder, records, indices, name)
                _count(counts, records, info.regions, train=name == "train")
                progress.update(len(records))
        for level, (train, everywhere) in counts.items():
            captions = sorted(everywhere)
            writer.write_captions(
                level,
                captions,
                np.array([caption_group(caption) for caption in captions], np.int64),
                embedder.embed_texts(captions, level),
                np.array([train[caption] for caption in captions], np.int64),
                np.array([everywhere[caption] for caption in captions], np.int64),
            )
    return metadata


def _add(
    writer: EmbeddingWriter,
    embedder: ImageTextEmbedder,
    records: Sequence[Mapping[str, Any]],
    indices: range,
    split: str,
) -> None:
    present_BxR = np.stack([np.asarray(record["crop_present"], bool) for record in records])
    global_BxD, region_BxRxD = embedder.embed_images(
        np.stack([record["image"] for record in records]),
        np.stack([record["crops"] for record in records]),
        present_BxR,
        np.array([SIDES[int(record["laterality"])] == MIRRORED_SIDE for record in records]),
    )
    columns: dict[str, list[Any]] = {
        name: [record[name] for record in records]
        for name in ("image_id", "exam_id", "patient_id", "caption", "source_hash")
    }
    columns |= {
        "split": [split] * len(records),
        "record_index": list(indices),
        "view": [VIEWS[int(record["view"])] for record in records],
        "laterality": [SIDES[int(record["laterality"])] for record in records],
        "sex": [SEXES[int(record["sex"])] for record in records],
        "fracture": [_FRACTURE[int(record["fracture"])] for record in records],
        "findings": [record["findings_json"] for record in records],
        "age_years": [_or_none(float(record["age_years"])) for record in records],
        "pixel_spacing_mm": [_or_none(float(record["pixel_spacing_mm"])) for record in records],
        "caption_group": [_group(record["caption"]) for record in records],
    }
    for flag in _FLAGS:
        columns[flag] = [
            None if int(record[flag]) == UNKNOWN else int(record[flag]) == YES for record in records
        ]
    for number, region in enumerate(embedder.regions):
        captions = [record["region_captions"][number] for record in records]
        columns[f"{region}_caption"] = captions
        columns[f"{region}_caption_group"] = [_group(caption) for caption in captions]
        columns[f"{region}_status"] = [
            STATUSES[int(record["region_status"][number])] for record in records
        ]
    writer.add(columns, global_BxD, region_BxRxD, present_BxR)


def _count(
    counts: dict[str, tuple[Counter[str], Counter[str]]],
    records: Sequence[Mapping[str, Any]],
    regions: tuple[str, ...],
    *,
    train: bool,
) -> None:
    for record in records:
        for level, caption in (
            (GLOBAL_LEVEL, record["caption"]),
            *zip(regions, record["region_captions"], strict=True),
        ):
            if caption:
                in_train, everywhere = counts[level]
                in_train[caption] += train
                everywhere[caption] += 1


def _group(caption: str) -> int:
    return caption_group(caption) if caption else -1


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
