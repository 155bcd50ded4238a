"""Which format a file or folder is in."""

import itertools
from typing import Any

from etils import epath

from wristmir_jax.data.box_formats import (
    bone_masks,
    bone_polygons,
    boxed_films,
    coco,
    cvat,
    voc,
    yolo,
)
from wristmir_jax.data.box_formats.films import Reader
from wristmir_jax.data.box_formats.plain_files import files_below, read_json, read_xml
from wristmir_jax.errors import UserError

READERS: dict[str, Reader] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "cvat": cvat.read,
    "voc": voc.read,
    "bone_polygons": bone_polygons.read,
    "bone_masks": bone_masks.read,
    "boxes": boxed_films.read,
}
# Formats of whole bones.
OUTLINES = ("bone_polygons", "bone_masks")
_BY_ROOT = {"annotations": "cvat", "annotation": "voc"}


def detected(path: epath.Path) -> str:
    """The format of `path`, a key of `READERS`, by its suffix and what stands at its top.

    Raises:
        UserError: there is no such path, the file is damaged, or its format cannot be told.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: check --input")
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return "boxes"
    if suffix == ".xml":
        root = read_xml(path)
        if root.tag in _BY_ROOT:
            return _BY_ROOT[root.tag]
        raise _unknown(f"{path}, line {root.line}: the root is <{root.tag}>")
    if suffix == ".json":
        return _of_json(path, read_json(path))
    raise _unknown(str(path))


def _of_json(path: epath.Path, content: Any) -> str:
    if isinstance(content, dict):
        if "images" in content or "annotations" in content:
            return "coco"
        values = list(content.values())
        if values and all(isinstance(value, dict) and "polygons" in value for value in values):
            return "bone_polygons"
    raise _unknown(str(path))


def _of_folder(path: epath.Path) -> str:
    xml = list(itertools.islice(files_below(path, (".xml",)), 1))
    json = sorted(path.glob("*.json"))
    texts = any(file.name != "classes.txt" for file in files_below(path, (".txt",)))
    if (bool(xml), bool(json), texts).count(True) > 1:
        raise _unknown(f"{path} holds files of several formats")
    if xml:
        return detected(xml[0])
    if json:
        return "coco"
    if texts:
        return "yolo"
    if any(path.glob("*_*.png")):
        return "bone_masks"
    raise _unknown(str(path))


def _unknown(what: str) -> UserError:
    return UserError(f"{what}: its format cannot be told: choose --format of {', '.join(READERS)}")
