"""A localiser in one safetensors file: parameters, what the network is made of, its calibration."""

import dataclasses
import json
import os
from importlib import resources

import numpy as np
import safetensors.numpy
from etils import epath
from safetensors import SafetensorError

from wristmir_jax import anatomy
from wristmir_jax.errors import UserError
from wristmir_jax.models.localizer import LocalizerSpec

PACKAGE_FILE = "localizer.safetensors"
# What a region's confidence is computed from, see `localizing.localizer.evidence`.
NUM_EVIDENCE = 5
_KEY = "wristmir_jax"


@dataclasses.dataclass(frozen=True)
class LocalizerFile:
    """What the file holds.

    Attributes:
        spec: of the network.
        regions: R names, in the order of the network's outputs.
        parameters: float32, by name.
        calibration: float64 (R, 1 + NUM_EVIDENCE), intercept and weights of a logistic regression
            (Platt 1999) from the evidence to the chance that the region is there and its box right;
            None where it was not calibrated.
        about: how it was trained, for a person.
    """

    spec: LocalizerSpec
    regions: tuple[str, ...]
    parameters: dict[str, np.ndarray]
    calibration: np.ndarray | None = None
    about: str = ""


def write_localizer(file: LocalizerFile, path: epath.PathLike) -> None:
    """Write aside, then rename; parameters are stored in float16, which halves the file.

    Raises:
        UserError: the folder of `path` is missing.
    """
    path = epath.Path(path)
    if not path.parent.exists():
        raise UserError(f"{path}: no such folder {path.parent}")
    settings = {
        "spec": dataclasses.asdict(file.spec),
        "regions": file.regions,
        "calibration": None if file.calibration is None else file.calibration.tolist(),
        "about": file.about,
    }
    halves = {name: value.astype(np.float16) for name, value in sorted(file.parameters.items())}
    data = safetensors.numpy.save(halves, {_KEY: json.dumps(settings, sort_keys=True)})
    aside = path.parent / f"{path.name}.partial-{os.getpid()}"
    aside.write_bytes(data)
    aside.replace(path)


def read_localizer(path: epath.PathLike | None = None) -> LocalizerFile:
    """Read a file that `write_localizer` wrote; None reads the package's own.

    Raises:
        UserError: there is none, it is damaged, or it finds other regions than `anatomy` has.
    """
    file = (
        epath.Path(path)
        if path is not None
        else epath.Path(str(resources.files("wristmir_jax.models").joinpath(PACKAGE_FILE)))
    )
    if not file.exists() or file.is_dir():
        raise UserError(f"{file}: no such file of a localiser")
    data = file.read_bytes()
    try:
        parameters = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        settings = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
        spec = settings["spec"]
        shape = LocalizerSpec(
            spec["size"], tuple(spec["widths"]), tuple(spec["blocks"]), spec["joint"],
            spec["num_regions"],
        )  # fmt: skip
        calibration = settings["calibration"]
        found = LocalizerFile(
            shape,
            tuple(settings["regions"]),
            {name: value.astype(np.float32) for name, value in parameters.items()},
            None if calibration is None else np.array(calibration, np.float64),
            settings["about"],
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file}: is no localiser, or damaged ({type(error).__name__}): write it with "
            "tools/export_localizer.py"
        ) from None
    if found.regions != anatomy.REGION_NAMES:
        raise UserError(
            f"{file}: finds {', '.join(found.regions)}; this package has the regions "
            f"{', '.join(anatomy.REGION_NAMES)}"
        )
    return found
