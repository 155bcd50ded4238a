"""Makes films of FracAtlas, on which nobody has drawn a bone, ready to train the localiser on.

python -m tools.fracatlas_boxes --input=FracAtlas --without=runs/fracatlas.csv \
  --output=data/fracatlas_films
python -m wristmir_jax.prepare --source=folder --input=data/fracatlas_films \
  --boxes=data/fracatlas_films/boxes.jsonl ...

Films of arms with one exposure get the boxes that the localiser's looks in many poses agree on
(`localizing.agreement`); those without any are left out. As many films of legs, hips and shoulders
are taken as there are such arms: they show no wrist, so all regions are absent. Near copies of the
films that --without names (a column `image`, such as the verdicts of `tools.localizer_sheet`) are
left out, so that these can be judged.
"""

import csv
import os

import numpy as np
from absl import flags
from etils import epath

from wristmir_jax import cli
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.box_formats.boxed_films import BoxedFilm
from wristmir_jax.data.localized import read_film
from wristmir_jax.data.sources.base import ExamImage, Rejection
from wristmir_jax.data.sources.fields import read_table, text
from wristmir_jax.data.sources.folder import COLUMNS
from wristmir_jax.data.sources.fracatlas import FilmTable, FracAtlasSource
from wristmir_jax.errors import UserError
from wristmir_jax.folders import write_aside
from wristmir_jax.images.localizing import SmallFilm, boxes_on_film
from wristmir_jax.localizing.agreement import agree
from wristmir_jax.localizing.localizer import Localizer
from wristmir_jax.localizing.opening import open_localizer
from wristmir_jax.progress import with_progress
from wristmir_jax.workers import available_cores

_BOXES = "boxes.jsonl"

_INPUT = flags.DEFINE_string("input", None, "FracAtlas.", required=True)
_WITHOUT = flags.DEFINE_string("without", None, "CSV with a column `image`: films to leave out.")
_LOCALIZER = flags.DEFINE_string("localizer", "package", "As of `localize`.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Of the draw of films without a wrist.")


def main() -> None:
    films = list(FracAtlasSource(_INPUT.value).rows(available_cores(), True))
    arms, others = films_to_use(films, names_to_leave_out())
    with write_aside(_OUTPUT.value, _BOXES) as folder:
        account = write(folder, arms, others, open_localizer(_LOCALIZER.value))
    unreadable = sum(item.count for item in films if isinstance(item, Rejection))
    print("\n".join([*account, f"set aside or not at hand: {unreadable}"]))


def names_to_leave_out() -> set[str]:
    """Stems of the films that --without names.

    Raises:
        UserError: there is no such file, or it has no column `image`.
    """
    if not _WITHOUT.value:
        return set()
    rows = list(read_table(epath.Path(_WITHOUT.value), ("image",)))
    return {text(row["image"]).rsplit(".", 1)[0] for row in rows if isinstance(row, dict)}


def films_to_use(
    items: list[ExamImage | Rejection], without: set[str]
) -> tuple[list[ExamImage], list[ExamImage]]:
    """Films of arms, with one exposure each, and films of other limbs; both without near copies of
    `without`.

    Raises:
        UserError: `without` names a film that is not there.
    """
    films = [item for item in items if isinstance(item, ExamImage)]
    known = {film.image_id for film in films}
    if missing := sorted(without - known):
        raise UserError(f"--without={_WITHOUT.value}: no film {missing[0]} can be read")
    near = {film.patient_id for film in films if film.image_id in without}
    arms, others = [], []
    for film in films:
        assert isinstance(film.labels, FilmTable)
        if film.patient_id in near:
            continue
        if "hand" not in film.labels.parts:
            others.append(film)
        elif not film.labels.multiscan:
            arms.append(film)
    return arms, others


def write(
    folder: epath.Path, arms: list[ExamImage], others: list[ExamImage], localizer: Localizer
) -> list[str]:
    """Manifest and boxes; lines of an account.

    Raises:
        UserError: the localiser finds nothing on any arm.
    """
    chosen: list[tuple[ExamImage, BoxedFilm]] = []
    counts = dict.fromkeys(REGION_NAMES, 0)
    for film in with_progress(arms, "agree", len(arms), True):
        small = SmallFilm.of(read_film(film).pixels)
        agreed = agree(localizer, small.pixels)
        boxes_Rx4 = boxes_on_film(agreed, small)
        boxes_Rx4[np.isnan(boxes_Rx4).any(axis=1)] = np.inf
        found_R = np.all(np.isfinite(boxes_Rx4), axis=1)
        if not found_R.any():
            continue
        for name, found in zip(REGION_NAMES, found_R, strict=True):
            counts[name] += int(found)
        chosen.append((film, boxed(film, boxes_Rx4, agreed.axis_degrees)))
    if not chosen:
        raise UserError(f"--localizer={_LOCALIZER.value} finds no wrist on any of {len(arms)} arms")
    with_box = len(chosen)
    nothing_Rx4 = np.full((len(REGION_NAMES), 4), np.nan)
    draw = np.random.default_rng(_SEED.value)
    for place in sorted(draw.permutation(len(others))[:with_box]):
        chosen.append((others[place], boxed(others[place], nothing_Rx4)))
    with (folder / "manifest.csv").open("w") as file:
        columns: list[str] = [*COLUMNS, "image_id"]
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for film, _ in chosen:
            path = os.path.relpath(str(film.film), folder)
            writer.writerow(
                {
                    "exam_id": film.exam_id,
                    "patient_id": film.patient_id,
                    "image_id": film.image_id,
                    "image_path": path,
                }
            )
    (folder / _BOXES).write_text("".join(line.to_json() + "\n" for _, line in chosen))
    return [
        *(f"{name}: {count}" for name, count in counts.items()),
        f"arms {len(arms)}, with a box {with_box}; without a wrist {len(chosen) - with_box}",
    ]


def boxed(film: ExamImage, boxes_Rx4: np.ndarray, axis_degrees: float = float("nan")) -> BoxedFilm:
    return BoxedFilm(film.image_id, film.image_id, None, boxes_Rx4, axis_degrees)


if __name__ == "__main__":
    cli.run(main)
