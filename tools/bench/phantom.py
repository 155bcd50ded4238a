"""How fast phantoms are drawn: prints one JSON object on its last line.

python tools/bench/phantom.py --num_exams=256 --image_size=256
"""

import json
import time

import jax
from absl import app, flags

from wristmir_jax.images import phantom

_EXAMS = flags.DEFINE_integer("num_exams", 256, "Exams that are timed, after a first one compiled.")
_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels a side.")
_DISTURBANCE = flags.DEFINE_float("disturbance", 0.0, "How far films are from tidy.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed.")


def measure(num_exams: int, seed: int, image_size: int, disturbance: float = 0.0) -> dict:
    """Seconds of the first exams (compilation included) and exams and films a second after it."""
    start = time.perf_counter()
    # Enough of them for every arrangement of parts to be compiled.
    first = 32 if disturbance > 0 else 1
    for _ in phantom.exams(first, seed, image_size, disturbance=disturbance):
        pass
    compiled = time.perf_counter()
    timed = phantom.exams(num_exams, seed, image_size, disturbance=disturbance)
    views = sum(len(exam.views) for exam in timed)
    seconds = time.perf_counter() - compiled
    return {
        "benchmark": "phantom",
        "device": jax.devices()[0].device_kind,
        "image_size": image_size,
        "disturbance": disturbance,
        "exams": num_exams,
        "films": views,
        "first_exam_seconds": round(compiled - start, 2),
        "exams_per_second": round(num_exams / seconds, 1),
        "films_per_second": round(views / seconds, 1),
    }


def main(_) -> None:
    print(json.dumps(measure(_EXAMS.value, _SEED.value, _SIZE.value, _DISTURBANCE.value)))


if __name__ == "__main__":
    app.run(main)
