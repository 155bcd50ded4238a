"""Asks a localiser for the boxes of a source's films that come without."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from wristmir_jax.data.sources.base import ExamImage, Rejection, Source
from wristmir_jax.images.localizing import (
    NONE,
    PRIOR,
    FilmLocalizer,
    SmallFilm,
    check_localizer,
    locate,
    open_localizer,
    record_of,
    without_cartilage,
)
from wristmir_jax.images.reading import BadImage, Radiograph, radiograph_of, read_radiograph
from wristmir_jax.workers import ordered_map

_Row = ExamImage | Rejection

_BATCH = 32
# Films that need no localiser wait for those before them; no more than so many.
_MAX_WAITING = 1024


class LocalizedSource:
    """A source whose films have boxes; itself a `Source`.

    Worker processes decode films and make them small, this process runs the localiser on batches of
    them. Rows keep their order, and batches depend on the rows alone, so that the boxes do not
    depend on the number of workers. A localiser is opened for the first film that needs it; it
    never sees a film that has boxes, nor any where the source has no regions. What is found of a
    region that is not ossified at the film's age is left out.

    Args:
        source: whose rows to complete.
        localizer: "package", "prior" (boxes stay None, for `images.prepare.tower_inputs` to place),
            "none" (films without boxes have no regions), a path, or a localiser of one's own.

    Attributes:
        localizer: what to write into `DatasetInfo.localizer`; final once `rows` is exhausted.

    Raises:
        UserError: there is no such localiser.
    """

    def __init__(self, source: Source, localizer: str | FilmLocalizer):
        if isinstance(localizer, str):
            check_localizer(localizer)
        self.info = source.info
        self.localizer = record_of(localizer)
        self._source = source
        self._choice = localizer

    def rows(self, num_workers: int, progress: bool) -> Iterator[_Row]:
        """As `Source.rows`."""
        rows = self._source.rows(num_workers, progress)
        if not self.info.regions or self._choice == PRIOR:
            yield from rows
            return
        for item in rows:
            if not _needs_boxes(item):
                yield item
            elif self._choice == NONE:
                nothing = np.full((len(self.info.regions), 4), np.nan, np.float32)
                yield dataclasses.replace(item, boxes=nothing)
            else:
                # Only now is it known that worker processes and a localiser are needed.
                yield from self._located(itertools.chain([item], rows), num_workers)
                return

    def _located(self, rows: Iterator[_Row], num_workers: int) -> Iterator[_Row]:
        choice = self._choice
        localizer = open_localizer(choice) if isinstance(choice, str) else choice
        self.localizer = record_of(choice, localizer)
        waiting: list[tuple[_Row, SmallFilm | None]] = []
        films = 0
        for item, film in ordered_map(_small_film, rows, num_workers):
            waiting.append((item, film))
            films += film is not None
            if films == _BATCH or len(waiting) == _MAX_WAITING:
                yield from self._with_boxes(localizer, waiting)
                waiting, films = [], 0
        yield from self._with_boxes(localizer, waiting)

    def _with_boxes(
        self,
        localizer: FilmLocalizer,
        waiting: list[tuple[_Row, SmallFilm | None]],
    ) -> Iterator[_Row]:
        regions = self.info.regions
        films = [film for _, film in waiting if film is not None]
        found = iter(locate(localizer, films, regions) if films else [])
        for item, film in waiting:
            if film is None or isinstance(item, Rejection):
                yield item
                continue
            located = next(found)
            assert located.boxes is not None
            boxes = without_cartilage(located.boxes, regions, item.age_years)
            yield dataclasses.replace(item, boxes=boxes, axis_degrees=located.axis_degrees)


def read_film(item: ExamImage) -> Radiograph:
    """The film of a row, its pixel spacing as the row says, else as the file does.

    Raises:
        BadImage: it cannot be used.
    """
    spacing = item.pixel_spacing_mm
    if isinstance(item.film, np.ndarray):
        return radiograph_of(item.film, spacing)
    film = read_radiograph(item.film)
    return film if np.isnan(spacing) else dataclasses.replace(film, spacing=spacing)


def bad_film(item: ExamImage, error: BadImage) -> Rejection:
    """Why the film is set aside."""
    return Rejection(error.reason, image=item.image_id, detail=error.detail)


def _needs_boxes(item: _Row) -> bool:
    return isinstance(item, ExamImage) and item.boxes is None


def _small_film(
    item: _Row,
) -> tuple[_Row, SmallFilm | None]:
    """The row, and its film where a localiser must see it; runs in the workers."""
    if isinstance(item, Rejection) or item.boxes is not None:
        return item, None
    try:
        return item, SmallFilm.of(read_film(item).pixels)
    except BadImage as error:
        return bad_film(item, error), None
