"""Small pictures of real and phantom wrists in random order, for a reader to tell apart.

python -m tools.blind_reading --films=FOLDER --output=runs/blind
python -m tools.blind_reading --films=FOLDER --output=runs/blind --called_real=3,8,14

Writes --output.png, numbered and in random order, for the reader, and the same pictures one by one
in the folder --output-one_by_one, for who is to say of each before seeing the next;
--output-side_by_side.png, the real ones first and in a frame; and --output.json, which of the
numbers are real. With --called_real nothing is written: the reader's answers are counted against
that file.
"""

import json

import numpy as np
from absl import flags
from etils import epath
from PIL import Image, ImageDraw

from wristmir_jax import cli
from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom
from wristmir_jax.images.crops import letterbox
from wristmir_jax.images.reading import BadImage, radiograph_of, read_radiograph
from wristmir_jax.localizing.films import films_in

_FILMS = flags.DEFINE_string("films", None, "Folder of real films.")
_OUTPUT = flags.DEFINE_string("output", None, "Beginning of the names.", required=True)
_PHANTOMS = flags.DEFINE_integer("num_phantoms", 24, "Phantom films.", lower_bound=1)
_DISTURBANCE = flags.DEFINE_float("disturbance", 0.0, "Of the phantoms.")
_SIZE = flags.DEFINE_integer("size", 128, "Pixels a side.", lower_bound=16)
_SEED = flags.DEFINE_integer("seed", 0, "Of the phantoms and the order.")
_CALLED_REAL = flags.DEFINE_list("called_real", None, "Numbers that the reader called real.")

_COLUMNS, _MARGIN = 8, 14
_FILM_SIZE = 512


def real_films(folder: epath.Path) -> list[np.ndarray]:
    pictures = []
    for name in films_in(folder)[1]:
        try:
            film = read_radiograph(folder / name)
        except BadImage as error:
            print(f"{name}: left out, {error.reason}")
            continue
        pictures.append(letterbox(film.pixels, _SIZE.value))
    return pictures


def phantoms(count: int) -> list[np.ndarray]:
    """One film of each exam."""
    # Exams may be films without a wrist, and have one view or two.
    exams = phantom.exams(count, _SEED.value, _FILM_SIZE, disturbance=_DISTURBANCE.value)
    draw = np.random.default_rng(_SEED.value)
    films = [exam.views[int(draw.integers(len(exam.views)))].pixels for exam in exams]
    return [letterbox(radiograph_of(film).pixels, _SIZE.value) for film in films]


def sheet(pictures: list[np.ndarray], framed: set[int]) -> Image.Image:
    """Numbered pictures in rows; those of `framed` in a frame."""
    size = _SIZE.value
    rows = -(-len(pictures) // _COLUMNS)
    image = Image.new("L", (_COLUMNS * (size + 4), rows * (size + _MARGIN + 4)))
    draw = ImageDraw.Draw(image)
    for place, picture in enumerate(pictures):
        x, y = place % _COLUMNS * (size + 4), place // _COLUMNS * (size + _MARGIN + 4)
        draw.text((x + 2, y + 1), str(place + 1), 200)
        image.paste(Image.fromarray(picture), (x, y + _MARGIN))
        if place in framed:
            draw.rectangle((x, y + _MARGIN, x + size - 1, y + _MARGIN + size - 1), outline=255)
    return image


def count_answers(answer: dict[str, list[int]], called_real: set[int]) -> str:
    real, drawn = set(answer["real"]), set(answer["phantom"])
    if unknown := called_real - real - drawn:
        raise UserError(f"--called_real={min(unknown)}: there is no such picture")
    missed, believed = len(real - called_real), len(called_real & drawn)
    share = (missed + believed) / len(real | drawn)
    return (
        f"{missed} of {len(real)} real films called phantoms, {believed} of {len(drawn)} phantoms "
        f"called real: {share:.3f} of all mistaken"
    )


def read_answer(path: epath.Path) -> dict[str, list[int]]:
    if not path.exists():
        raise UserError(f"{path} does not exist: draw the pictures first, without --called_real")
    return json.loads(path.read_text())


def draw(output: epath.Path, answer_file: epath.Path) -> None:
    if not _FILMS.value or not epath.Path(_FILMS.value).is_dir():
        raise UserError("--films: give a folder of real films")
    if answer_file.exists():
        raise UserError(f"{answer_file} exists: name another --output, readers' answers are of it")
    real = real_films(epath.Path(_FILMS.value))
    pictures = [*real, *phantoms(_PHANTOMS.value)]
    order = np.random.default_rng(_SEED.value).permutation(len(pictures))
    is_real = order < len(real)
    output.parent.mkdir(parents=True, exist_ok=True)
    one_by_one = output.parent / f"{output.name}-one_by_one"
    one_by_one.mkdir(exist_ok=True)
    for number, place in enumerate(order, start=1):
        Image.fromarray(pictures[place]).save(one_by_one / f"{number:02d}.png")
    sheet([pictures[place] for place in order], set()).save(f"{output}.png")
    sheet(pictures, set(range(len(real)))).save(f"{output}-side_by_side.png")
    answer = {
        "real": (np.flatnonzero(is_real) + 1).tolist(),
        "phantom": (np.flatnonzero(~is_real) + 1).tolist(),
    }
    answer_file.write_text(json.dumps(answer))
    print(f"wrote {output}.png, {one_by_one}, {output}-side_by_side.png and {answer_file}")


def main() -> None:
    output = epath.Path(_OUTPUT.value)
    answer_file = output.parent / f"{output.name}.json"
    if _CALLED_REAL.value is None:
        draw(output, answer_file)
        return
    if not all(number.isdecimal() for number in _CALLED_REAL.value):
        raise UserError("--called_real: give numbers, such as 3,8,14")
    print(count_answers(read_answer(answer_file), set(map(int, _CALLED_REAL.value))))


if __name__ == "__main__":
    cli.run(main)
