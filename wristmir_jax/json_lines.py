"""JSONL files that our commands write and read."""

import io
import json
from collections.abc import Iterator
from typing import Any

from etils import epath

from wristmir_jax.errors import UserError


def json_lines(path: epath.Path, flag: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file that one of our commands wrote, with their line numbers.

    Args:
        path: of the file.
        flag: that named it, for messages.

    Raises:
        UserError: there is no such file, or a line is no JSON object.
    """
    for number, line in json_objects(path, flag):
        if line is None:
            raise UserError(f"{path}, line {number}: not a JSON object")
        yield number, line


def json_objects(path: epath.Path, flag: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Likewise, of a file that others wrote: None for a line that is no JSON object.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    try:
        with open_text(path) as file:
            for number, row in enumerate(file, 1):
                if not row.strip():
                    continue
                try:
                    line = json.loads(row)
                except (ValueError, RecursionError):
                    line = None
                yield number, line if isinstance(line, dict) else None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check --{flag}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: check --{flag}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: check --{flag}") from None


def open_text(path: epath.Path) -> io.TextIOWrapper:
    """UTF-8 text, a byte order mark skipped, line ends as they are."""
    # epath takes neither an encoding nor newline.
    return io.TextIOWrapper(path.open("rb"), encoding="utf-8-sig", newline="")
