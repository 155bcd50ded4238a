"""The training loop."""

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath
from jax.sharding import Mesh
from tqdm import tqdm

from wristmir_jax.data.pipeline import RECORD_INDEX, Batch
from wristmir_jax.errors import UserError
from wristmir_jax.learning import config as configs
from wristmir_jax.learning import workdir as workdirs
from wristmir_jax.learning.checkpoints import Checkpoints, has_checkpoint
from wristmir_jax.learning.checksums import checksums
from wristmir_jax.learning.goodput import CHECKPOINTS, INPUT, STEPS, VALIDATION, Goodput
from wristmir_jax.learning.messages import tell
from wristmir_jax.learning.pretraining import with_pretrained
from wristmir_jax.learning.programs import Programs, jit_step
from wristmir_jax.learning.resume import Resumed, resume
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import TrainState
from wristmir_jax.learning.step import Metrics, make_train_step
from wristmir_jax.learning.stopping import StopRequest, stopped
from wristmir_jax.learning.tasks import open_task
from wristmir_jax.learning.validation import NoValidation, Validation
from wristmir_jax.learning.watch import IN_CHECKPOINT, IN_INPUT, IN_STEP, Watch

# Key of the step's metrics that is no metric.
_STOP_REQUEST = "stop_request"


def train(config: ml_collections.ConfigDict, workdir: epath.PathLike) -> None:
    """Train as `config` says; run again with the same arguments to resume after any interruption.

    Args:
        config: made from `learning.config.base`.
        workdir: folder or bucket for checkpoints, metrics and the run's description.

    Raises:
        UserError: bad config or data set, another run in `workdir`, or a loss that is not finite.
        InterruptedRunError: told to stop by SIGTERM or SIGINT; what was done is saved.
    """
    goodput = Goodput()
    workdir = workdirs.at(workdir)
    configs.validate(config)
    if (workdir / workdirs.CONFIG_FILE).exists():
        configs.check_resumable(workdirs.read_config(workdir), config)
    task = open_task(config, workdir)
    mesh = make_mesh(config.mesh.fsdp)
    configs.check_batch_size(config, mesh.size)
    pretrained = {} if has_checkpoint(workdir) else task.pretrained()
    if jax.process_index() == 0:
        task.prepare_workdir()
    graph, plan, init = task.plan(mesh)
    with (
        Checkpoints(workdir, config.keep_checkpoints) as checkpoints,
        Watch(workdir, **config.recovery) as watch,
        StopRequest() as stop_request,
    ):
        resumed = resume(checkpoints, plan, task.batches)
        if resumed.step >= config.total_steps:
            tell(f"nothing to do: step {resumed.step} of {config.total_steps} is reached")
            return
        train_step = jit_step(
            _hearing_stop_requests(make_train_step(graph, config, mesh, task.loss)), plan, mesh
        )
        validation = task.validation(graph, mesh, resumed.step)
        if validation.exhausted:
            tell(f"nothing to do: {validation.verdict()}")
            return
        run = _Run(
            config,
            workdir,
            mesh,
            Programs(train_step, lambda executable: tell(task.describe(executable))),
            checkpoints,
            validation,
            watch,
            stop_request,
            goodput,
        )
        try:
            state = resumed.state
            if state is None:
                state = with_pretrained(init(), pretrained)
                # Compiled now, and not when the first checkpoint is waited for.
                checksums(state)
            run(resumed, state)
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            watch.leave("the others cannot be reached: " + str(error).splitlines()[0][:200])


def _hearing_stop_requests(train_step: Callable[..., Any]) -> Callable[..., Any]:
    """`train_step` with one argument more, `StopRequest.to_devices`, whose maximum it returns."""

    def step(state: TrainState, batch: Any, request_D: jax.Array) -> tuple[TrainState, Metrics]:
        state, metrics = train_step(state, batch)
        return state, metrics | {_STOP_REQUEST: request_D.max()}

    return step


@dataclasses.dataclass
class _Run:
    """Steps from where the run stands to its end, or to where it is told to stop."""

    config: ml_collections.ConfigDict
    workdir: epath.Path
    mesh: Mesh
    train_step: Programs
    checkpoints: Checkpoints
    validation: Validation | NoValidation
    watch: Watch
    stop_request: StopRequest
    goodput: Goodput

    def __call__(self, resumed: Resumed, state: TrainState) -> None:
        config = self.config
        reporter = _Reporter(config, self.workdir, resumed.step)
        saved_step = resumed.step
        try:
            for step in range(resumed.step + 1, config.total_steps + 1):
                self.watch.progress(step - 1, IN_INPUT)
                with self.goodput.spent_in(INPUT, hidden=reporter.step_is_running):
                    batch, records = _next(resumed.iterator, self.mesh)
                    request_D = self.stop_request.to_devices(self.mesh)
                self.watch.progress(step - 1, IN_STEP)
                with self.goodput.spent_in(STEPS):
                    with jax.transfer_guard("disallow"):
                        state, metrics = self.train_step(state, batch, request_D)
                    reporter.add(step, metrics, records)
                if step == resumed.step + 2:
                    self.goodput.started()
                # Known a step late, but by all processes at the same one.
                stop = reporter.stop_request
                if stop or step % config.checkpoint_every_steps == 0 or step == config.total_steps:
                    self._save(step, state, resumed, reporter)
                    saved_step = step
                    if not stop:
                        self._validate(step, state)
                if stop or self.validation.exhausted:
                    break
            with self.goodput.spent_in(CHECKPOINTS):
                self.checkpoints.wait()
        finally:
            reporter.close()
            self.validation.close()
            # Ends the loader's workers and gives their shared memory back.
            resumed.iterator.close()
        tell(self.goodput.summary())
        if self.validation.exhausted:
            tell(self.validation.verdict())
        elif saved_step < config.total_steps:
            raise stopped(reporter.stop_request, saved_step)

    def _save(self, step: int, state: TrainState, resumed: Resumed, reporter: "_Reporter") -> None:
        # Never save a state that a non-finite step has spoilt.
        with self.goodput.spent_in(STEPS):
            reporter.flush()
        self.watch.progress(step, IN_CHECKPOINT)
        with self.goodput.spent_in(CHECKPOINTS):
            reporter.sync()
            self.checkpoints.save(
                step, state, resumed.iterator, resumed.origin, self.validation.best_step
            )

    def _validate(self, step: int, state: TrainState) -> None:
        if not self.validation.active:
            return
        with self.goodput.spent_in(VALIDATION):
            self.validation(step, state.average, lambda: self.watch.progress(step, IN_STEP))


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
        self.stop_request = 0
        self._pending: _Pending | None = None
        self._file = self._events = None
        if jax.process_index() == 0:
            self._file = workdirs.MetricsFile(workdir / workdirs.METRICS_FILE, first_step)
            self._events = workdirs.EventsWriter(workdir)
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

    def step_is_running(self) -> bool:
        """The devices have not finished the newest step."""
        if self._pending is None:
            return False
        metrics: list[Any] = list(self._pending.metrics.values())
        return not all(value.is_ready() for value in metrics)

    def flush(self) -> None:
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        values = jax.device_get(pending.metrics)
        self.stop_request = max(self.stop_request, int(values.pop(_STOP_REQUEST)))
        metrics = {name: float(value) for name, value in values.items()}
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

    def sync(self) -> None:
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        self._bar.close()
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()


def _shorten(records: np.ndarray) -> str:
    shown = ", ".join(map(str, records[:8]))
    return shown + (f" and {len(records) - 8} more" if len(records) > 8 else "")
