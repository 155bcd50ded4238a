"""FracAtlas (Abedeen et al., Scientific Data 2023): films of limbs with a table of what they show.

There are no reports, patients, sides or wrist regions. Whole-film captions are rendered from the
table, and titles say so. Near copies of a film take the place of a patient's films: they never
stand on both sides of a split.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax.data.labels import RecordLabels
from wristmir_jax.data.near_duplicates import near_duplicate_groups, perceptual_hash
from wristmir_jax.data.record import NO, YES
from wristmir_jax.data.sources import fields
from wristmir_jax.data.sources.base import ExamImage, Rejection, SourceInfo
from wristmir_jax.data.sources.fields import BadValue
from wristmir_jax.errors import UserError
from wristmir_jax.images.reading import BadImage, read_radiograph
from wristmir_jax.progress import with_progress
from wristmir_jax.workers import ordered_map

TABLE = "dataset.csv"
IMAGE_FOLDERS = ("images/Fractured", "images/Non_fractured")
_PARTS = ("hand", "leg", "hip", "shoulder")
_VIEWS = ("frontal", "lateral", "oblique")
COLUMNS = (
    "image_id", *_PARTS, "hardware", "multiscan", "fractured", "fracture_count", *_VIEWS
)  # fmt: skip

_PART_WORDS = {
    # The column stands for everything from the fingers to the upper arm.
    "hand": ("hand or arm", "upper extremity", "arm or hand"),
    "leg": ("leg", "lower extremity", "leg or foot"),
    "hip": ("hip", "hip joint", "hip region"),
    "shoulder": ("shoulder", "shoulder joint", "shoulder region"),
}
_VIEW_WORDS = {
    "frontal": ("frontal", "AP"),
    "lateral": ("lateral", "side"),
    "oblique": ("oblique", "angled"),
}
_FILM = ("Radiograph of the {part}", "X-ray of the {part}", "Film of the {part}")
_MULTISCAN = ("several exposures on one film", "multiple exposures", "more than one exposure")
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NORMAL = ("No fracture", "No fracture is seen", "Intact bones", "Negative for fracture")
_ONE = ("One fracture", "A fracture is seen", "There is a fracture", "A single fracture")
_MANY = ("{n} fractures", "{n} fractures are seen", "There are {n} fractures")
_HARDWARE = ("Orthopedic hardware", "Metal hardware in place", "Surgical hardware is seen")
_VIEW_CODES = {"frontal": "pa", "lateral": "lateral", "oblique": "oblique"}


@dataclass(frozen=True)
class FilmTable:
    """A row of the table.

    Attributes:
        parts: body parts on the film, of hand, leg, hip, shoulder.
        views: of frontal, lateral, oblique.
        fracture_count: 0 = no fracture.
    """

    parts: tuple[str, ...]
    views: tuple[str, ...]
    hardware: bool
    multiscan: bool
    fracture_count: int

    def caption(self, rng: np.random.Generator | None = None) -> str:
        """Canonical without `rng`: captions are equal where and only where rows are."""

        def pick(options: tuple[str, ...]) -> str:
            return options[0 if rng is None else int(rng.integers(len(options)))]

        parts = " and ".join(pick(_PART_WORDS[part]) for part in self.parts) or "limb"
        film = pick(_FILM).format(part=parts)
        if self.views:
            words = " and ".join(pick(_VIEW_WORDS[view]) for view in self.views)
            film += f", {words} view{'s' if len(self.views) > 1 else ''}"
        if self.multiscan:
            film += f", {pick(_MULTISCAN)}"
        sentences = [film, self._fractures(pick)]
        if self.hardware:
            sentences.append(pick(_HARDWARE))
        if rng is not None:
            sentences = [sentences[place] for place in rng.permutation(len(sentences))]
        return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)

    def _fractures(self, pick: Any) -> str:
        if self.fracture_count == 0:
            return pick(_NORMAL)
        if self.fracture_count == 1:
            return pick(_ONE)
        known = self.fracture_count < len(_COUNTS)
        number = _COUNTS[self.fracture_count] if known else str(self.fracture_count)
        return pick(_MANY).format(n=number)

    def render(
        self,
        regions: tuple[str, ...],
        age_years: float,
        num_phrasings: int,
        rng: np.random.Generator,
    ) -> RecordLabels:
        """As `data.labels.Labels.render`; there are no regions."""
        return RecordLabels(
            fracture=YES if self.fracture_count else NO,
            region_status=np.zeros(0, np.uint8),
            caption=self.caption(),
            caption_phrasings=[self.caption(rng) for _ in range(num_phrasings)],
            region_captions=[],
            region_caption_phrasings=[],
            findings_json="",
        )


class FracAtlasSource:
    """The public set's layout: `dataset.csv`, `images/Fractured`, `images/Non_fractured`.

    Raises:
        UserError: the table or the folders are missing.
    """

    def __init__(self, path: epath.PathLike):
        self._folder = epath.Path(path)
        self._files = {
            file.name: file
            for name in IMAGE_FOLDERS
            if (self._folder / name).is_dir()
            for file in sorted((self._folder / name).iterdir())
        }
        if not self._files:
            raise UserError(
                f"{self._folder} holds no films in {' or '.join(IMAGE_FOLDERS)}: check --input"
            )
        self._rows = list(fields.read_table(self._folder / TABLE, COLUMNS))
        self._unlisted = sorted(
            set(self._files) - {row["image_id"] for row in self._rows if isinstance(row, dict)}
        )
        self.info = SourceInfo(
            "fracatlas",
            "FracAtlas (real films, captions rendered from a table)",
            False,
            (),
            len(self._rows) + len(self._unlisted),
        )

    def rows(self, num_workers: int, progress: bool) -> Iterator[ExamImage | Rejection]:
        groups = self._groups(num_workers, progress)
        missing = 0
        for number, row in enumerate(self._rows, 1):
            if isinstance(row, BadValue):
                yield Rejection(row.reason, row=number)
                continue
            name = fields.text(row["image_id"])
            if name not in self._files:
                missing += 1
                continue
            group = groups[name]
            if isinstance(group, Rejection):
                yield group
                continue
            try:
                yield self._image(name, group, row)
            except BadValue as error:
                yield Rejection(error.reason, name, number, error.detail)
        if missing:
            yield Rejection("no image file", count=missing)
        for name in self._unlisted:
            yield Rejection(f"not in {TABLE}", name)

    def _groups(self, num_workers: int, progress: bool) -> dict[str, str | Rejection]:
        """The group of near copies of every film, or why it cannot be read."""
        files = [(name, str(file)) for name, file in sorted(self._files.items())]
        hashes = list(
            with_progress(
                ordered_map(_hash_film, files, num_workers),
                "find near copies",
                total=len(files),
                show=progress,
            )
        )
        good = [place for place, value in enumerate(hashes) if isinstance(value, int)]
        labels = near_duplicate_groups(np.array([hashes[place] for place in good], np.uint64))
        result: dict[str, str | Rejection] = {
            files[place][0]: value
            for place, value in enumerate(hashes)
            if isinstance(value, Rejection)
        }
        for place, label in zip(good, labels, strict=True):
            first = files[good[int(label)]][0]
            result[files[place][0]] = f"near_copies_of_{first.rsplit('.', 1)[0]}"
        self.info.notes = [
            f"{len(good)} readable films fall into {len(np.unique(labels))} groups of near copies"
        ]
        return result

    def _image(self, name: str, group: str, row: dict[str, Any]) -> ExamImage:
        flags = {
            column: fields.flag(row[column], column) == YES
            for column in (*_PARTS, *_VIEWS, "hardware", "multiscan", "fractured")
        }
        count = fields.text(row["fracture_count"])
        if not count.isdecimal() or (int(count) > 0) != flags["fractured"]:
            raise BadValue("fracture_count contradicts fractured", count)
        views = tuple(view for view in _VIEWS if flags[view])
        table = FilmTable(
            parts=tuple(part for part in _PARTS if flags[part]),
            views=views,
            hardware=flags["hardware"],
            multiscan=flags["multiscan"],
            fracture_count=int(count),
        )
        stem = name.rsplit(".", 1)[0]
        return ExamImage(
            image_id=stem,
            exam_id=stem,
            patient_id=group,
            film=str(self._files[name]),
            labels=table,
            view=_VIEW_CODES[views[0]] if len(views) == 1 else "unknown",
            fracture_visible=YES if flags["fractured"] else NO,
            hardware=YES if flags["hardware"] else NO,
        )


def _hash_film(item: tuple[str, str]) -> int | Rejection:
    name, path = item
    try:
        return perceptual_hash(read_radiograph(path).pixels)
    except BadImage as error:
        return Rejection(error.reason, name, detail=error.detail)
