"""Contact sheets of fracture signs: a row for each AO code, PA and lateral at rising severity.

python -m tools.phantom_sheet --output=sheet.png

Rows are numbered from 0 and drawn alone with `--rows=0,3`; `--scale=2` makes their pixels larger.
Films are cropped to the fracture: `--field_mm` is what a tile shows.
"""

from dataclasses import dataclass, replace

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw

from wristmir_jax.images import phantom_fractures, phantom_scene
from wristmir_jax.images.phantom_anatomy import Anatomy, sample_anatomy
from wristmir_jax.images.phantom_fractures import Broken, Injury
from wristmir_jax.images.phantom_parts import Field, Scene
from wristmir_jax.images.phantom_render import render

_OUTPUT = flags.DEFINE_string("output", None, "PNG to write.", required=True)
_ROWS = flags.DEFINE_list("rows", [], "Numbers of the rows to draw; all without.")
_SEVERITIES = flags.DEFINE_list("severities", ["0.1", "0.3", "0.5", "0.7", "0.9"], "0..1.")
_AGE = flags.DEFINE_float("age", 11.0, "Age in years.")
_MALE = flags.DEFINE_bool("male", True, "Boy or girl.")
_SIDE = flags.DEFINE_enum("side", "left", ["left", "right"], "Side.")
_CAST = flags.DEFINE_bool("cast", False, "In a cast.")
_WIRES = flags.DEFINE_integer("wires", 0, "Number of K-wires.")
_OSTEOPENIA = flags.DEFINE_bool("osteopenia", False, "Thin bone.")
_BOXES = flags.DEFINE_bool("boxes", False, "Draw the region boxes.")
_FIELD = flags.DEFINE_float("field_mm", 48.0, "What a tile shows; shafts: 1.5 times as much.")
_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels of a tile a side.")
_SCALE = flags.DEFINE_integer("scale", 1, "By how much drawn pixels are enlarged.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of wrist and fracture.")

_COLOURS = ((255, 80, 80), (80, 255, 80), (90, 170, 255))
_MARGIN = 14


@dataclass(frozen=True)
class Row:
    """One line of the sheet; `across` and `along` are the middle of its tiles, in W."""

    name: str
    broken: Broken
    weeks: float = 0.0
    across: float = 0.0
    along: float = -0.3
    shaft: bool = False


def _radius(name: str, kind: str, ulna: str = "none", weeks: float = 0.0) -> Row:
    return Row(name, Broken(radius=kind, ulna=ulna), weeks, along=-0.35)


def _shaft(name: str, radius: str, ulna: str) -> Row:
    return Row(name, Broken(radius=radius, ulna=ulna), across=-0.3, along=-1.4, shaft=True)


ROWS = (
    Row("intact", Broken()),
    _radius("23r-M/2.1 buckle", "buckle"),
    _radius("23r-M/2.1 greenstick", "greenstick"),
    _radius("23r-M/2.1 incomplete", "incomplete"),
    _radius("23r-M/3.1 complete", "complete"),
    Row("23-M/3.1 both", Broken("complete", "complete"), across=-0.3, along=-0.35),
    _radius("23r-E/1 Salter-Harris I", "sh1"),
    _radius("23r-E/2 Salter-Harris II", "sh2"),
    _radius("23r-E/3 Salter-Harris III", "sh3"),
    _radius("23r-E/4 Salter-Harris IV", "sh4"),
    Row("23u-E/7 styloid", Broken(styloid=True), across=-0.5, along=0.2),
    _shaft("22-D/1 bowing", "bowing", "bowing"),
    _shaft("22-D/2 greenstick", "shaft_greenstick", "shaft_greenstick"),
    _shaft("22-D/4 complete", "shaft_complete", "shaft_complete"),
    Row("72B scaphoid", Broken(scaphoid=True), across=0.2, along=0.8),
    *(
        _radius(f"{name}, {weeks} weeks", kind, weeks=weeks)
        for name, kind in (("buckle", "buckle"), ("complete", "complete"), ("SH II", "sh2"))
        for weeks in (2, 5, 9)
    ),
)


