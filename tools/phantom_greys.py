"""Grey levels and sharpness of real films beside those of phantoms; prints a table.

python tools/phantom_greys.py --films=FOLDER --disturbances=0,1 --num_exams=60

Every film is letterboxed to --image_size. Grey levels are quantiles (0..1) of pixels that are not
black. Sharpness is the power of the middle half of the film in octaves of spatial frequency, as a
share of all of it, in percent: the last octave is what only neighbouring pixels differ by.
"""

import itertools

import numpy as np
from absl import app, flags
from etils import epath
from PIL import Image

from wristmir_jax.images import phantom

_FILMS = flags.DEFINE_string("films", None, "Folder of real films (PNG, JPEG).", required=True)
_DISTURBANCES = flags.DEFINE_list("disturbances", ["0", "1"], "Of the phantoms, a row each.")
_EXAMS = flags.DEFINE_integer("num_exams", 60, "Phantom exams.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the phantoms.")
_SIZE = flags.DEFINE_integer("image_size", 128, "Pixels a side at which films are compared.")

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def letterboxed(pixels: np.ndarray, size: int) -> np.ndarray:
    """float32 (size, size) in 0..1 of (H, W) integer pixels, black where the film is not square."""
    top = np.iinfo(pixels.dtype).max
    image = Image.fromarray(pixels.astype(np.float32) / top)
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX))
    square = np.zeros((size, size), np.float32)
    top_row, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    square[top_row : top_row + small.shape[0], left : left + small.shape[1]] = small
    return square


def quantiles(film: np.ndarray) -> np.ndarray:
    """`_QUANTILES` of what is not black."""
    return np.quantile(film[film > 0.004], _QUANTILES)


def octaves(film: np.ndarray) -> np.ndarray:
    """Percent of power in octaves of frequency of the film's middle half, coarse to fine."""
    quarter = film.shape[0] // 4
    middle = film[quarter:-quarter, quarter:-quarter]
    window = np.hanning(len(middle))
    power = np.abs(np.fft.fft2((middle - middle.mean()) * np.outer(window, window))) ** 2
    frequency = np.fft.fftfreq(len(middle))
    radius = np.hypot(frequency[:, None], frequency[None, :])
    edges = [2.0**-k for k in range(int(np.log2(len(middle))) - 1, 0, -1)] + [1.0]
    bands = [
        power[(radius >= low) & (radius < high)].sum() for low, high in itertools.pairwise(edges)
    ]
    return 100.0 * np.array(bands) / max(sum(bands), 1e-9)


def row(name: str, films: list[np.ndarray]) -> str:
    """Medians over films."""
    greys = np.median([quantiles(film) for film in films], 0)
    powers = np.median([octaves(film) for film in films], 0)
    cells = " ".join(f"{value:5.2f}" for value in greys)
    return f"{name:<22}{len(films):>5} | {cells} | " + " ".join(f"{p:6.2f}" for p in powers)


def main(_) -> None:
    size = _SIZE.value
    paths = [
        path
        for path in sorted(epath.Path(_FILMS.value).iterdir())
        if path.suffix.lower() in (".png", ".jpg", ".jpeg")
    ]
    real = []
    for path in paths:
        pixels = np.asarray(Image.open(path))
        # PIL reads 16-bit grey as int32.
        real.append(letterboxed(pixels.astype(np.uint16) if pixels.itemsize > 1 else pixels, size))
    heads = " ".join(f"{100 * q:>4.0f}%" for q in _QUANTILES)
    print(f"{'films':<22}{'n':>5} | {heads} | percent of power, octaves from coarse to fine")
    print(row("real", real))
    for text in _DISTURBANCES.value:
        exams = phantom.exams(_EXAMS.value, _SEED.value, 2 * size, disturbance=float(text))
        films = [
            letterboxed(view.pixels, size)
            for exam in exams
            if exam.shows_wrist
            for view in exam.views
        ]
        print(row(f"phantoms, {text}", films))


if __name__ == "__main__":
    app.run(main)
