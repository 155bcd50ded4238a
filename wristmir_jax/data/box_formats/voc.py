"""Pascal VOC XML, one file a film.

The format: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010. Pixels
count from 1 and both corners belong to the box, so that `xmin` 1, `xmax` 10 are our 0 to 10.
"""

from collections.abc import Iterator

from etils import epath

from wristmir_jax.data.box_formats.films import (
    Film,
    ReadOptions,
    Shape,
    box_polygon,
    film_size,
    number,
)
from wristmir_jax.data.box_formats.plain_files import Element, files_below, read_xml
from wristmir_jax.errors import UserError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(path: epath.Path, options: ReadOptions) -> Iterator[Film]:
    """The films of a folder of VOC files, or of one file.

    Raises:
        UserError: a file is damaged; names it and the line.
    """
    for file in files_below(path, (".xml",)) if path.is_dir() else [path]:
        yield _film(file, read_xml(file))


def _film(path: epath.Path, root: Element) -> Film:
    if root.tag != "annotation":
        raise UserError(f"{path}, line {root.line}: not Pascal VOC: the root is <{root.tag}>")
    name = root.first("filename")
    size = root.first("size")
    sides = None
    if size is not None:
        where = f"{path}, line {size.line}"
        width, height = (_text(size, tag, where) for tag in ("width", "height"))
        # Some tools write zeros where they did not know.
        if {width, height} != {"0"}:
            sides = film_size(width, height, where)
    shapes = []
    for item in root.all("object"):
        where = f"{path}, line {item.line}"
        label = _text(item, "name", where)
        corners = item.first("bndbox")
        if corners is None:
            raise UserError(f"{where}: the object has no <bndbox>")
        where = f"{path}, line {corners.line}"
        x0, y0, x1, y1 = (number(_text(corners, tag, where), where, tag) for tag in _CORNERS)
        polygon = box_polygon(x0 - 1, y0 - 1, x1, y1)
        shapes.append(Shape(label, (polygon,), where, True))
    film = name.text if name is not None and name.text else path.stem
    return Film(film, str(path), sides, shapes)


def _text(element: Element, tag: str, where: str) -> str:
    child = element.first(tag)
    if child is None or not child.text:
        raise UserError(f"{where}: <{element.tag}> has no <{tag}>")
    return child.text
