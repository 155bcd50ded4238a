"""How well the run finds captions of held-out records, and when it has stopped to learn."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wristmir_jax.anatomy import MIRRORED_SIDE, SIDES
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.errors import UserError
from wristmir_jax.learning import workdir as workdirs
from wristmir_jax.learning.messages import tell
from wristmir_jax.learning.ranks import best_positive_ranks
from wristmir_jax.learning.sharding import BATCH_SPEC
from wristmir_jax.learning.step import tower_inputs
from wristmir_jax.models import parameters
from wristmir_jax.models.dual_encoder import GLOBAL_LEVEL, REGION_LEVEL
from wristmir_jax.models.tokenizer import CaptionTokenizer

SPLIT = "validation"
# Key of validation.jsonl that decides which checkpoint is the best.
RECALL = "macro_recall@5"
_K = 5


class NoValidation:
    """Stands where nothing is measured at checkpoints; as `Validation`."""

    active = exhausted = False
    best_step: int | None = None

    def __call__(
        self, step: int, params: parameters.Parameters, progress: Callable[[], None]
    ) -> None:
        """Measures nothing."""

    def verdict(self) -> str:
        return ""

    def close(self) -> None:
        """Holds nothing open."""


class Validation:
    """Recall on the validation split at every checkpoint, as long as it rises.

    Each distinct caption is one candidate, and each counts the same in the mean, however many
    images have it (macro recall@5 from image to text). Whole films and each region are scored
    apart, where there are more than five captions, and averaged.

    Args:
        config: of the run; does nothing where `validation.max_records` is 0.
        workdir: of the run, which gets `validation.jsonl`.
        dataset: with a validation split.
        tokenizer: of the run.
        graph: of the model.
        mesh: of the devices.
        first_step: that the run resumes after.

    Attributes:
        best_step: of the highest recall until now; None before the first.

    Raises:
        UserError: the validation split is empty, or has too few captions.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: epath.Path,
        dataset: Dataset,
        tokenizer: CaptionTokenizer,
        graph: Any,
        mesh: Mesh,
        first_step: int,
    ):
        self.active = config.validation.max_records > 0
        self.best_step: int | None = None
        self._best, self._since_best = -1.0, 0
        self._patience = config.validation.patience
        if not self.active:
            return
        self._dataset, self._tokenizer, self._mesh = dataset, tokenizer, mesh
        self._lengths = (config.model.global_text_length, config.model.region_text_length)
        source = dataset.source(SPLIT)
        num_records = min(len(source), config.validation.max_records)
        self._indices = np.linspace(0, len(source) - 1, num_records).round().astype(int)
        self._check_captions()
        self._batch_size = mesh.size * max(1, min(config.batch_size, num_records) // mesh.size)
        for step, recall in read_recalls(workdir):
            if step <= first_step:
                self._take(step, recall)
        path = workdir / workdirs.VALIDATION_FILE
        self._file = workdirs.MetricsFile(path, first_step) if jax.process_index() == 0 else None
        whole = NamedSharding(mesh, P())

        def embed_images(params: Any, batch: Any) -> Any:
            model = parameters.merge(graph, params)
            film_BxSxS, crop_BxRxCxC = tower_inputs(batch)
            return model.encode_global(film_BxSxS), model.encode_regions(crop_BxRxCxC)

        def embed_texts(params: Any, token_TxL: jax.Array, level: int, region: int) -> jax.Array:
            return parameters.merge(graph, params).encode_text(token_TxL, level, region)

        self._embed_images = jax.jit(embed_images, out_shardings=whole)
        self._embed_texts = jax.jit(embed_texts, static_argnums=(2, 3), out_shardings=whole)

    @property
    def exhausted(self) -> bool:
        """Whether the recall has not risen for `validation.patience` checkpoints."""
        return self.active and 0 < self._patience <= self._since_best

    def __call__(
        self, step: int, params: parameters.Parameters, progress: Callable[[], None]
    ) -> None:
        """Score the parameters of a step and write a line of validation.jsonl.

        Args:
            step: of the run.
            params: that are exported, on the devices.
            progress: called between batches.
        """
        image_NxLxD, records = self._images(params, progress)
        recalls = {}
        for number, level in enumerate(("global", *self._dataset.info.regions)):
            progress()
            captions = [_caption(record, number) for record in records]
            if (
                recall := self._recall(params, image_NxLxD[:, number], captions, number)
            ) is not None:
                recalls[f"{level}_{RECALL}"] = recall
        mean = float(np.mean(list(recalls.values()))) if recalls else 0.0
        if self._file is not None:
            self._file.write(step, {RECALL: mean} | recalls)
            self._file.sync()
        self._take(step, mean)
        tell(f"validation after step {step}: {RECALL} {mean:.4f}, best after step {self.best_step}")

    def verdict(self) -> str:
        """Why the run has ended early."""
        return (
            f"stopped early: {RECALL} has not risen for {self._since_best} checkpoints since step "
            f"{self.best_step} ({self._best:.4f}), whose checkpoint is kept and exported"
        )

    def close(self) -> None:
        if self.active and self._file is not None:
            self._file.close()

    def _take(self, step: int, recall: float) -> None:
        if recall > self._best:
            self._best, self.best_step, self._since_best = recall, step, 0
        else:
            self._since_best += 1

    def _check_captions(self) -> None:
        table = self._dataset.index(SPLIT).take(self._indices)
        groups = [table["caption_group"].to_pylist()]
        groups += zip(*table["region_caption_group"].to_pylist(), strict=True)
        if all(len({group for group in level if group >= 0}) <= _K for level in groups):
            raise UserError(
                f"config.validation.max_records={len(self._indices)}: the validation records of "
                f"{self._dataset.directory} have no more than {_K} captions to choose from: take "
                "more records, prepare a larger validation split, or set it to 0"
            )

    def _images(self, params: Any, progress: Callable[[], None]) -> tuple[np.ndarray, list[Any]]:
        source = self._dataset.source(SPLIT)
        vectors, records = [], []
        for start in range(0, len(self._indices), self._batch_size):
            progress()
            part = [source[index] for index in self._indices[start : start + self._batch_size]]
            batch = {
                "image": np.stack([record["image"] for record in part]),
                "crops": np.stack([record["crops"] for record in part]),
                "mirrored": np.array(
                    [SIDES[int(record["laterality"])] == MIRRORED_SIDE for record in part]
                ),
            }
            placed = {key: self._place(array, self._batch_size) for key, array in batch.items()}
            film_BxD, crop_BxRxD = jax.device_get(self._embed_images(params, placed))
            vectors.append(np.concatenate([film_BxD[:, None], crop_BxRxD], axis=1)[: len(part)])
            records += [{key: record[key] for key in _LABELS} for record in part]
        return np.concatenate(vectors), records

    def _recall(
        self, params: Any, image_NxD: np.ndarray, captions: Sequence[str], level: int
    ) -> float | None:
        """Macro recall@5 of a level, 0 for films and 1 + region; None with too few captions."""
        distinct = sorted({caption for caption in captions if caption})
        if len(distinct) <= _K:
            return None
        position = {caption: number for number, caption in enumerate(distinct)}
        asked = np.array([bool(caption) for caption in captions])
        group_Q = np.array([position[caption] for caption in captions if caption])
        length = self._lengths[REGION_LEVEL if level else GLOBAL_LEVEL]
        token_TxL = self._place(
            self._tokenizer.encode(distinct, length), _padded(len(distinct), self._mesh)
        )
        levels = (REGION_LEVEL, level - 1) if level else (GLOBAL_LEVEL, 0)
        text_TxD = jax.device_get(self._embed_texts(params, token_TxL, *levels))[: len(distinct)]
        ranks_Q = best_positive_ranks(image_NxD[asked], group_Q, text_TxD, np.arange(len(distinct)))
        hits, total = np.bincount(group_Q, ranks_Q <= _K), np.bincount(group_Q)
        return float((hits / total).mean())

    def _place(self, array: np.ndarray, rows: int) -> jax.Array:
        filled = np.concatenate(
            [array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)]
        )
        return jax.make_array_from_callback(
            filled.shape, NamedSharding(self._mesh, BATCH_SPEC), lambda index: filled[index]
        )


_LABELS = ("caption", "region_captions", "crop_present")


def _caption(record: dict[str, Any], level: int) -> str:
    if level == 0:
        return record["caption"]
    return record["region_captions"][level - 1] if record["crop_present"][level - 1] else ""


def _padded(rows: int, mesh: Mesh) -> int:
    # A power of two of rows a device, so that few shapes are compiled.
    return mesh.size * 2 ** max(0, (-(-rows // mesh.size) - 1).bit_length())


def read_recalls(workdir: epath.Path) -> list[tuple[int, float]]:
    """(step, recall) of every validation of the run in `workdir`, in order."""
    path = workdir / workdirs.VALIDATION_FILE
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        # A line that a kill cut off belongs to a step that is taken again.
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.append((values["step"], values[RECALL]))
    return found


def best_step(workdir: epath.Path) -> int | None:
    """The step of highest recall of the run in `workdir`; None where it was not validated."""
    recalls = read_recalls(workdir)
    return max(recalls, key=lambda found: (found[1], -found[0]))[0] if recalls else None
