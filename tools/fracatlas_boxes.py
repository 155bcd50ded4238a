"""Makes films of FracAtlas, on which nobody has drawn a bone, ready to train the localiser on.

python -m tools.fracatlas_boxes --input=FracAtlas --without=runs/fracatlas.csv \
  --output=data/fracatlas_films
python -m wristmir_jax.prepare --source=folder --input=data/fracatlas_films \
  --boxes=data/fracatlas_films/boxes.jsonl ...

Films of arms get the boxes that the localiser's looks in many poses agree on
(`localizing.agreement`); those without any are left out. As many films of legs, hips and shoulders
are taken as there are such arms: they show no wrist, so all regions are absent. Near copies of the
films that --without names (a column `image`, such as the verdicts of `tools.localizer_sheet`) are
left out, so that these can be judged.
"""

import csv
import json
import os

import numpy as np
from absl import flags
from etils import epath

from wristmir_jax import cli
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.localized import read_film
from wristmir_jax.data.sources.base import ExamImage
from wristmir_jax.data.sources.folder import COLUMNS
from wristmir_jax.data.sources.fracatlas import FilmTable, FracAtlasSource
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import SmallFilm
from wristmir_jax.localizing.agreement import agree
from wristmir_jax.localizing.opening import open_localizer
from wristmir_jax.progress import with_progress

_INPUT = flags.DEFINE_string("input", None, "FracAtlas.", required=True)
_WITHOUT = flags.DEFINE_string("without", None, "CSV with a column `image`: films to leave out.")
_LOCALIZER = flags.DEFINE_string("localizer", "package", "As of `localize`.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Of the draw of films without a wrist.")


def main() -> None:
    folder = epath.Path(_OUTPUT.value)
    if folder.exists():
        raise UserError(f"--output={folder} exists: name another folder, or remove it")
    arms, others, unreadable = films_apart(FracAtlasSource(_INPUT.value), names_without())
    localizer = open_localizer(_LOCALIZER.value)
    rows, lines = [], []
    counts = dict.fromkeys(REGION_NAMES, 0)
    for film in with_progress(arms, "agree", len(arms), True):
        small = SmallFilm.of(read_film(film).pixels)
        agreed = agree(localizer, small.pixels)
        agreed_boxes = agreed.boxes * small.original_size[0] / small.pixels.shape[0]
        found_R = np.all(np.isfinite(agreed.boxes), axis=1)
        if not found_R.any():
            continue
        boxes = {
            name: [round(float(side), 1) for side in box] if found else "unknown"
            for name, box, found in zip(REGION_NAMES, agreed_boxes, found_R, strict=True)
        }
        for name, found in zip(REGION_NAMES, found_R, strict=True):
            counts[name] += int(found)
        lines.append(
            {
                "image_id": film.image_id,
                "boxes": boxes,
                "axis_degrees": round(agreed.axis_degrees, 1),
            }
        )
        rows.append(row_of(film, folder))
    agreed_on = len(rows)
    draw = np.random.default_rng(_SEED.value)
    for place in sorted(draw.permutation(len(others))[:agreed_on]):
        film = others[place]
        lines.append({"image_id": film.image_id, "boxes": dict.fromkeys(REGION_NAMES)})
        rows.append(row_of(film, folder))
    write(folder, rows, lines)
    print("\n".join(f"{name}: {count}" for name, count in counts.items()))
    print(
        f"arms {len(arms)}, with a box {agreed_on}; without a wrist {len(rows) - agreed_on}; "
        f"cannot be read {unreadable}"
    )


def names_without() -> set[str]:
    """Stems of the films that --without names."""
    if not _WITHOUT.value:
        return set()
    with open(_WITHOUT.value, newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "image" not in rows[0]:
        raise UserError(f"--without={_WITHOUT.value} has no column image, or no row")
    return {row["image"].rsplit(".", 1)[0] for row in rows}


def films_apart(
    source: FracAtlasSource, without: set[str]
) -> tuple[list[ExamImage], list[ExamImage], int]:
    """Films of arms, films of other limbs, both without near copies of `without`; how many cannot
    be read."""
    items = list(source.rows(2, True))
    films = [item for item in items if isinstance(item, ExamImage)]
    near = {film.patient_id for film in films if film.image_id in without}
    apart = [film for film in films if film.patient_id not in near]
    arms, others = [], []
    for film in apart:
        assert isinstance(film.labels, FilmTable)
        (arms if "hand" in film.labels.parts else others).append(film)
    return arms, others, len(items) - len(films)


def row_of(film: ExamImage, folder: epath.Path) -> dict[str, str]:
    assert isinstance(film.film, str)
    return dict.fromkeys(COLUMNS, "") | {
        "exam_id": film.exam_id,
        "patient_id": film.patient_id,
        "image_id": film.image_id,
        "image_path": os.path.relpath(film.film, folder),
    }


def write(folder: epath.Path, rows: list[dict[str, str]], lines: list[dict]) -> None:
    aside = folder.parent / f"{folder.name}.partial-{os.getpid()}"
    aside.mkdir(parents=True)
    with (aside / "manifest.csv").open("w") as file:
        columns: list[str] = [*COLUMNS, "image_id"]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (aside / "boxes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    aside.rename(folder)


if __name__ == "__main__":
    cli.run(main)
