"""YOLO: a text file a film; a line is a class and a box, or a class and a polygon.

The format: https://docs.ultralytics.com/datasets/detect/ and .../segment/. Numbers are fractions of
the film's width and height; a box is its middle, width and height, a sixth number its confidence.
"""

from collections.abc import Iterator

import numpy as np
import yaml
from etils import epath

from wristmir_jax.data.box_formats.films import Film, ReadOptions, Shape, box_polygon, number
from wristmir_jax.data.box_formats.image_folder import SUFFIXES, ImageFolder
from wristmir_jax.data.box_formats.plain_files import files_below, read_text
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.errors import UserError

_NAME_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")
_NO_LABELS = {"classes.txt", "train.txt", "val.txt", "test.txt"}


def read(path: epath.Path, options: ReadOptions) -> Iterator[Film | Rejection]:
    """The films of a folder of label files, at any depth.

    Sizes are those of the films: in `options.images`, or beside the label files as YOLO lays them
    out. Names of classes come from `options.names`, or from data.yaml, dataset.yaml, classes.txt or
    obj.names in the folder or the one above.

    Raises:
        UserError: a label file is damaged, names the line; or there are no names or films.
    """
    if not path.is_dir():
        raise UserError(f"{path}: YOLO labels are a folder: check --input")
    names = list(options.names) or _names(path)
    # labels/ beside images/ is how YOLO lays them out.
    images = options.images or ImageFolder(path if _holds_films(path) else path.parent / "images")
    for file in files_below(path, (".txt",)):
        if file.name in _NO_LABELS:
            continue
        name = str(file.relative_to(path).with_suffix(""))
        found = images.find(name)
        if len(found) != 1:
            reason = "several films of this name" if found else "no film of this name"
            yield Rejection(reason, name, detail=str(file))
            continue
        size = images.size(found[0])
        yield Film(found[0], str(file), size, list(_shapes(file, names, size)))


def _holds_films(path: epath.Path) -> bool:
    return next(files_below(path, SUFFIXES), None) is not None


def _shapes(file: epath.Path, names: list[str], size: tuple[int, int]) -> Iterator[Shape]:
    for line_number, line in enumerate(read_text(file).splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        where = f"{file}, line {line_number}"
        if not parts[0].isdecimal() or int(parts[0]) >= len(names):
            raise UserError(f"{where}: class {parts[0]!r} is none of the {len(names)} names")
        label = names[int(parts[0])]
        values = np.array([number(part, where, "a coordinate") for part in parts[1:]])
        if len(values) in (4, 5):
            x, y = values[:2] * size
            half_width, half_height = values[2:4] * size / 2
            box = box_polygon(x - half_width, y - half_height, x + half_width, y + half_height)
            yield Shape(label, (box,), where, True)
        elif len(values) >= 6 and len(values) % 2 == 0:
            yield Shape(label, (values.reshape(-1, 2) * size,), where)
        else:
            raise UserError(
                f"{where}: {len(values)} numbers behind the class: a box has 4, a polygon pairs"
            )


def _names(folder: epath.Path) -> list[str]:
    for place in (folder, folder.parent):
        for name in _NAME_FILES:
            if (place / name).exists():
                return _names_of(place / name)
    raise UserError(
        f"{folder}: no names of the classes: give --names=FIRST,SECOND or a data.yaml or "
        "classes.txt beside the labels"
    )


def _names_of(file: epath.Path) -> list[str]:
    text = read_text(file)
    if file.suffix != ".yaml":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{line}: not a YAML file that can be read") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[place] for place in sorted(names)]
    if not isinstance(names, list) or not names:
        raise UserError(f"{file}: 'names' must be a list, or numbered from 0")
    return [str(name) for name in names]
