"""What a run is fed with, as its config says: tokenizer and batches."""

import itertools
import math

import grain
import jax
import ml_collections

from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.pipeline import TextShapes, training_batches
from wristmir_jax.data.sampler import RecordOrder
from wristmir_jax.models.tokenizer import CaptionTokenizer, train_tokenizer

# Enough to meet every word of generated captions; reading more only takes time.
_TOKENIZER_RECORDS = 20_000


def make_tokenizer(config: ml_collections.ConfigDict, dataset: Dataset) -> CaptionTokenizer:
    """The tokenizer of a new run: a given one, or one trained on the captions of its records.

    Raises:
        UserError: the folder of the config holds no tokenizer.
    """
    if folder := config.tokenizer.folder or config.pretrained.text_tower:
        return CaptionTokenizer.load(folder, config.model.text_tower.pad_id)
    source = dataset.source(config.split)
    every = max(1, math.ceil(len(source) / _TOKENIZER_RECORDS))
    captions = itertools.chain.from_iterable(
        (*record["caption_phrasings"], *record["region_caption_phrasings"])
        for record in (source[index] for index in range(0, len(source), every))
    )
    return train_tokenizer(filter(None, captions), config.tokenizer.vocab_size)


def make_batches(
    config: ml_collections.ConfigDict,
    dataset: Dataset,
    order: RecordOrder,
    tokenizer: CaptionTokenizer,
    first_step: int,
) -> grain.DatasetIterator:
    """The batches of this process that follow `first_step` steps, as `config` asks for them."""
    return training_batches(
        dataset.source(config.split),
        order,
        tokenizer,
        TextShapes(
            config.model.global_text_length,
            config.model.region_text_length,
            capacity_fractions=tuple(config.loader.text_capacities),
            length_fractions=tuple(config.loader.text_lengths),
            num_shards=jax.local_device_count(),
            multiple_of=config.micro_batches,
        ),
        batch_size=config.batch_size,
        seed=config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        first_step=first_step,
        num_workers=config.loader.num_workers,
        buffer_size=config.loader.buffer_size,
    )
