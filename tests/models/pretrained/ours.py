"""Our towers with parameters that were loaded."""

import functools

import jax
import numpy as np
from flax import nnx

from wristmir_jax.models import parameters
from wristmir_jax.models.dual_encoder import PIXEL_MEAN, PIXEL_SCALE
from wristmir_jax.models.stack import Execution
from wristmir_jax.models.text import TextTower
from wristmir_jax.models.vision import ViT


def image_features(arrays, spec, image_BxHxW: np.ndarray) -> np.ndarray:
    """Features of grey pixels in [0, 1]; every parameter but `kind` must be given."""
    pixels = (image_BxHxW - PIXEL_MEAN) / PIXEL_SCALE
    no_kind = {"kind": np.zeros((1, spec.width), np.float32)}
    features = _compiled(ViT, spec, image_BxHxW.shape[-1])
    return np.asarray(features(no_kind | arrays, pixels, np.zeros(len(pixels), np.int32)))


def text_features(arrays, spec, token_TxL: np.ndarray) -> np.ndarray:
    """Features of token ids; every parameter must be given."""
    sizes = len(arrays["token/embedding"]), len(arrays["position"])
    return np.asarray(_compiled(TextTower, spec, *sizes)(arrays, token_TxL.astype(np.int32)))


@functools.cache
def _compiled(tower, spec, *sizes):
    abstract = nnx.eval_shape(lambda: tower(spec, *sizes, execution=Execution(), rngs=nnx.Rngs(0)))
    graph, shapes = nnx.split(abstract)
    names = {"/".join(map(str, path)) for path, _ in nnx.to_flat_state(shapes)}

    @jax.jit
    def features(arrays, *inputs):
        return parameters.merge(graph, arrays)(*inputs)

    def checked(arrays, *inputs):
        assert arrays.keys() == names
        with jax.default_matmul_precision("highest"):
            return features(arrays, *inputs)

    return checked


def colours(image_BxHxW: np.ndarray, mean, std) -> np.ndarray:
    """The same pixels for the originals: three equal channels, standardised."""
    image_Bx3xHxW = np.repeat(image_BxHxW[:, None], 3, axis=1)
    return (image_Bx3xHxW - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
