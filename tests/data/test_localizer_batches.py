"""What the localiser is fed with: boxes in pixels of the letterboxed film, mixed data sets."""

import numpy as np

from wristmir_jax.data.localizer_batches import Mixture, film_of, letterboxed, localizer_batches
from wristmir_jax.data.sampler import RecordOrder
from wristmir_jax.images.crops import letterbox

SIZE = 64


class Films:
    """Records whose films are of one grey."""

    def __init__(self, grey: int, count: int = 8):
        self._grey, self._count = grey, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict:
        return {
            "image": np.full((SIZE, SIZE), self._grey, np.uint8),
            "boxes": np.full((3, 4), np.nan, np.float32),
            "original_size": np.array([100, 100], np.int32),
            "axis_degrees": np.float32(index),
            "view": 1,
            "laterality": 2,
        }


def greys(mixture: Mixture | None, first_step: int = 0, steps: int = 40) -> np.ndarray:
    order = RecordOrder(np.ones(8), 40 * 8, 5)
    batches = localizer_batches(
        Films(10), order, mixture, batch_size=8, seed=5, first_step=first_step
    )
    return np.stack([next(batches)["image"][:, 0, 0] for _ in range(steps - first_step)])


def test_so_large_a_fraction_is_of_the_second_data_set():
    assert (greys(None) == 10).all()
    mixed = greys(Mixture(Films(200), 0.25))
    assert 0.18 < (mixed == 200).mean() < 0.32
    # A run that is taken up again sees the same films.
    np.testing.assert_array_equal(greys(Mixture(Films(200), 0.25), first_step=30), mixed[30:])


def test_boxes_move_with_the_pixels_of_the_letterbox():
    film = np.zeros((120, 300), np.float32)
    film[30:60, 90:150] = 1.0
    square = letterbox(film, SIZE)
    box = letterboxed(np.array([[90, 30, 150, 60]], np.float32), (120, 300), SIZE)[0]
    rows, columns = np.nonzero(square > 127)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(box, seen, atol=1.0)


def test_absent_stays_absent():
    assert np.isnan(film_of(Films(1)[0])["boxes"]).all()
