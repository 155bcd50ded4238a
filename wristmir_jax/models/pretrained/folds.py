"""What other architectures have beyond ours, folded into parameters of ours; exactly, both ways.

Each fold changes a dict of arrays by name in place: `fold` from the names of the rules to ours,
`unfold` back. `like` are the arrays of the file that is written anew, before they were folded:
they give the shapes.
"""

import dataclasses
from typing import Protocol

import numpy as np

from wristmir_jax.models.dual_encoder import PIXEL_MEAN, PIXEL_SCALE
from wristmir_jax.models.pretrained.rules import Arrays


class Fold(Protocol):
    """Something that is part of another parameter in our modules."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names without which there is nothing to fold."""
        ...

    def fold(self, arrays: Arrays) -> None: ...

    def unfold(self, arrays: Arrays, like: Arrays) -> None: ...


@dataclasses.dataclass(frozen=True)
class PrefixTokens:
    """Tokens before those of the patches, each with its row of the position table added.

    Attributes:
        tokens: names in the order of the sequence; none where the table is that of patches.
        positioned: so many tokens have rows in the position table, before those of the patches.
    """

    tokens: tuple[str, ...]
    positioned: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("position", *self.tokens)

    def fold(self, arrays: Arrays) -> None:
        position_PxD = _rows(arrays["position"])
        arrays["position"] = position_PxD[self.positioned :]
        if self.tokens:
            prefix = np.concatenate([_rows(arrays.pop(token)) for token in self.tokens])
            prefix[: self.positioned] += position_PxD[: self.positioned]
            arrays["prefix"] = prefix

    def unfold(self, arrays: Arrays, like: Arrays) -> None:
        prefix = arrays.pop("prefix", arrays["position"][:0])
        position_PxD = np.concatenate([prefix[: self.positioned], arrays["position"]])
        arrays["position"] = _leading_ones(position_PxD, like["position"])
        start = 0
        for token in self.tokens:
            end = start + len(_rows(like[token]))
            rows = prefix[start:end].copy()
            # These lie in the position table now.
            rows[: max(self.positioned - start, 0)] = 0
            arrays[token] = rows.reshape(like[token].shape)
            start = end


@dataclasses.dataclass(frozen=True)
class GreyPatches:
    """The patches' convolution of standardised colours, as a linear map of our grey pixels.

    Exact for images whose channels are equal. Ours are (x - PIXEL_MEAN) / PIXEL_SCALE of pixels in
    [0, 1], theirs (x - mean) / std by channel.

    Attributes:
        mean, std: by channel.
        bias: whether the original has one; else ours moves into the position table on the way back.
    """

    mean: np.ndarray
    std: np.ndarray
    bias: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("patch/kernel", "patch/bias") if self.bias else ("patch/kernel",)

    def fold(self, arrays: Arrays) -> None:
        kernel_DxCxP = _flat_patches(arrays["patch/kernel"])
        grey_DxP = np.einsum("dcp,c->dp", kernel_DxCxP, PIXEL_SCALE / self._std(kernel_DxCxP))
        bias_D = arrays.get("patch/bias", np.float32(0)) + self._offset(kernel_DxCxP)
        arrays["patch/kernel"] = grey_DxP.T.astype(np.float32)
        arrays["patch/bias"] = bias_D.astype(np.float32)

    def unfold(self, arrays: Arrays, like: Arrays) -> None:
        like_DxCxP = _flat_patches(like["patch/kernel"])
        share_C = self._std(like_DxCxP) / (PIXEL_SCALE * like_DxCxP.shape[1])
        kernel_DxCxP = np.einsum("pd,c->dcp", arrays["patch/kernel"], share_C)
        bias_D = (arrays.pop("patch/bias") - self._offset(kernel_DxCxP)).astype(np.float32)
        arrays["patch/kernel"] = kernel_DxCxP.reshape(like["patch/kernel"].shape).astype(np.float32)
        if self.bias:
            arrays["patch/bias"] = bias_D
        else:
            arrays["position"] = arrays["position"] + bias_D

    def _std(self, kernel_DxCxP: np.ndarray) -> np.ndarray:
        return self.std[: kernel_DxCxP.shape[1]].astype(np.float64)

    def _offset(self, kernel_DxCxP: np.ndarray) -> np.ndarray:
        """What the map of a patch of pixels PIXEL_MEAN gives without the bias."""
        mean_C = self.mean[: kernel_DxCxP.shape[1]].astype(np.float64)
        at_mean_C = (PIXEL_MEAN - mean_C) / self._std(kernel_DxCxP)
        return np.einsum("dcp,c->d", kernel_DxCxP, at_mean_C)


@dataclasses.dataclass(frozen=True)
class LayerScale:
    """A learnt factor of each feature that a layer adds (Touvron et al. 2021, arXiv 2103.17239).

    Attributes:
        name: of the factors (layers, width).
        target: the linear map before them.
    """

    name: str
    target: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.name, f"{self.target}/kernel", f"{self.target}/bias")

    def fold(self, arrays: Arrays) -> None:
        factor_LxD = arrays.pop(self.name)
        arrays[f"{self.target}/kernel"] = arrays[f"{self.target}/kernel"] * factor_LxD[:, None]
        arrays[f"{self.target}/bias"] = arrays[f"{self.target}/bias"] * factor_LxD

    def unfold(self, arrays: Arrays, like: Arrays) -> None:
        arrays[self.name] = np.ones_like(like[self.name])


@dataclasses.dataclass(frozen=True)
class TokenTypes:
    """BERT's embedding of the first or second text: all of ours is the first."""

    inputs: tuple[str, ...] = ("token_type", "position")

    def fold(self, arrays: Arrays) -> None:
        arrays["position"] = arrays["position"] + arrays.pop("token_type")[0]

    def unfold(self, arrays: Arrays, like: Arrays) -> None:
        # The first is in the positions; the others keep their distance to it.
        arrays["token_type"] = like["token_type"] - like["token_type"][0]


@dataclasses.dataclass(frozen=True)
class PoolingQuery:
    """Of one fused projection of the attention pooling: query apart from keys and values."""

    inputs: tuple[str, ...] = ("pooling/qkv/kernel", "pooling/qkv/bias")

    def fold(self, arrays: Arrays) -> None:
        for part in ("kernel", "bias"):
            q, k, v = np.split(arrays.pop(f"pooling/qkv/{part}"), 3, axis=-1)
            arrays[f"pooling/q/{part}"] = q
            arrays[f"pooling/kv/{part}"] = np.concatenate([k, v], axis=-1)

    def unfold(self, arrays: Arrays, like: Arrays) -> None:
        del like
        for part in ("kernel", "bias"):
            q, kv = (arrays.pop(f"pooling/{name}/{part}") for name in ("q", "kv"))
            arrays[f"pooling/qkv/{part}"] = np.concatenate([q, kv], axis=-1)


@dataclasses.dataclass(frozen=True)
class Reshaped:
    """An array of which only leading axes of one row differ."""

    name: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.name,)

    def fold(self, arrays: Arrays) -> None:
        arrays[self.name] = _rows(arrays[self.name])

    def unfold(self, arrays: Arrays, like: Arrays) -> None:
        arrays[self.name] = _leading_ones(arrays[self.name], like[self.name])


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])


def _leading_ones(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    return rows.reshape((1,) * (like.ndim - rows.ndim) + rows.shape)


def _flat_patches(kernel_DxCxHxW: np.ndarray) -> np.ndarray:
    return kernel_DxCxHxW.reshape(*kernel_DxCxHxW.shape[:2], -1).astype(np.float64)
