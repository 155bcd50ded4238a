"""Localises films in files: reads them, asks the localiser, writes a line of boxes for each."""

import collections
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.sources.boxes import box_json
from wristmir_jax.data.sources.fields import BadValue, read_table
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import SmallFilm, boxes_on_film
from wristmir_jax.images.reading import BadImage, read_radiograph
from wristmir_jax.localizing.localizer import Localizer, Located
from wristmir_jax.localizing.preview import write_preview
from wristmir_jax.progress import with_progress
from wristmir_jax.workers import ordered_map

SUFFIXES = (".png", ".jpg", ".jpeg")
_BATCH = 32


@dataclass
class Account:
    """What became of the films.

    Attributes:
        read: all of them. taken_up: of these, found in what an earlier run had left.
        found: by region. rejected: by reason. nothing: films on which no region was found.
    """

    read: int = 0
    taken_up: int = 0
    nothing: int = 0
    found: collections.Counter[str] = field(default_factory=collections.Counter)
    rejected: collections.Counter[str] = field(default_factory=collections.Counter)

    def lines(self) -> list[str]:
        located = self.read - self.rejected.total()
        lines = [
            f"{name}: {self.found[name]} found, {located - self.found[name]} not"
            for name in REGION_NAMES
        ]
        if self.nothing:
            lines.append(f"no region at all on {self.nothing} radiographs")
        lines += [f"rejected {count}: {reason}" for reason, count in self.rejected.most_common()]
        taken_up = f"  of an earlier run {self.taken_up}" if self.taken_up else ""
        return [
            *lines,
            f"read {self.read}  written {located}  rejected {self.rejected.total()}{taken_up}",
        ]


def localize(
    films: epath.PathLike,
    output: epath.PathLike,
    localizer: Localizer,
    *,
    preview: epath.PathLike | None = None,
    num_workers: int = 0,
    progress: bool = True,
) -> Account:
    """Write the boxes of all films; what cannot be read goes to `<output>.rejected.jsonl`.

    A run that was cut off is taken up again by the same call: what was done lies in
    `<output>.partial`.

    Args:
        films: one PNG or JPEG; a folder of them, searched with what it contains; or a manifest (CSV
            or JSONL) with the column `image_path`, relative to its folder.
        output: JSONL, a line a film in the order of their names: `image_path`, `boxes` (null where
            not found), `confidence`, `axis_degrees`, `view`, `view_confidence`, `laterality`,
            `laterality_confidence`.
        localizer: to ask.
        preview: folder for a picture of each film with its boxes; None for none.
        num_workers: processes that decode films.
        progress: whether to show progress on stderr.

    Raises:
        UserError: there are no films, or nothing can be written.
    """
    output = epath.Path(output)
    if output.is_dir() or not output.parent.exists():
        raise UserError(f"--output={output}: give a file in a folder that exists")
    folder, names = films_in(epath.Path(films))
    done = _Done(output, localizer.fingerprint)
    account = Account(read=len(names), taken_up=sum(name in done.lines for name in names))
    left = [name for name in names if name not in done.lines or preview is not None]
    small = ordered_map(_Read(folder), left, num_workers)
    with done:
        for name, film in with_progress(
            _located(small, localizer), "localize", len(left), progress
        ):
            if isinstance(film, dict):
                done.add(name, film)
                continue
            picture, boxes_Rx4, located = film
            done.add(name, _line(name, boxes_Rx4, located))
            if preview is not None:
                write_preview(epath.Path(preview), name, picture, located)
    lines = [done.lines[name] for name in names]
    rejected = [line for line in lines if "reason" in line]
    kept = [line for line in lines if "reason" not in line]
    _write(output.parent / f"{output.name}.rejected.jsonl", rejected)
    _write(output, kept)
    done.remove()
    account.rejected.update(line["reason"] for line in rejected)
    account.nothing = sum(not any(line["boxes"].values()) for line in kept)
    account.found.update(name for line in kept for name, box in line["boxes"].items() if box)
    return account


