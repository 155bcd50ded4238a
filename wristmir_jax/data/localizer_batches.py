"""Grain pipeline of the localiser: records -> films with boxes, axis, view and side."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from wristmir_jax.data.pipeline import RECORD_INDEX, Batch, Source, batches
from wristmir_jax.data.sampler import RecordOrder


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Records of a second data set among those of the first.

    Attributes:
        source: of the records.
        fraction: of all positions that take a record of it.
    """

    source: Source
    fraction: float


def localizer_batches(
    source: Source,
    order: RecordOrder,
    mixture: Mixture | None = None,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    first_step: int = 0,
    num_workers: int = 0,
    buffer_size: int = 2,
) -> grain.DatasetIterator:
    """Batches of this process, in the order of the run, with checkpointable state.

    A batch holds, beside `RECORD_INDEX`: `image` uint8 (B, S, S), the films letterboxed; `boxes`
    float32 (B, R, 4), x0 y0 x1 y1 in pixels of them, NaN where absent, infinite where nobody can
    say; `axis_degrees` float32 (B,), NaN where unknown; `view` and `side` int32 (B,), codes into
    `anatomy.VIEWS` and `anatomy.SIDES`.

    Args:
        source: of records.
        order: of the run.
        mixture: a second data set.
        batch_size: records a global batch.
        seed: of the mixture.
        process_index, process_count, first_step, num_workers, buffer_size: as in
            `pipeline.batches`.
    """
    return batches(
        order,
        _ReadFilm(source, mixture, seed),
        _stack,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        first_step=first_step,
        num_workers=num_workers,
        buffer_size=buffer_size,
    )


def _stack(records: Sequence[dict[str, Any]]) -> Batch:
    return {key: np.stack([record[key] for record in records]) for key in records[0]}


@dataclasses.dataclass(frozen=True)
class _ReadFilm(grain.transforms.Map):
    source: Source
    mixture: Mixture | None
    seed: int

    # Grain declares the base method as returning nothing.
    def map(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, element: tuple[int, int]
    ) -> dict[str, Any]:
        position, index = element
        record = None
        if self.mixture is not None:
            generator = np.random.default_rng((self.seed, position))
            if generator.random() < self.mixture.fraction:
                source = self.mixture.source
                record = source[int(generator.integers(len(source)))]
        return {RECORD_INDEX: np.int64(index)} | film_of(record or self.source[index])


def film_of(record: dict[str, Any]) -> dict[str, Any]:
    """What the localiser learns of a record, see `localizer_batches`; without its index."""
    image_SxS = np.asarray(record["image"])
    return {
        "image": image_SxS,
        "boxes": letterboxed(
            np.asarray(record["boxes"], np.float32), record["original_size"], len(image_SxS)
        ),
        "axis_degrees": np.float32(record["axis_degrees"]),
        "view": np.int32(record["view"]),
        "side": np.int32(record["laterality"]),
    }


def letterboxed(boxes_RxQ: np.ndarray, original_size: Any, size: int) -> np.ndarray:
    """Boxes (R, 4) in pixels of a film of height and width `original_size` -> in pixels of its
    letterboxed square, see `images.crops.letterbox`."""
    height, width = (int(side) for side in original_size)
    scale = size / max(height, width)
    shift_x = (size - max(1, round(width * scale))) // 2
    shift_y = (size - max(1, round(height * scale))) // 2
    return (boxes_RxQ * scale + np.array([shift_x, shift_y] * 2)).astype(np.float32)
