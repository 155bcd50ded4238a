"""Boxes and outlines of other tools to region boxes: `boxes.jsonl`, or COCO JSON."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from etils import epath

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats import coco
from wristmir_jax.data.box_formats.boxed_films import BoxedFilm
from wristmir_jax.data.box_formats.detect import OUTLINES, READERS, detected
from wristmir_jax.data.box_formats.films import ReadOptions
from wristmir_jax.data.box_formats.image_folder import SUFFIXES, ImageFolder
from wristmir_jax.data.box_formats.labels import BONE_LABELS, REGION_LABELS, LabelMap
from wristmir_jax.data.box_formats.region_boxes import BoxImport, ImportAccount
from wristmir_jax.errors import UserError
from wristmir_jax.progress import with_progress

EXPORTS = ("boxes", "coco")
_IMAGE_SUFFIXES = (*SUFFIXES, ".bmp", ".dcm", ".tif", ".tiff")


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
    work = BoxImport(label_map, by_bone, options.images)
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
