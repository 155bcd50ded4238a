"""The training loop."""

import dataclasses
import itertools
import math
import sys
import time
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from etils import epath
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from tensorboard.summary import Writer
from tqdm import tqdm

from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.pipeline import RECORD_INDEX, Batch, TextShapes, training_batches
from wristmir_jax.data.sampler import RecordOrder, status_weights
from wristmir_jax.errors import UserError
from wristmir_jax.learning import config as configs
from wristmir_jax.learning import workdir as workdirs
from wristmir_jax.learning.checkpoints import Checkpoints
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import TrainState, plan_state
from wristmir_jax.learning.step import Metrics, make_train_step
from wristmir_jax.models.tokenizer import CaptionTokenizer, train_tokenizer

# Enough to meet every word of generated captions; reading more only takes time.
_TOKENIZER_RECORDS = 20_000


def train(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
    """Train as `config` says; run again with the same arguments to resume after any interruption.

    Args:
        config: made from `learning.config.base`.
        workdir: folder or bucket for checkpoints, metrics and the run's description.

    Raises:
        UserError: bad config or data set, another run in `workdir`, or a loss that is not finite.
    """
    workdir = epath.Path(workdir)
    configs.validate(config)
    if (workdir / workdirs.CONFIG_FILE).exists():
        configs.check_resumable(workdirs.read_config(workdir), config)
    dataset = Dataset(config.dataset)
    mesh = make_mesh(config.mesh.fsdp)
    _check_batch_size(config, mesh)
    tokenizer = _tokenizer(config, workdir, dataset)
    if jax.process_index() == 0:
        workdirs.prepare(workdir, config, dataset.info, tokenizer)
    iterator = _batches(config, dataset, tokenizer)
    graph, plan, init = plan_state(
        config,
        mesh,
        image_size=dataset.info.image_size,
        crop_size=dataset.info.crop_size,
        num_regions=len(dataset.info.regions),
        vocab_size=tokenizer.vocab_size,
    )
    with Checkpoints(workdir, config.keep_checkpoints) as checkpoints:
        step = checkpoints.latest_step or 0
        state = checkpoints.restore(step, plan, iterator) if step else init()
        if step:
            logging.info("resumed after step %d", step)
        if step >= config.total_steps:
            logging.info("nothing to do: step %d of %d is reached", step, config.total_steps)
            return
        batch, records = _next(iterator, mesh)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, plan)
        compiled = jax.jit(
            make_train_step(graph, config, mesh),
            donate_argnums=0,
            out_shardings=(shardings, NamedSharding(mesh, P())),
        )
        _run(config, workdir, mesh, compiled, state, iterator, checkpoints, step, batch, records)


def _run(
    config: ml_collections.ConfigDict,
    workdir: epath.Path,
    mesh: Mesh,
    train_step: Any,
    state: TrainState,
    iterator: Any,
    checkpoints: Checkpoints,
    first_step: int,
    batch: dict[str, jax.Array],
    records: np.ndarray,
) -> None:
    reporter = _Reporter(config, workdir, first_step)
    try:
        for step in range(first_step + 1, config.total_steps + 1):
            with jax.transfer_guard("disallow"):
                state, metrics = train_step(state, batch)
            reporter.add(step, metrics, records)
            if step % config.checkpoint_every_steps == 0 or step == config.total_steps:
                # Never save a state that a non-finite step has spoilt.
                reporter.flush()
                checkpoints.save(step, state, iterator)
            if step < config.total_steps:
                batch, records = _next(iterator, mesh)
        reporter.flush()
    finally:
        reporter.close()


def _next(iterator: Any, mesh: Mesh) -> tuple[dict[str, jax.Array], np.ndarray]:
    batch: Batch = next(iterator)
    records = batch.pop(RECORD_INDEX)
    return place_batch(batch, mesh), records


@dataclasses.dataclass
class _Pending:
    step: int
    metrics: Metrics
    records: np.ndarray


