"""Opens a localiser by name."""

import functools

from etils import epath

from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import PACKAGE
from wristmir_jax.learning.localizer_run import file_or_run
from wristmir_jax.localizing.localizer import Localizer


@functools.lru_cache(maxsize=2)
def open_localizer(name: str) -> Localizer:
    """A localiser; the last two stay open.

    Args:
        name: "package" for the weights of this package, a file, or the folder of a run.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if name == PACKAGE:
        return Localizer.load()
    if not epath.Path(name).exists():
        raise UserError(f"--localizer={name}: no such file or folder")
    return Localizer(file_or_run(name))
