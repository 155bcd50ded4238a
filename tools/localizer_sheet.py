"""Draws what the localiser finds on films, and counts what a person says of it.

python -m tools.localizer_sheet --input=FILMS --output=runs/sheet
python -m tools.localizer_sheet --input=FracAtlas --table=FracAtlas/dataset.csv \
  --where=hand=1,frontal=1 --count=60 --output=runs/fracatlas --verdicts=runs/fracatlas.csv

Writes --output-1.png, --output-2.png, ...: pages of films with their boxes, crops and confidences.
--verdicts names a CSV with the columns `image`, `wrist` and `right`, each yes or no (`right` is
left empty where there is no wrist): whether the wrist is in view, and whether the crop of --region
contains the bone. Where it does not exist it is made, to be filled in; films that it lacks are
added to it. Where it is filled in, the shares are printed.

--boxes names a `boxes.jsonl` of where the regions are, such as `python -m wristmir_jax.boxes` makes
of outlines: of each film in it, it is printed whether the middle of what was found lies inside, and
the intersection over union.
"""

import csv
from collections.abc import Iterator

import numpy as np
from absl import flags
from etils import epath
from PIL import Image, ImageDraw

from wristmir_jax import anatomy, cli
from wristmir_jax.data.sources.boxes import read_boxes
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import SmallFilm, boxes_on_film
from wristmir_jax.images.reading import BadImage, read_radiograph
from wristmir_jax.localizing.films import films_in
from wristmir_jax.localizing.localizer import Located, overlap
from wristmir_jax.localizing.opening import open_localizer
from wristmir_jax.localizing.preview import preview

_INPUT = flags.DEFINE_string("input", None, "As of `localize`.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Beginning of the names of pages.", required=True)
_LOCALIZER = flags.DEFINE_string("localizer", "package", "As of `localize`.")
_TABLE = flags.DEFINE_string("table", None, "CSV whose `image_id` names the films to choose from.")
_WHERE = flags.DEFINE_list("where", [], "Columns of --table and their values, such as hand=1.")
_COUNT = flags.DEFINE_integer("count", 0, "So many films, drawn by chance; 0 = all.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the draw.")
_MIRRORED = flags.DEFINE_bool("mirrored", False, "Mirror images of the films, too.")
_VERDICTS = flags.DEFINE_string("verdicts", None, "CSV of what a person says.")
_BOXES = flags.DEFINE_string("boxes", None, "JSONL of the true boxes.")
_REGION = flags.DEFINE_enum(
    "region", anatomy.REGION_NAMES[0], anatomy.REGION_NAMES, "That verdicts are about."
)

_COLUMNS, _ROWS, _WIDTH = 5, 4, 400
_MIRROR = " mirrored"
_FIELDS = ("image", "wrist", "right")


