"""Grain pipeline: records -> batches of arrays that the training step takes."""

import dataclasses
import signal
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from wristmir_jax.anatomy import MIRRORED_SIDE, SIDES
from wristmir_jax.data.sampler import RecordOrder
from wristmir_jax.reports.captions import caption_group

Batch = dict[str, np.ndarray]

# Host-side key of a batch: which records it holds. Everything else goes to the devices.
RECORD_INDEX = "record_index"


class Source(Protocol):
    """Random access to records as dicts with the fields of `data.record.Record`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


class Tokenizer(Protocol):
    @property
    def pad_id(self) -> int: ...

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class TextShapes:
    """Fixed shapes of a batch's text.

    Attributes:
        global_length, region_length: tokens.
        capacity_fractions: a batch of N captions of a level is stored as its distinct ones, padded
            to the smallest of these fractions of N that holds them; the last must be 1.
        length_fractions: tokens are cut to the smallest of these fractions of their length that
            holds the longest caption; the last must be 1.
        num_shards: parts of equal size that a batch is cut into, one for each local device. Each
            has captions of its own, so that no device asks another for them.
        multiple_of: a shard's captions are padded to a multiple of this: the micro-batches.
    """

    global_length: int
    region_length: int
    capacity_fractions: tuple[float, ...]
    length_fractions: tuple[float, ...] = (1.0,)
    num_shards: int = 1
    multiple_of: int = 1


def training_batches(
    source: Source,
    order: RecordOrder,
    tokenizer: Tokenizer,
    shapes: TextShapes,
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

    Args:
        source: of records.
        order: of the run.
        tokenizer: of captions.
        shapes: of the text.
        batch_size: records a global batch.
        seed: of the caption wording; position p always gets the same one.
        process_index, process_count: of jax.distributed.
        first_step: batches of the run that are left out.
        num_workers: worker processes; 0 reads in this one. The batches don't depend on it.
        buffer_size: batches that each worker keeps ready.
    """
    return batches(
        order,
        _ReadRecord(source, seed),
        _Collate(tokenizer, shapes, fixed_shapes=process_count > 1),
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        first_step=first_step,
        num_workers=num_workers,
        buffer_size=buffer_size,
    )


