"""Which records a run takes, in which order."""

import os

import ml_collections
import numpy as np
from etils import epath

from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.hard_negatives import NEIGHBOURS_FILE, HardNegativeOrder, read_neighbours
from wristmir_jax.data.sampler import RecordOrder, status_weights
from wristmir_jax.learning.config import num_hard_negatives
from wristmir_jax.learning.messages import tell


def record_order(
    config: ml_collections.ConfigDict, dataset: Dataset, workdir: epath.Path | None = None
) -> RecordOrder:
    """The order of a whole run, balanced and with hard negatives as its config says.

    Args:
        config: of the run.
        dataset: that it is trained on.
        workdir: where `keep_neighbours` has left a copy, which goes before the export: that may
            have changed since.

    Raises:
        UserError: the split is empty, or the hard negatives are of another data set.
    """
    index = dataset.index(config.split)
    num_regions = len(dataset.info.regions)

    def column(name: str) -> np.ndarray:
        return np.array(index[name].to_pylist(), np.uint8).reshape(len(index), num_regions)

    weights = status_weights(column("region_status"), column("crop_present"), config.loader.balance)
    length = config.total_steps * config.batch_size
    num_negatives = num_hard_negatives(config)
    if not num_negatives:
        return RecordOrder(weights, length, config.seed)
    kept = workdir is not None and (workdir / NEIGHBOURS_FILE).exists()
    folder = workdir if kept and workdir else config.loader.hard_negatives_from
    neighbours_NxK = read_neighbours(folder, index["image_id"])
    having = int((neighbours_NxK >= 0).any(axis=1).sum())
    tell(
        f"hard negatives: {num_negatives} of each {config.batch_size} records; {having} of "
        f"{len(index)} records have neighbours"
    )
    return HardNegativeOrder(
        weights,
        length,
        config.seed,
        batch_size=config.batch_size,
        num_negatives=num_negatives,
        neighbours_NxK=neighbours_NxK,
    )


def keep_neighbours(config: ml_collections.ConfigDict, workdir: epath.Path) -> None:
    """Copy what the run needs of the export of its hard negatives into its folder."""
    kept = workdir / NEIGHBOURS_FILE
    if num_hard_negatives(config) and not kept.exists():
        workdir.mkdir(parents=True, exist_ok=True)
        aside = workdir / f"{NEIGHBOURS_FILE}.partial-{os.getpid()}"
        (epath.Path(config.loader.hard_negatives_from) / NEIGHBOURS_FILE).copy(aside)
        aside.replace(kept)
