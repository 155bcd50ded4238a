"""Rules that say which tensors of a file make up which parameter of ours; read in both ways."""

import dataclasses
from collections.abc import Mapping

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A parameter and the tensors that hold it.

    Attributes:
        ours: name of the parameter, or a name that only a fold knows.
        theirs: names in the file; several are joined along the last axis of ours. `{layer}` stands
            for the layers, which ours stacks along the first axis.
        transposed: PyTorch holds the weights of linear maps as (out, in), ours are (in, out).
    """

    ours: str
    theirs: tuple[str, ...]
    transposed: bool = False

    def names(self, depth: int) -> list[str]:
        """All names in the file."""
        return [name for layer in self._layers(depth) for name in layer]

    def read(self, tensors: Mapping[str, np.ndarray], depth: int) -> np.ndarray:
        """Our parameter."""
        layers = [
            np.concatenate([self._turned(tensors[name]) for name in names], axis=-1)
            if len(names) > 1
            else self._turned(tensors[names[0]])
            for names in self._layers(depth)
        ]
        return np.stack(layers) if self._stacked else layers[0]

    def write(self, value: np.ndarray, depth: int) -> Arrays:
        """The tensors by their names; inverse of `read`."""
        tensors = {}
        values = value if self._stacked else value[None]
        for names, layer in zip(self._layers(depth), values, strict=True):
            parts = np.split(layer, len(names), axis=-1) if len(names) > 1 else [layer]
            for name, part in zip(names, parts, strict=True):
                tensors[name] = np.ascontiguousarray(self._turned(part))
        return tensors

    @property
    def _stacked(self) -> bool:
        return "{layer}" in self.theirs[0]

    def _layers(self, depth: int) -> list[list[str]]:
        layers = range(depth) if self._stacked else [0]
        return [[name.replace("{layer}", str(layer)) for name in self.theirs] for layer in layers]

    def _turned(self, tensor: np.ndarray) -> np.ndarray:
        return tensor.T if self.transposed else tensor


def table(ours: str, theirs: str) -> tuple[Rule, ...]:
    """An array that is the same in both."""
    return (Rule(ours, (theirs,)),)


def linear(ours: str, *theirs: str, bias: bool = True) -> tuple[Rule, ...]:
    """A linear map; several of theirs are one of ours, side by side."""
    kernel = Rule(f"{ours}/kernel", tuple(f"{name}.weight" for name in theirs), transposed=True)
    if not bias:
        return (kernel,)
    return (kernel, Rule(f"{ours}/bias", tuple(f"{name}.bias" for name in theirs)))


def norm(ours: str, theirs: str) -> tuple[Rule, ...]:
    """A layer normalisation."""
    return (Rule(f"{ours}/scale", (f"{theirs}.weight",)), Rule(f"{ours}/bias", (f"{theirs}.bias",)))


def convolution(ours: str, theirs: str, bias: bool = True) -> tuple[Rule, ...]:
    """A convolution over patches, kernel (out, channels, height, width)."""
    kernel = Rule(f"{ours}/kernel", (f"{theirs}.weight",))
    return (kernel, Rule(f"{ours}/bias", (f"{theirs}.bias",))) if bias else (kernel,)