def batches(
    order: RecordOrder,
    read: grain.transforms.Map,
    collate: Callable[[Sequence[dict[str, Any]]], Batch],
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    first_step: int = 0,
    num_workers: int = 0,
    buffer_size: int = 2,
) -> grain.DatasetIterator:
    """Batches of this process, in the order of the run, with checkpointable state.

    Position p of the order goes to process p mod process_count, so that all processes together see
    the same global batches whatever their number.

    Args:
        order: of the run.
        read: from a position and the index of its record to what the batch holds of it.
        collate: from those of a batch to arrays.
        batch_size: records a global batch.
        process_index, process_count: of jax.distributed.
        first_step: batches of the run that are left out.
        num_workers: worker processes; 0 reads in this one. The batches don't depend on it.
        buffer_size: batches that each worker keeps ready.
    """
    first_position = first_step * batch_size + process_index
    dataset = (
        grain.MapDataset.source(order)[first_position::process_count]
        .map(read)
        # Batched before workers share the work out: else each would fill batches from its own part
        # of the order, and another number of workers would train on other batches.
        .batch(batch_size // process_count, drop_remainder=True, batch_fn=collate)
        .to_iter_dataset(grain.ReadOptions(num_threads=0 if num_workers else 2))
    )
    if num_workers:
        options = grain.MultiprocessingOptions(
            num_workers=num_workers, per_worker_buffer_size=buffer_size
        )
        dataset = dataset.mp_prefetch(options, worker_init_fn=_leave_signals_to_the_parent)
    return iter(dataset)


def _leave_signals_to_the_parent(worker_index: int, worker_count: int) -> None:
    """Who stops a run signals the whole group; workers must last until the last step is saved."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@dataclasses.dataclass(frozen=True)
class _ReadRecord(grain.transforms.Map):
    source: Source
    seed: int

    # Grain declares the base method as returning nothing.
    def map(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, element: tuple[int, int]
    ) -> dict[str, Any]:
        position, index = element
        record = self.source[index]
        generator = np.random.default_rng((self.seed, position))
        region_captions = list(record["region_captions"])
        num_regions = len(region_captions)
        region_phrasings = list(record["region_caption_phrasings"])
        num_phrasings = len(region_phrasings) // max(num_regions, 1)
        draws = generator.integers(0, 2**31, 1 + num_regions)
        present_R = np.asarray(record["crop_present"]).astype(bool)
        return {
            RECORD_INDEX: np.int64(index),
            "image": record["image"],
            "crops": record["crops"],
            "mirrored": np.bool_(SIDES[int(record["laterality"])] == MIRRORED_SIDE),
            "region_status": record["region_status"],
            "global_group": _group_words(record["caption"]),
            "region_group": np.array(
                [_group_words(caption) for caption in region_captions], np.int32
            ).reshape(num_regions, 2),
            "global_text": _draw(record["caption_phrasings"], draws[0])
            if record["caption"]
            else "",
            "region_text": [
                _draw(region_phrasings[region * num_phrasings :][:num_phrasings], draws[1 + region])
                if region_captions[region] and present_R[region]
                else ""
                for region in range(num_regions)
            ],
        }


def _group_words(caption: str) -> np.ndarray:
    """Both 32-bit words of the caption's group: devices hold no 64-bit integers by default."""
    return np.array([caption_group(caption)], np.int64).view(np.int32)


def _draw(phrasings: Sequence[str], draw: int) -> str:
    return str(phrasings[int(draw) % len(phrasings)])


@dataclasses.dataclass(frozen=True)
class _Collate:
    tokenizer: Tokenizer
    shapes: TextShapes
    fixed_shapes: bool

    def __call__(self, records: Sequence[dict[str, Any]]) -> Batch:
        batch = {
            key: np.stack([record[key] for record in records])
            for key in records[0]
            if not key.endswith("_text")
        }
        for level, length in (
            ("global", self.shapes.global_length),
            ("region", self.shapes.region_length),
        ):
            texts = np.array([record[f"{level}_text"] for record in records], dtype=object)
            token_TxL, index = self._deduplicate(texts, length)
            batch[f"{level}_token"], batch[f"{level}_text_index"] = token_TxL, index
        return batch

    def _deduplicate(self, texts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the distinct texts of each shard, one shard behind the other, and for each text
        its row among those of its shard, or -1 where it is empty."""
        shapes = self.shapes
        shards = np.split(texts, shapes.num_shards)
        distinct = [sorted({text for text in shard.flat if text}) for shard in shards]
        capacity = self._capacity(max(map(len, distinct)), shards[0].size)
        token_SxTxL = np.full(
            (shapes.num_shards, capacity, length), self.tokenizer.pad_id, np.int32
        )
        index = np.empty(texts.shape, np.int32)
        for shard, (rows, captions) in enumerate(
            zip(np.split(index, len(shards)), distinct, strict=True)
        ):
            row = {text: position for position, text in enumerate(captions)} | {"": -1}
            rows[...] = np.reshape([row[text] for text in shards[shard].flat], rows.shape)
            if captions:
                token_SxTxL[shard, : len(captions)] = self.tokenizer.encode(captions, length)
        token_TxL = token_SxTxL.reshape(-1, length)
        return token_TxL[:, : self._length(token_TxL)], index

    def _capacity(self, num_distinct: int, num_texts: int) -> int:
        # Processes would have to agree on a smaller shape; they take the largest instead.
        fractions = (1.0,) if self.fixed_shapes else self.shapes.capacity_fractions
        multiple = self.shapes.multiple_of
        return next(
            rows
            for fraction in fractions
            if (rows := multiple * int(np.ceil(fraction * num_texts / multiple))) >= num_distinct
        )

    def _length(self, token_TxL: np.ndarray) -> int:
        length = token_TxL.shape[1]
        if self.fixed_shapes or self.shapes.length_fractions == (1.0,):
            return length
        used_L = (token_TxL != self.tokenizer.pad_id).any(axis=0)
        longest = int(np.flatnonzero(used_L)[-1]) + 1 if used_L.any() else 1
        return next(
            tokens
            for fraction in self.shapes.length_fractions
            if (tokens := int(np.ceil(fraction * length))) >= longest
        )
