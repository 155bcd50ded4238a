"""How many radiographs a second are localised in batches, with and without reading their files.

python -m tools.bench.localize [--num_films=256] [--localizer=package]

Films are phantoms (synthetic wrists), written as 16-bit PNG of 512 pixels a side. The last line is
a JSON object.
"""

import json
import statistics
import tempfile
import time

from absl import flags
from etils import epath
from PIL import Image

from wristmir_jax import cli
from wristmir_jax.images import phantom
from wristmir_jax.images.localizing import SmallFilm
from wristmir_jax.images.reading import read_radiograph
from wristmir_jax.localizing.films import localize
from wristmir_jax.localizing.opening import open_localizer
from wristmir_jax.workers import available_cores

_NUM_FILMS = flags.DEFINE_integer("num_films", 256, "How many.", lower_bound=32)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Of each, of which the median counts.", lower_bound=1)
_LOCALIZER = flags.DEFINE_string("localizer", "package", "As of `localize`.")


def main() -> None:
    localizer = open_localizer(_LOCALIZER.value)
    with tempfile.TemporaryDirectory() as name:
        folder = epath.Path(name)
        (folder / "films").mkdir()
        exams = phantom.exams(_NUM_FILMS.value, seed=5, image_size=512)
        views = [view for exam in exams for view in exam.views][: _NUM_FILMS.value]
        for number, view in enumerate(views):
            Image.fromarray(view.pixels).save(folder / "films" / f"{number:05d}.png")
        paths = sorted((folder / "films").iterdir())
        films = [SmallFilm.of(read_radiograph(path).pixels).pixels for path in paths]
        localizer.locate(films[:32])
        memory, files = [], []
        for _ in range(_ROUNDS.value):
            begin = time.perf_counter()
            localizer.locate(films)
            memory.append(len(films) / (time.perf_counter() - begin))
            begin = time.perf_counter()
            localize(
                folder / "films",
                folder / "boxes.jsonl",
                localizer,
                num_workers=available_cores(),
                progress=False,
            )
            files.append(len(films) / (time.perf_counter() - begin))
    print(
        json.dumps(
            {
                "films": len(films),
                "cores": available_cores(),
                "films_per_second": statistics.median(memory),
                "films_per_second_from_files": statistics.median(files),
            }
        )
    )


if __name__ == "__main__":
    cli.run(main)