def injured(row: Row, severity: float, number: int) -> tuple[Anatomy, Injury]:
    """The wrist of a row and its injury: at all severities the same wrist and the same fall."""
    rng = np.random.default_rng([_SEED.value, number])
    anatomy = sample_anatomy(_AGE.value, _MALE.value, rng)
    injury = phantom_fractures.injure(row.broken, anatomy, rng, severity)
    if row.weeks:
        injury = phantom_fractures.follow_up(injury, row.weeks, _WIRES.value > 0, rng)
    return anatomy, injury


def tiles_of(number: int) -> np.ndarray:
    """uint8 (T, S, S, 3): PA and lateral of each severity side by side."""
    row, size, scenes, boxes = ROWS[number], _SIZE.value, [], []
    extras = phantom_scene.Extras(_CAST.value, _WIRES.value, _OSTEOPENIA.value)
    for severity in map(float, _SEVERITIES.value):
        anatomy, injury = injured(row, severity, number)
        for view in ("pa", "lateral"):
            rng = np.random.default_rng([_SEED.value, number, view == "lateral"])
            pose = phantom_scene.sample_pose(anatomy, size, rng)
            pose = replace(pose, rotation=0.0, level=0.66, floor=0.05)
            scene, found = phantom_scene.build(
                anatomy, injury, extras, view, _SIDE.value, pose, size
            )
            wide = Field(*scene.field.tolist())
            field = _aimed(wide, row, anatomy.width)
            scenes.append(scene._replace(field=np.array(field, np.float32)))
            boxes.append(_moved(found, wide, field))
    films = render(Scene(*map(np.stack, zip(*scenes, strict=True))), size)
    tiles = np.repeat((films // 257).astype(np.uint8)[..., None], 3, -1)
    if _BOXES.value:
        for tile, film_boxes in zip(tiles, boxes, strict=True):
            for box, colour in zip(film_boxes, _COLOURS, strict=False):
                _outline(tile, box, colour)
    return tiles


def _aimed(field: Field, row: Row, width: float) -> Field:
    """The field of a film that shows what the row is about and no more."""
    side = _FIELD.value * (1.5 if row.shaft else 1.0)
    x, y = row.across * width, row.along * width
    cos, sin = np.cos(field.rotation), np.sin(field.rotation)
    return field._replace(
        spacing=side / _SIZE.value, shift_x=sin * y - cos * x, shift_y=-sin * x - cos * y,
        film_half_width=1e3, film_half_height=1e3, frame=0.0,
    )  # fmt: skip


def _moved(boxes: np.ndarray, wide: Field, field: Field) -> np.ndarray:
    """Boxes of the wide film on the one that is aimed; both are turned alike."""
    middle = _SIZE.value / 2
    shift = np.array([wide.mirror * (field.shift_x - wide.shift_x), wide.shift_y - field.shift_y])
    points = (boxes.reshape(-1, 2) - middle) * wide.spacing + shift
    return (points / field.spacing + middle).reshape(boxes.shape)


def sheet(rows: list[int]) -> Image.Image:
    """Rows of tiles under their names, columns under severity and view."""
    drawn = [tiles_of(number).repeat(_SCALE.value, 1).repeat(_SCALE.value, 2) for number in rows]
    side, columns = drawn[0].shape[1], len(drawn[0])
    image = Image.new("RGB", (columns * side, len(rows) * (side + _MARGIN)))
    draw = ImageDraw.Draw(image)
    for place, (number, tiles) in enumerate(zip(rows, drawn, strict=True)):
        top = place * (side + _MARGIN)
        for column, tile in enumerate(tiles):
            severity, view = _SEVERITIES.value[column // 2], ("PA", "lateral")[column % 2]
            name = f"{number} {ROWS[number].name}" if column == 0 else ""
            draw.text((column * side + 3, top + 1), f"{name}  {severity} {view}".strip())
            image.paste(Image.fromarray(tile), (column * side, top + _MARGIN))
    return image


def _outline(tile: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> None:
    if not np.isfinite(box).all():
        return
    x0, y0, x1, y1 = np.clip(box.astype(int), 0, tile.shape[0] - 1)
    tile[[y0, y1], x0:x1] = colour
    tile[y0:y1, [x0, x1]] = colour


def main(_) -> None:
    known = [str(number) for number in range(len(ROWS))]
    if wrong := [number for number in _ROWS.value if number not in known]:
        raise app.UsageError(f"--rows={','.join(wrong)}: there are rows 0 to {known[-1]}")
    rows = [int(number) for number in _ROWS.value or known]
    sheet(rows).save(_OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
