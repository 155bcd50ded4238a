"""Boxes and outlines of other tools to region boxes: `boxes.jsonl`, or COCO JSON."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from etils import epath

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats import coco
from wristmir_jax.data.box_formats.boxed_films import BoxedFilm
from wristmir_jax.data.box_formats.detect import OUTLINES, READERS, detected
from wristmir_jax.data.box_formats.films import Film, ReadOptions, Shape
from wristmir_jax.data.box_formats.image_folder import SUFFIXES, ImageFolder
from wristmir_jax.data.box_formats.labels import BONE_LABELS, REGION_LABELS, LabelMap
from wristmir_jax.data.box_formats.outlines import regions_of
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.data.sources.fields import BadValue
from wristmir_jax.errors import UserError
from wristmir_jax.progress import with_progress

EXPORTS = ("boxes", "coco")
_IMAGE_SUFFIXES = (*SUFFIXES, ".bmp", ".dcm", ".tif", ".tiff")
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


def convert(
    source: epath.PathLike,
    output: epath.PathLike,
    *,
    source_format: str = "auto",
    images: epath.PathLike | None = None,
    labels: Sequence[str] = (),
    names: Sequence[str] = (),
    outlines: bool | None = None,
    export: str = "boxes",
    progress: bool = True,
) -> ImportAccount:
    """Read boxes or outlines, and write region boxes.

    What cannot be used goes to `<output>.rejected.jsonl` with the reason. Films without a box of a
    region are not written. Both files appear only when they are whole.

    Args:
        source: file or folder.
        output: file to write.
        source_format: a key of `detect.READERS`, or "auto".
        images: folder with the films. Boxes are scaled to their pixels where the source states
            another size of the same shape.
        labels: `LABEL:region` each, or `LABEL:bone` with outlines.
        names: of the classes of YOLO.
        outlines: whether the labels are of whole bones; None: as the format says.
        export: of `EXPORTS`.
        progress: whether to show progress on stderr.

    Raises:
        UserError: an argument is wrong, the source is damaged, or no box came of it.
    """
    source, output = epath.Path(source), epath.Path(output)
    if export not in EXPORTS:
        raise UserError(f"--export={export}: choose one of {', '.join(EXPORTS)}")
    if source_format != "auto" and source_format not in READERS:
        raise UserError(f"--format={source_format}: choose one of auto, {', '.join(READERS)}")
    _check_output(source, output)
    chosen = detected(source) if source_format == "auto" else source_format
    if not source.exists():
        raise UserError(f"{source} does not exist: check --input")
    by_bone = chosen in OUTLINES if outlines is None else outlines
    label_map = LabelMap(labels, BONE_LABELS if by_bone else REGION_LABELS)
    options = ReadOptions(
        images=ImageFolder(images) if images else None,
        names=tuple(names),
        outlines=by_bone,
        knows_label=lambda label: label_map(label) is not None,
    )
    work = _Import(label_map, by_bone, options.images)
    items = with_progress(READERS[chosen](source, options), "read boxes", None, progress)
    films = [film for item in items for film in work.films(item)]
    account = work.account
    if not films:
        raise UserError(f"{source}: not one box of a region came of it: {work.why_nothing()}")
    films = _named(films)
    account.written = len(films)
    for film in films:
        for region, box in zip(REGION_NAMES, film.boxes_Rx4, strict=True):
            account.boxes[region] += bool(np.isfinite(box).all())
    if export == "coco":
        text = json.dumps(coco.content_of(films), indent=1) + "\n"
    else:
        text = "".join(film.to_json() + "\n" for film in films)
    _write(output, text, "".join(item.to_json() + "\n" for item in work.rejections))
    return account


class _Import:
    """From shapes to region boxes, film by film."""

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
        if np.isnan(film.boxes_Rx4).all():
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


def _named(films: list[BoxedFilm]) -> list[BoxedFilm]:
    """With an image_id, the name without folder and suffix, where that is one film's alone."""
    stems = [_stem(film.name) for film in films]
    counts = Counter(stems)
    return [
        replace(film, image_id=stem if counts[stem] == 1 else "")
        for film, stem in zip(films, stems, strict=True)
    ]


def _stem(name: str) -> str:
    last = name.rsplit("/", 1)[-1]
    stem, dot, suffix = last.rpartition(".")
    # Names of films may hold dots themselves.
    return stem if stem and f"{dot}{suffix}".lower() in _IMAGE_SUFFIXES else last


def rejected_file(output: epath.Path) -> epath.Path:
    """Beside the boxes: what was set aside, with the reason."""
    return output.parent / f"{output.stem}.rejected.jsonl"


def _check_output(source: epath.Path, output: epath.Path) -> None:
    if output.is_dir():
        raise UserError(f"--output={output} is a folder: give a file")
    if not output.parent.is_dir():
        raise UserError(f"--output={output}: there is no folder {output.parent}")
    if (
        output.exists()
        and source.exists()
        and os.fspath(output.resolve()) == os.fspath(source.resolve())
    ):
        raise UserError(f"--output={output} is the input: give another file")


def _write(output: epath.Path, boxes: str, rejected: str) -> None:
    aside = {
        path.parent / f"{path.name}.partial-{os.getpid()}": (path, text)
        for path, text in ((output, boxes), (rejected_file(output), rejected))
    }
    try:
        for partial, (_, text) in aside.items():
            partial.write_text(text)
        for partial, (path, _) in aside.items():
            partial.replace(path)
    except OSError as error:
        raise UserError(f"--output={output}: {error.strerror}") from None
    finally:
        for partial in aside:
            partial.unlink(missing_ok=True)
