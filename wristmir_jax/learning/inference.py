"""A trained run as an embedder of films, crops and captions."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import NamedSharding

from wristmir_jax.data.record import DatasetInfo
from wristmir_jax.errors import UserError
from wristmir_jax.learning import workdir as workdirs
from wristmir_jax.learning.augment import to_tower_frame
from wristmir_jax.learning.checkpoints import Checkpoints, has_checkpoint
from wristmir_jax.learning.sharding import BATCH_SPEC, make_mesh
from wristmir_jax.learning.state import plan_state
from wristmir_jax.learning.validation import best_step
from wristmir_jax.models import parameters
from wristmir_jax.models.dual_encoder import GLOBAL_LEVEL, REGION_LEVEL
from wristmir_jax.models.tokenizer import CaptionTokenizer

# Name of the level that is no region.
GLOBAL = "global"


class Embedder:
    """Encodes films, crops and captions with the averaged parameters of a run.

    Args:
        graph, params: of the model, as `models.parameters.split` gives them.
        info: the data set that the run was trained on.
        tokenizer: of the run.
        text_lengths: tokens of global and region captions.
        step: that the parameters were saved after.
        batch_size: rows a compiled call; more rows take several calls, fewer are padded.

    Attributes:
        params: as given.
        model_fingerprint: 16 hex digits that change with any parameter, the tokenizer or the
            input shapes; embeddings of different fingerprints must not be compared.
    """

    def __init__(
        self,
        graph: Any,
        params: parameters.Parameters,
        info: DatasetInfo,
        tokenizer: CaptionTokenizer,
        text_lengths: tuple[int, int],
        step: int,
        batch_size: int = 64,
    ):
        self.regions = info.regions
        self.image_size, self.crop_size = info.image_size, info.crop_size
        self.step = step
        self.model_fingerprint = _fingerprint(params, info, tokenizer)
        self._tokenizer = tokenizer
        self._text_lengths = text_lengths
        self._mesh = make_mesh()
        self._batch_size = -(-batch_size // self._mesh.size) * self._mesh.size
        self.params = params

        def embed_images(params: Any, image: Any, crops: Any, mirrored: Any) -> tuple[Any, Any]:
            model = parameters.merge(graph, params)
            B, R, C, _ = crops.shape
            crops_NxCxC = to_tower_frame(crops.reshape(B * R, C, C), jax.numpy.repeat(mirrored, R))
            return (
                model.encode_global(to_tower_frame(image, mirrored)),
                model.encode_regions(crops_NxCxC.reshape(B, R, C, C)),
            )

        def embed_text(level: int, region: int) -> Callable[[Any, Any], Any]:
            return jax.jit(
                lambda params, token: parameters.merge(graph, params).encode_text(
                    token, level, region
                )
            )

        self._embed_images = jax.jit(embed_images)
        self._embed_text = {GLOBAL: embed_text(GLOBAL_LEVEL, 0)} | {
            region: embed_text(REGION_LEVEL, position)
            for position, region in enumerate(info.regions)
        }

    def embed_images(
        self,
        image_BxSxS: np.ndarray,
        crops_BxRxCxC: np.ndarray,
        crop_present_BxR: np.ndarray,
        mirrored_B: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors of films and crops.

        Args:
            image_BxSxS: uint8, as acquired.
            crops_BxRxCxC: uint8, as acquired.
            crop_present_BxR: bool; the vector of an absent crop is 0.
            mirrored_B: bool, mirror the row (a right wrist).

        Returns:
            float32 (B, D) and (B, R, D).
        """
        global_BxD, region_BxRxD = self._in_batches(
            self._embed_images, image_BxSxS, crops_BxRxCxC, mirrored_B
        )
        return global_BxD, np.where(np.asarray(crop_present_BxR, bool)[..., None], region_BxRxD, 0)

    def embed_texts(self, texts: Sequence[str], level: str) -> np.ndarray:
        """Unit vectors float32 (N, D) of captions.

        Args:
            texts: captions.
            level: "global" or the name of a region.

        Raises:
            UserError: the run knows no such region.
        """
        if level != GLOBAL and level not in self.regions:
            known = ", ".join(self.regions) or "none"
            raise UserError(f"unknown region {level!r}: this model knows {known}")
        index = GLOBAL_LEVEL if level == GLOBAL else REGION_LEVEL
        token_NxL = self._tokenizer.encode(texts, self._text_lengths[index])
        return self._in_batches(self._embed_text[level], token_NxL)[0]

    def _in_batches(self, function: Any, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Call a compiled function on fixed-size batches, so that it is compiled once."""
        size = self._batch_size
        sharding = NamedSharding(self._mesh, BATCH_SPEC)
        chunks = []
        # An empty input still makes one call: its output has the right shape to be cut to 0 rows.
        for start in range(0, max(len(arrays[0]), 1), size):
            parts = [np.asarray(array[start : start + size]) for array in arrays]
            rows = len(parts[0])
            padded = [
                np.concatenate([part, np.zeros((size - rows, *part.shape[1:]), part.dtype)])
                for part in parts
            ]
            outputs = function(self.params, *jax.device_put(padded, sharding))
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            chunks.append(tuple(np.asarray(output)[:rows] for output in outputs))
        return tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True))


def load_embedder(workdir: epath.PathLike, batch_size: int = 64) -> Embedder:
    """The embedder of the best checkpoint of a run that was validated, else of its newest.

    Raises:
        UserError: no run or no checkpoint in `workdir`, or a checkpoint of another architecture.
    """
    workdir = epath.Path(workdir)
    config = workdirs.read_config(workdir)
    info = workdirs.read_dataset_info(workdir)
    tokenizer = workdirs.read_tokenizer(workdir)
    if not has_checkpoint(workdir):
        raise UserError(f"--workdir={workdir} has no checkpoint yet: train first")
    graph, plan, _ = plan_state(
        config,
        make_mesh(),
        image_size=info.image_size,
        crop_size=info.crop_size,
        num_regions=len(info.regions),
        vocab_size=tokenizer.vocab_size,
    )
    with Checkpoints(workdir) as checkpoints:
        best, newest = best_step(workdir), checkpoints.latest_step
        step = best if best in checkpoints.steps else newest
        assert step is not None
        params = checkpoints.restore(step, plan).average
    lengths = (config.model.global_text_length, config.model.region_text_length)
    return Embedder(graph, params, info, tokenizer, lengths, step, batch_size)


def _fingerprint(
    params: parameters.Parameters, info: DatasetInfo, tokenizer: CaptionTokenizer
) -> str:
    digest = hashlib.blake2b(digest_size=8)
    shapes = [info.image_size, info.crop_size, list(info.regions), tokenizer.to_json()]
    digest.update(json.dumps(shapes).encode())
    for name, value in sorted(params.items()):
        digest.update(name.encode())
        digest.update(np.asarray(value).tobytes())
    return digest.hexdigest()
