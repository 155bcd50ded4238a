"""Reads values of input tables: what people write for views, sides, sexes, ages and flags."""

import csv
import json
import math
from collections.abc import Iterator
from typing import Any

from etils import epath

from wristmir_jax import anatomy
from wristmir_jax.data.record import NO, UNKNOWN, YES
from wristmir_jax.errors import UserError
from wristmir_jax.json_lines import open_text

_SYNONYMS = {
    "view": {"ap": "pa", "frontal": "pa", "dorsopalmar": "pa", "lat": "lateral", "obl": "oblique"},
    "laterality": {"l": "left", "r": "right"},
    "sex": {"f": "female", "m": "male", "o": "unknown", "other": "unknown"},
}
_NAMES = {"view": anatomy.VIEWS, "laterality": anatomy.SIDES, "sex": anatomy.SEXES}
_FLAGS = {
    "": UNKNOWN,
    "unknown": UNKNOWN,
    "1": YES,
    "yes": YES,
    "true": YES,
    "0": NO,
    "no": NO,
    "false": NO,
}
_MAX_AGE_YEARS = 120.0


class BadValue(ValueError):
    """A value of a row that cannot be read; the row is set aside.

    Attributes:
        reason: a fixed phrase, by which rejections are counted.
        detail: the value where it is harmless, else "".
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def text(value: Any) -> str:
    """A cell as text; "" for none."""
    return "" if value is None else str(value).strip()


def required(value: Any, what: str) -> str:
    """A cell that must not be empty.

    Raises:
        BadValue: it is.
    """
    cell = text(value)
    if not cell:
        raise BadValue(f"{what} is empty")
    return cell


def name(value: Any, what: str) -> str:
    """A view, laterality or sex as `anatomy` names it; empty is unknown.

    Raises:
        BadValue: it is none that we know.
    """
    cell = text(value).lower() or "unknown"
    cell = _SYNONYMS[what].get(cell, cell)
    if cell not in _NAMES[what]:
        raise BadValue(f"unknown {what}", cell)
    return cell


def age(value: Any) -> float:
    """Years; NaN where empty.

    Raises:
        BadValue: it is no number from 0 to 120.
    """
    return _number(value, "age_years", _MAX_AGE_YEARS, zero=True)


def spacing(value: Any) -> float:
    """Millimetres a pixel; NaN where empty.

    Raises:
        BadValue: it is no positive number.
    """
    return _number(value, "pixel_spacing_mm", math.inf, zero=False)


def flag(value: Any, what: str) -> int:
    """YES, NO or UNKNOWN (empty).

    Raises:
        BadValue: it is neither 1, yes, true, 0, no, false, unknown nor empty.
    """
    cell = text(value).lower()
    if cell not in _FLAGS:
        raise BadValue(f"{what} is neither yes nor no", cell)
    return _FLAGS[cell]


def read_table(path: epath.Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any] | BadValue]:
    """The rows of a CSV (UTF-8, BOM or not) or JSONL table, one by one.

    Args:
        path: its suffix tells the kind.
        columns: that must be there.

    Yields:
        The row, or a `BadValue` where a line of JSONL is no JSON object.

    Raises:
        UserError: there is no such file, a column is missing, or the file is no UTF-8 text.
    """
    try:
        with open_text(path) as file:
            rows = _jsonl(file) if path.suffix == ".jsonl" else _csv(file, path)
            checked = False
            for row in rows:
                if not checked and isinstance(row, dict):
                    _require(columns, row, path)
                    checked = True
                yield row
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check --input") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV table ({error})") from None


def _csv(file: Any, path: epath.Path) -> Iterator[dict[str, Any] | BadValue]:
    reader = csv.DictReader(file)
    if not reader.fieldnames:
        raise UserError(f"{path} is empty: it needs a header and a row an image")
    for row in reader:
        if None in row or None in row.values():
            # More or fewer cells than the header has: columns have slipped.
            yield BadValue("row has another number of cells than the header")
        else:
            yield row


def _jsonl(file: Any) -> Iterator[dict[str, Any] | BadValue]:
    for line in file:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        yield row if isinstance(row, dict) else BadValue("line is not a JSON object")


def _require(columns: tuple[str, ...], row: dict[str, Any], path: epath.Path) -> None:
    missing = [column for column in columns if column not in row]
    if missing:
        raise UserError(
            f"{path}: column {', '.join(repr(column) for column in missing)} is missing; "
            f"needed are {', '.join(columns)}"
        )


def _number(value: Any, what: str, limit: float, zero: bool) -> float:
    cell = text(value)
    if not cell:
        return math.nan
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not (0 <= number <= limit) or (number == 0 and not zero):
        raise BadValue(f"{what} is not a number in range", cell)
    return number