def films_in(films: epath.Path) -> tuple[epath.Path, list[str]]:
    """Folder of the films, and their paths in it, each once.

    Args:
        films: one film, a folder of them, or a manifest, see `localize`.

    Raises:
        UserError: there are none.
    """
    if films.is_dir():
        names = sorted(
            os.path.relpath(os.path.join(parent, name), films)
            for parent, _, inside in os.walk(films)
            for name in inside
            if name.lower().endswith(SUFFIXES)
        )
        if not names:
            raise UserError(f"--input={films} holds no {', '.join(SUFFIXES)} file")
        return films, names
    if not films.exists():
        raise UserError(f"--input={films} does not exist")
    if films.suffix.lower() in SUFFIXES:
        return films.parent, [films.name]
    rows = list(read_table(films, ("image_path",)))
    names = ["" if isinstance(row, BadValue) else str(row.get("image_path") or "") for row in rows]
    if not names or not all(names):
        row = names.index("") + 1 if names else 1
        raise UserError(f"--input={films}, row {row}: image_path is missing")
    return films.parent, list(dict.fromkeys(names))


@dataclass(frozen=True)
class _Read:
    """Reads a film in a worker; a line of reason and detail where it cannot be read."""

    folder: epath.Path

    def __call__(self, name: str) -> tuple[str, SmallFilm | dict[str, Any]]:
        try:
            return name, SmallFilm.of(read_radiograph(self.folder / name).pixels)
        except BadImage as error:
            return name, {"image_path": name, "reason": error.reason, "detail": error.detail}


_Answer = dict[str, Any] | tuple[SmallFilm, np.ndarray, Located]


def _located(
    films: Iterator[tuple[str, SmallFilm | dict[str, Any]]], localizer: Localizer
) -> Iterator[tuple[str, _Answer]]:
    waiting: list[tuple[str, SmallFilm]] = []

    def answers() -> Iterator[tuple[str, _Answer]]:
        if not waiting:
            return
        found = localizer.locate([film.pixels for _, film in waiting])
        for (name, film), located in zip(waiting, found, strict=True):
            yield name, (film, boxes_on_film(located, film), located)
        waiting.clear()

    for name, film in films:
        if isinstance(film, dict):
            yield name, film
            continue
        waiting.append((name, film))
        if len(waiting) == _BATCH:
            yield from answers()
    yield from answers()


def _line(name: str, boxes_Rx4: np.ndarray, located: Located) -> dict[str, Any]:
    return {
        "image_path": name,
        "boxes": {
            region: box_json(box, 1) for region, box in zip(REGION_NAMES, boxes_Rx4, strict=True)
        },
        "confidence": {
            region: round(float(value), 3)
            for region, value in zip(REGION_NAMES, located.confidence, strict=True)
        },
        "axis_degrees": None
        if math.isnan(located.axis_degrees)
        else round(located.axis_degrees, 1),
        "view": located.view,
        "view_confidence": round(located.view_confidence, 3),
        "laterality": located.laterality,
        "laterality_confidence": round(located.laterality_confidence, 3),
    }


class _Done:
    """Lines that are finished, kept in a file as they come.

    Args:
        output: beside which the file lies.
        fingerprint: of the localiser; lines of another are dropped.
    """

    def __init__(self, output: epath.Path, fingerprint: str):
        self._path = output.parent / f"{output.name}.partial"
        self._fingerprint = fingerprint
        self.lines: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            self.lines = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        found = {}
        for number, text in enumerate(self._path.read_text().splitlines()):
            # The last line may be cut off.
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if number == 0:
                if line.get("localizer") != self._fingerprint:
                    return {}
                continue
            if "image_path" in line:
                found[line["image_path"]] = line
        return found

    def __enter__(self) -> "_Done":
        # Written anew, so that a line that was cut off does not stand before the next.
        self._file = self._path.open("w")
        self._file.write(json.dumps({"localizer": self._fingerprint}) + "\n")
        self._file.writelines(json.dumps(line) + "\n" for line in self.lines.values())
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, name: str, line: dict[str, Any]) -> None:
        if name not in self.lines:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        self.lines[name] = line

    def remove(self) -> None:
        self._path.unlink()


def _write(path: epath.Path, lines: list[dict[str, Any]]) -> None:
    aside = path.parent / f"{path.name}.partial-{os.getpid()}"
    aside.write_text("".join(json.dumps(line) + "\n" for line in lines))
    aside.replace(path)
