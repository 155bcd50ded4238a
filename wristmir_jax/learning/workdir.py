"""What a run leaves beside its checkpoints, and how it is written."""

import json
import os

import ml_collections
from etils import epath
from tensorboard.summary import Writer

from wristmir_jax import buckets
from wristmir_jax.data.record import DatasetInfo
from wristmir_jax.errors import UserError
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.growing_files import GrowingFiles
from wristmir_jax.models.tokenizer import PAD_ID, TOKENIZER_FILE, CaptionTokenizer

CONFIG_FILE = "config.json"
DATASET_FILE = "dataset.json"
METRICS_FILE = "metrics.jsonl"
VALIDATION_FILE = "validation.jsonl"


def at(path: epath.PathLike) -> epath.Path:
    """The folder of a run, local or on a bucket; it need not exist.

    Raises:
        UserError: the extra that reads buckets is not installed.
    """
    buckets.make_ready(path)
    return epath.Path(path)


def write_text(path: epath.Path, text: str) -> None:
    """Write aside, then rename: a reader sees the old file or the new one, never half of one."""
    if buckets.is_bucket(path):
        # An object appears whole, and a rename would be a copy.
        path.write_text(text)
        return
    aside = path.parent / f"{path.name}.partial-{os.getpid()}"
    aside.write_text(text)
    aside.replace(path)


def read_config(workdir: epath.Path) -> ml_collections.ConfigDict:
    """The config of the run in `workdir`.

    Raises:
        UserError: `workdir` holds no run, or cannot be read without an extra.
    """
    path = at(workdir) / CONFIG_FILE
    if not path.exists():
        raise UserError(f"--workdir={workdir} holds no run: {CONFIG_FILE} is missing; train first")
    return configs.from_json(path.read_text())


def read_dataset_info(workdir: epath.Path) -> DatasetInfo:
    """What the run in `workdir` was trained on."""
    return DatasetInfo.model_validate_json((workdir / DATASET_FILE).read_text())


def read_tokenizer(workdir: epath.Path) -> CaptionTokenizer:
    pad_id = read_config(workdir).model.text_tower.get("pad_id", PAD_ID)
    return CaptionTokenizer.load(workdir, pad_id)


def prepare(
    workdir: epath.Path,
    config: ml_collections.ConfigDict,
    info: DatasetInfo,
    tokenizer: CaptionTokenizer | None = None,
) -> None:
    """Write the run's config, data set description and, where it has one, its tokenizer."""
    workdir.mkdir(parents=True, exist_ok=True)
    if tokenizer is not None:
        write_text(workdir / TOKENIZER_FILE, tokenizer.to_json())
    write_text(workdir / DATASET_FILE, info.model_dump_json(indent=2) + "\n")
    # Last: where it stands, the others do.
    write_text(workdir / CONFIG_FILE, configs.to_json(config))


class MetricsFile:
    """`metrics.jsonl`: a line a logged step, each step once, also after a resumption.

    Args:
        path: of the file.
        step: the step that the run resumes after; lines of later steps are dropped, for they will
            be written again.
    """

    def __init__(self, path: epath.Path, step: int):
        kept = []
        if path.exists():
            for line in path.read_text().splitlines():
                # A line cut off by a kill belongs to a step that is taken again.
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except json.JSONDecodeError:
                    continue
        self._growing = None
        if buckets.is_bucket(path):
            self._growing = GrowingFiles(path.parent)
            path = self._growing.folder / path.name
        write_text(path, "".join(kept))
        self._file = path.open("a")

    def write(self, step: int, metrics: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step} | metrics) + "\n")
        self._file.flush()
        if self._growing is not None:
            self._growing.grown()

    def sync(self) -> None:
        """Return once no line can be lost: call before each checkpoint is saved."""
        if self._growing is not None:
            self._growing.copy()

    def close(self) -> None:
        self._file.close()
        if self._growing is not None:
            self._growing.close()


class EventsWriter:
    """TensorBoard's events of one start of the run.

    TensorBoard's own writer appends, which on a bucket would leave only what came last.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: epath.Path):
        self._growing = GrowingFiles(folder) if buckets.is_bucket(folder) else None
        self._writer = Writer(str(folder if self._growing is None else self._growing.folder))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
        if self._growing is not None:
            self._growing.grown()

    def close(self) -> None:
        self._writer.close()
        if self._growing is not None:
            self._growing.close()