def chosen(names: list[str]) -> list[str]:
    """Names that --table and --count choose."""
    if _TABLE.value:
        wanted = dict(condition.split("=", 1) for condition in _WHERE.value)
        with open(_TABLE.value, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        missing = (wanted.keys() | {"image_id"}) - rows[0].keys()
        if missing:
            raise UserError(f"--table={_TABLE.value} has no column {sorted(missing)[0]}")
        listed = {row["image_id"] for row in rows if all(row[k] == v for k, v in wanted.items())}
        names = [name for name in names if name in listed]
    names = sorted(names)
    if _COUNT.value:
        draw = np.random.default_rng(_SEED.value)
        names = sorted(str(name) for name in draw.choice(names, _COUNT.value, replace=False))
    return names


def read(paths: dict[str, epath.Path], names: list[str]) -> Iterator[tuple[str, SmallFilm]]:
    for name in names:
        try:
            film = SmallFilm.of(read_radiograph(paths[name]).pixels)
        except BadImage as error:
            print(f"{name}: left out, {error.reason}")
            continue
        yield name, film
        if _MIRRORED.value:
            mirrored = np.ascontiguousarray(film.pixels[:, ::-1])
            yield f"{name}{_MIRROR}", SmallFilm(mirrored, film.original_size)


def draw_pages(entries: list[tuple[str, SmallFilm, Located]]) -> None:
    a_page = _COLUMNS * _ROWS
    for page, start in enumerate(range(0, len(entries), a_page), 1):
        pictures = []
        for number, (_, film, located) in enumerate(entries[start : start + a_page], start + 1):
            picture = preview(film, located)
            picture = picture.resize((_WIDTH, round(picture.height * _WIDTH / picture.width)))
            ImageDraw.Draw(picture).text((4, picture.height - 16), str(number), "#ff922b")
            pictures.append(picture)
        height = max(picture.height for picture in pictures)
        rows = -(-len(pictures) // _COLUMNS)
        sheet = Image.new("RGB", (_COLUMNS * _WIDTH, rows * height))
        for place, picture in enumerate(pictures):
            sheet.paste(picture, (place % _COLUMNS * _WIDTH, place // _COLUMNS * height))
        path = f"{_OUTPUT.value}-{page}.png"
        sheet.save(path)
        print(f"wrote {path}")


def count_verdicts(path: epath.Path, entries: list[tuple[str, SmallFilm, Located]]) -> list[str]:
    """Lines on found and refused; the CSV is made or gets the films that it lacks."""
    region = anatomy.REGION_NAMES.index(_REGION.value)
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open() as file:
            rows = list(csv.DictReader(file))
    given = {row["image"]: row for row in rows}
    lacking = [name for name, _, _ in entries if name not in given]
    if lacking:
        with path.open("a") as file:
            writer = csv.DictWriter(file, _FIELDS, lineterminator="\n")
            if not rows:
                writer.writeheader()
            writer.writerows({"image": name, "wrist": "", "right": ""} for name in lacking)
    found = {name: bool(np.isfinite(at.boxes[region]).all()) for name, _, at in entries}
    shown = [row for name, row in given.items() if row["wrist"] == "yes" and name in found]
    away = [row for name, row in given.items() if row["wrist"] == "no" and name in found]
    right = sum(found[row["image"]] and row["right"] == "yes" for row in shown)
    refused = sum(not found[row["image"]] for row in away)
    return [
        f"{len(found)} films; {len(found) - len(shown) - len(away)} without a verdict",
        f"wrist in view: {len(shown)}; {_REGION.value} cropped rightly on {right}",
        f"no wrist in view: {len(away)}; refused {refused}",
    ]


def compare(path: epath.Path, entries: list[tuple[str, SmallFilm, Located]]) -> list[str]:
    """A line for each region of each film of `path`; mirror images have no lines."""
    # Films are known by their file names here.
    truth = {epath.Path(name).name: boxes for name, boxes in read_boxes(path).items()}
    lines, compared = [], 0
    for name, film, located in entries:
        true = truth.get(name, truth.get(epath.Path(name).stem))
        if true is None or true.boxes is None or name.endswith(_MIRROR):
            continue
        compared += 1
        found_Rx4 = boxes_on_film(located, film)
        middle_Rx2 = 0.5 * (found_Rx4[:, :2] + found_Rx4[:, 2:])
        low_Rx2, high_Rx2 = true.boxes[:, :2], true.boxes[:, 2:]
        inside_R = np.all((middle_Rx2 >= low_Rx2) & (middle_Rx2 <= high_Rx2), axis=1)
        there_R = np.all(np.isfinite(true.boxes), axis=1)
        overlap_R = overlap(
            found_Rx4.astype(np.float64),
            np.where(there_R[:, None], true.boxes.astype(np.float64), np.nan),
        )
        for place, region in enumerate(anatomy.REGION_NAMES):
            there = "there" if there_R[place] else "not there"
            if np.isinf(true.boxes[place]).any():
                there = "unknown"
            said = "refused" if np.isnan(found_Rx4[place]).any() else "found"
            if there_R[place] and said == "found":
                said = f"middle {'inside' if inside_R[place] else 'outside'}"
                said += f", IoU {overlap_R[place]:.2f}"
            lines.append(f"{name} {region} ({there}): {said}")
    return [*lines, f"{compared} of the films have boxes in {path}"]


def main() -> None:
    folder, names = films_in(epath.Path(_INPUT.value))
    paths = {epath.Path(name).name: folder / name for name in names}
    films = list(read(paths, chosen(list(paths))))
    found = open_localizer(_LOCALIZER.value).locate([film.pixels for _, film in films])
    entries = [(name, film, at) for (name, film), at in zip(films, found, strict=True)]
    draw_pages(entries)
    for number, (name, _, at) in enumerate(entries, 1):
        sure = " ".join(
            f"{region} {confidence:.2f}{' (refused)' if np.isnan(box).any() else ''}"
            for region, confidence, box in zip(
                anatomy.REGION_NAMES, at.confidence, at.boxes, strict=True
            )
        )
        print(f"{number} {name}: {at.view}, {at.laterality}, turned {at.axis_degrees:.0f}; {sure}")
    if _BOXES.value:
        print("\n".join(compare(epath.Path(_BOXES.value), entries)))
    if _VERDICTS.value:
        print("\n".join(count_verdicts(epath.Path(_VERDICTS.value), entries)))


if __name__ == "__main__":
    cli.run(main)
