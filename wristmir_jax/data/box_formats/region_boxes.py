"""From the shapes on a film to the boxes of its regions, and the account of what was left out."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats.boxed_films import BoxedFilm
from wristmir_jax.data.box_formats.films import Film, Shape
from wristmir_jax.data.box_formats.image_folder import ImageFolder
from wristmir_jax.data.box_formats.labels import LabelMap
from wristmir_jax.data.box_formats.outlines import regions_of
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.data.sources.fields import BadValue

# A box with less than this share of it on the film is set aside, of others the overhang is cut off.
_MIN_INSIDE = 0.5


@dataclass
class ImportAccount:
    """What became of the input.

    Attributes:
        read, written: films.
        boxes: written, by region.
        rejected: films, boxes and outlines set aside, by reason.
        unmapped: shapes by a label that is not mapped.
        cut, scaled, merged, without_boxes, not_in_images: films whose boxes hung over the film's
            edge, whose boxes were scaled to the film's true size, that had several boxes of a
            region, that had none, that are not in the folder of films.
        first_merged: name of the first film with several boxes of a region.
    """

    read: int = 0
    written: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    scaled: int = 0
    merged: int = 0
    without_boxes: int = 0
    not_in_images: int = 0
    first_merged: str = ""

    def lines(self) -> list[str]:
        """For printing; the last line is `read N  written W  rejected R`, in films."""
        lines = [
            f"label {label!r}: {count} shapes left out, as it is not mapped (see --labels)"
            for label, count in self.unmapped.most_common()
        ]
        for count, what in (
            (self.scaled, "boxes scaled to the pixels of the film in --images"),
            (self.cut, "boxes cut off at the film's edge"),
            (
                self.merged,
                f"several boxes of a region, their hull was taken (first {self.first_merged}): "
                "wrong where a film shows both wrists",
            ),
            (self.not_in_images, "not in --images, the stated size was taken"),
            (self.without_boxes, "no box of a region, not written"),
        ):
            if count:
                lines.append(f"films: {count}  {what}")
        lines += [f"set aside: {count}  {reason}" for reason, count in self.rejected.most_common()]
        lines.append(
            "boxes: " + ", ".join(f"{region} {self.boxes[region]}" for region in REGION_NAMES)
        )
        lines.append(
            f"read {self.read}  written {self.written}  rejected {self.read - self.written}"
        )
        return lines


class BoxImport:
    """From shapes to region boxes, film by film.

    Args:
        label_map: of regions, or of bones.
        by_bone: whether regions are derived from outlines of bones.
        images: the films; None where they are not at hand.

    Attributes:
        account, rejections: so far.
    """

    def __init__(self, label_map: LabelMap, by_bone: bool, images: ImageFolder | None):
        self._label_map = label_map
        self._by_bone = by_bone
        self._images = images
        self._seen: dict[str, str] = {}
        self.account = ImportAccount()
        self.rejections: list[Rejection] = []

    def films(self, item: Film | Rejection) -> Iterator[BoxedFilm]:
        """The film with its boxes, if it has any."""
        if isinstance(item, Rejection):
            self._reject(item)
            return
        self.account.read += 1
        try:
            film = self._boxed(item)
        except BadValue as error:
            self._reject(Rejection(error.reason, item.name, detail=error.detail or item.where))
            return
        if not np.isfinite(film.boxes_Rx4).any():
            self.account.without_boxes += 1
        else:
            yield film

    def why_nothing(self) -> str:
        """The commonest reason that no box came of the input."""
        if self.account.unmapped:
            labels = ", ".join(label for label, _ in self.account.unmapped.most_common(5))
            target = "bone" if self._by_bone else "region"
            return f"its labels are {labels}: map them as --labels=LABEL:{target}"
        if self.rejections:
            first = self.rejections[0]
            return f"{first.detail or first.image}: {first.reason}"
        return "nothing is drawn on its films" if self.account.read else "it has no films"

    def _reject(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)
        self.account.rejected[rejection.reason] += rejection.count

    def _boxed(self, film: Film) -> BoxedFilm:
        name, size, scale = self._on_disk(film)
        if name in self._seen:
            raise BadValue("the film stands twice", f"{film.where}, first {self._seen[name]}")
        self._seen[name] = film.where
        shapes: dict[str, list[Shape]] = defaultdict(list)
        for shape in film.shapes:
            target = self._label_map(shape.label)
            if target is None:
                self.account.unmapped[shape.label] += 1
                continue
            scaled = tuple(polygon * scale for polygon in shape.polygons)
            shapes[target].append(replace(shape, polygons=scaled))
        if self._by_bone:
            boxes, axis = self._outlined(film, shapes, size)
        else:
            boxes, axis = self._drawn(film, shapes, size), film.axis_degrees
            boxes[[region in film.unknown_regions for region in REGION_NAMES]] = np.inf
        return BoxedFilm(name, "", size, boxes, axis)

    def _on_disk(self, film: Film) -> tuple[str, tuple[int, int] | None, float]:
        """Name and size of the film, and the factor from the stated to the true size."""
        name = film.name.replace("\\", "/")
        found = self._images.find(name) if self._images else []
        if len(found) > 1:
            raise BadValue("several films of this name", f"{film.where}: {found[0]}, {found[1]}")
        if self._images is None or not found:
            self.account.not_in_images += self._images is not None
            return name, film.size, 1.0
        size = self._images.size(found[0])
        if film.size is None or film.size == size:
            return found[0], size, 1.0
        # A scaled film's sides are rounded to pixels.
        if abs(size[0] * film.size[1] - size[1] * film.size[0]) > max(film.size):
            stated, true = ("{} x {}".format(*sides) for sides in (film.size, size))
            raise BadValue(
                "the stated size disagrees with the film", f"{film.where}: {stated}, film {true}"
            )
        self.account.scaled += 1
        return found[0], size, max(size) / max(film.size)

    def _drawn(
        self, film: Film, shapes: dict[str, list[Shape]], size: tuple[int, int] | None
    ) -> np.ndarray:
        boxes = np.full((len(REGION_NAMES), 4), np.nan)
        merged = cut = False
        for index, region in enumerate(REGION_NAMES):
            good = []
            for shape in shapes.get(region, ()):
                try:
                    box, overhang = _on_film(shape.hull, size)
                except BadValue as error:
                    self._reject(Rejection(error.reason, film.name, detail=shape.where))
                    continue
                good.append(box)
                cut |= overhang
            if good:
                hull = np.array(good)
                boxes[index] = [*hull[:, :2].min(axis=0), *hull[:, 2:].max(axis=0)]
            if len(good) > 1:
                merged = True
        self.account.cut += cut
        self.account.merged += merged
        if merged:
            self.account.first_merged = self.account.first_merged or film.name
        return boxes

    def _outlined(
        self, film: Film, shapes: dict[str, list[Shape]], size: tuple[int, int] | None
    ) -> tuple[np.ndarray, float]:
        bones = {}
        for bone, drawn in shapes.items():
            for shape in drawn:
                if shape.is_box:
                    self._reject(Rejection("a box, no outline", film.name, detail=shape.where))
            bones[bone] = [
                polygon for shape in drawn if not shape.is_box for polygon in shape.polygons
            ]
        found = regions_of(bones, size, film.age_years, film.male)
        return found.boxes_Rx4, found.axis_degrees


def _on_film(box: np.ndarray, size: tuple[int, int] | None) -> tuple[np.ndarray, bool]:
    """A box (4,) without what hangs over the film's edge, and whether a pixel or more did."""
    if not (box[2:] > box[:2]).all():
        raise BadValue("the box is empty")
    if size is None:
        return box, False
    inside = np.clip(box, 0.0, np.array([*size, *size], float))
    share = np.prod(np.maximum(inside[2:] - inside[:2], 0.0)) / np.prod(box[2:] - box[:2])
    if share < _MIN_INSIDE:
        raise BadValue("the box lies outside the film")
    return inside, bool(np.abs(inside - box).max() >= 1.0)
