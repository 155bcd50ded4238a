"""Folders that are either whole or not there: written aside, then renamed into place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from etils import epath

from wristmir_jax.errors import UserError


@contextmanager
def write_aside(output: epath.PathLike, marker: str) -> Iterator[epath.Path]:
    """A new folder `<output>.partial-<pid>` to write into, renamed to `output` on leaving.

    An earlier `output` of the same kind is replaced; on an exception nothing of `output` changes.

    Args:
        output: the folder to write.
        marker: name of the file that tells a folder of this kind; it is written by the caller.

    Raises:
        UserError: `output` is something else that must not be replaced.
    """
    output = epath.Path(os.fspath(output).rstrip("/"))
    _refuse_foreign(output, marker)
    aside = output.parent / f"{output.name}.partial-{os.getpid()}"
    if aside.exists():
        aside.rmtree()
    aside.mkdir(parents=True)
    try:
        yield aside
        _refuse_foreign(output, marker)
    except BaseException:
        aside.rmtree(missing_ok=True)
        raise
    if output.exists():
        replaced = output.parent / f"{output.name}.replaced-{os.getpid()}"
        output.rename(replaced)
        aside.rename(output)
        replaced.rmtree()
    else:
        aside.rename(output)


def _refuse_foreign(output: epath.Path, marker: str) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file: choose another output folder")
    if any(output.iterdir()) and not (output / marker).exists():
        raise UserError(
            f"{output} is not empty and holds no {marker}, so it is not replaced: "
            "choose another output folder"
        )
