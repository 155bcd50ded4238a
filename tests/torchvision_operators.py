"""Lets libraries import torchvision beside a PyTorch that its binary was not built for."""

import functools
import importlib.util
import re
from pathlib import Path

import torch

# It lives as long as the operators.
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


@functools.cache
def define_torchvision_operators() -> None:
    """Call it before the first import of transformers' models, timm or open_clip.

    The import of torchvision registers shapes of two operators of its binary. Where that cannot be
    loaded (a CPU build of PyTorch beside the wheel for CUDA) the operators are declared here;
    nothing calls them. A stand-in for the module would have to imitate what three libraries import
    from it.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return
    folder = Path(spec.submodule_search_locations[0])
    try:
        for binary in folder.glob("_C*.so"):
            torch.ops.load_library(binary)
    except OSError:
        text = (folder / "_meta_registrations.py").read_text()
        for name in set(re.findall(r'"torchvision::(\w+)"', text)):
            _LIBRARY.define(f"{name}(Tensor a) -> Tensor")