class _Reporter:
    """Checks and reports each step once the next one is under way, so that devices never wait."""

    def __init__(self, config: ml_collections.ConfigDict, workdir: epath.Path, first_step: int):
        self._config = config
        self._pending: _Pending | None = None
        self._file = self._events = None
        if jax.process_index() == 0:
            self._file = workdirs.MetricsFile(workdir / workdirs.METRICS_FILE, first_step)
            self._events = Writer(str(workdir))
        self._bar = tqdm(
            total=config.total_steps * config.batch_size,
            initial=first_step * config.batch_size,
            unit="exam",
            unit_scale=True,
            desc="train",
            disable=jax.process_index() != 0,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 15,
        )
        self._last_log = (time.monotonic(), first_step)

    def add(self, step: int, metrics: Metrics, records: np.ndarray) -> None:
        self.flush()
        self._pending = _Pending(step, metrics, records)

    def flush(self) -> None:
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        metrics = {name: float(value) for name, value in jax.device_get(pending.metrics).items()}
        if not math.isfinite(metrics["loss"]) or not math.isfinite(metrics["gradient_norm"]):
            raise UserError(
                f"training stopped: loss {metrics['loss']} and gradient norm "
                f"{metrics['gradient_norm']} at step {pending.step}, whose batch holds records "
                f"{_shorten(pending.records)} of split {self._config.split}; "
                "lower config.optimizer.learning_rate or look at these records, then run again"
            )
        self._bar.set_postfix(step=pending.step, loss=f"{metrics['loss']:.3f}", refresh=False)
        self._bar.update(self._config.batch_size)
        if pending.step % self._config.log_every_steps == 0 or (
            pending.step == self._config.total_steps
        ):
            self._log(pending.step, metrics)

    def _log(self, step: int, metrics: dict[str, float]) -> None:
        if self._file is None or self._events is None:
            return
        self._file.write(step, metrics)
        now, (then, last_step) = time.monotonic(), self._last_log
        rate = (step - last_step) * self._config.batch_size / max(now - then, 1e-9)
        self._last_log = (now, step)
        for name, value in (metrics | {"exams_per_second": rate}).items():
            self._events.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        self._bar.close()
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()


def _shorten(records: np.ndarray) -> str:
    shown = ", ".join(map(str, records[:8]))
    return shown + (f" and {len(records) - 8} more" if len(records) > 8 else "")


def _check_batch_size(config: ml_collections.ConfigDict, mesh: Mesh) -> None:
    if config.batch_size % (mesh.size * config.micro_batches):
        raise UserError(
            f"config.batch_size={config.batch_size} is not a multiple of {mesh.size} devices x "
            f"config.micro_batches={config.micro_batches}"
        )


def _tokenizer(
    config: ml_collections.ConfigDict, workdir: epath.Path, dataset: Dataset
) -> CaptionTokenizer:
    # Precedence: the run's own, then a given one, then a new one.
    if (workdir / workdirs.CONFIG_FILE).exists():
        return workdirs.read_tokenizer(workdir)
    if config.tokenizer.folder:
        return CaptionTokenizer.load(config.tokenizer.folder)
    source = dataset.source(config.split)
    every = max(1, math.ceil(len(source) / _TOKENIZER_RECORDS))
    captions = itertools.chain.from_iterable(
        (*record["caption_phrasings"], *record["region_caption_phrasings"])
        for record in (source[index] for index in range(0, len(source), every))
    )
    return train_tokenizer(filter(None, captions), config.tokenizer.vocab_size)


def _batches(
    config: ml_collections.ConfigDict, dataset: Dataset, tokenizer: CaptionTokenizer
) -> Any:
    index = dataset.index(config.split)
    num_regions = len(dataset.info.regions)

    def column(name: str) -> np.ndarray:
        return np.array(index[name].to_pylist(), np.uint8).reshape(len(index), num_regions)

    weights = status_weights(column("region_status"), column("crop_present"), config.loader.balance)
    return training_batches(
        dataset.source(config.split),
        RecordOrder(weights, config.total_steps * config.batch_size, config.seed),
        tokenizer,
        TextShapes(
            config.model.global_text_length,
            config.model.region_text_length,
            capacity_fractions=tuple(config.loader.text_capacities),
            multiple_of=jax.local_device_count() * config.micro_batches,
        ),
        batch_size=config.batch_size,
        seed=config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=config.loader.num_workers,
        buffer_size=config.loader.buffer_size,
    )
