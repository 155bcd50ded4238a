"""Contact sheet of phantoms: a row for each AO code, PA and lateral at rising severity.

python tools/phantom_sheet.py --output=sheet.png --age=10 --weeks=0 --image_size=256
"""

import numpy as np
from absl import app, flags
from PIL import Image

from wristmir_jax.images import phantom_anatomy, phantom_fractures, phantom_scene
from wristmir_jax.images.phantom_parts import Scene
from wristmir_jax.images.phantom_render import render

_OUTPUT = flags.DEFINE_string("output", None, "PNG to write.", required=True)
_CODES = flags.DEFINE_list(
    "codes",
    ["none", "23r-M/2", "23r-M/3", "23-M/3", "23r-E/1", "23r-E/2+23u-E/7", "23r-E/3", "23r-E/4",
     "23u-M/2", "22-D/2", "22-D/4"],
    "AO codes; + joins those of one wrist.",
)  # fmt: skip
_SEVERITIES = flags.DEFINE_list("severities", ["0.0", "0.3", "0.6", "1.0"], "Severities, 0..1.")
_AGE = flags.DEFINE_float("age", 10.0, "Age in years.")
_MALE = flags.DEFINE_bool("male", True, "Boy or girl.")
_SIDE = flags.DEFINE_enum("side", "left", ["left", "right"], "Side.")
_WEEKS = flags.DEFINE_float("weeks", 0.0, "Weeks since the injury.")
_CAST = flags.DEFINE_bool("cast", False, "In a cast.")
_WIRES = flags.DEFINE_integer("wires", 0, "Number of K-wires.")
_OSTEOPENIA = flags.DEFINE_bool("osteopenia", False, "Thin bone.")
_BOXES = flags.DEFINE_bool("boxes", False, "Draw the region boxes.")
_SIZE = flags.DEFINE_integer("image_size", 256, "Pixels a side.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed.")

_COLOURS = ((255, 80, 80), (80, 255, 80), (90, 170, 255))


def sheet() -> np.ndarray:
    """uint8 (rows x S, columns x S, 3)."""
    size = _SIZE.value
    scenes, boxes = [], []
    for row, code in enumerate(_CODES.value):
        codes = () if code == "none" else tuple(code.split("+"))
        for severity in map(float, _SEVERITIES.value):
            rng = np.random.default_rng([_SEED.value, row])
            anatomy = phantom_anatomy.sample_anatomy(_AGE.value, _MALE.value, rng)
            injury = phantom_fractures.sample_injury(codes, anatomy, rng, severity)
            if _WEEKS.value:
                injury = phantom_fractures.follow_up(injury, _WEEKS.value, _WIRES.value > 0, rng)
            extras = phantom_scene.Extras(_CAST.value, _WIRES.value, _OSTEOPENIA.value)
            for view in ("pa", "lateral"):
                pose = phantom_scene.sample_pose(
                    anatomy, size, np.random.default_rng([_SEED.value, row, view == "lateral"])
                )
                scene, box = phantom_scene.build(
                    anatomy, injury, extras, view, _SIDE.value, pose, size
                )
                scenes.append(scene)
                boxes.append(box)
    films = render(Scene(*map(np.stack, zip(*scenes, strict=True))), size)
    tiles = np.repeat((films // 257).astype(np.uint8)[..., None], 3, -1)
    if _BOXES.value:
        for tile, film_boxes in zip(tiles, boxes, strict=True):
            for box, colour in zip(film_boxes, _COLOURS, strict=False):
                _outline(tile, box, colour)
    rows = len(_CODES.value)
    tiles = tiles.reshape(rows, -1, size, size, 3)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * size, -1, 3)


def _outline(tile: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> None:
    if not np.isfinite(box).all():
        return
    x0, y0, x1, y1 = np.clip(box.astype(int), 0, tile.shape[0] - 1)
    tile[[y0, y1], x0:x1] = colour
    tile[y0:y1, [x0, x1]] = colour


def main(_) -> None:
    Image.fromarray(sheet()).save(_OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
