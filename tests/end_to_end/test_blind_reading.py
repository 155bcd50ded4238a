"""Real and phantom wrists before a reader: what the reader says is counted against the key."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import run_tool


def test_answers_are_counted_against_the_key(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"real": [2, 5], "phantom": [1, 3, 4, 6, 7, 8]}))
    done = run_tool("blind_reading", output=tmp_path / "a", called_real="2,3,8")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 real films called phantoms, 2 of 6 phantoms called real" in done.stdout
    assert "0.375 of all mistaken" in done.stdout
    for wrong, words in (("9", "no such picture"), ("two", "give numbers")):
        done = run_tool("blind_reading", output=tmp_path / "a", called_real=wrong)
        assert done.returncode == 2 and words in done.stderr
    done = run_tool("blind_reading", output=tmp_path / "b", called_real="1")
    assert done.returncode == 2 and "does not exist" in done.stderr
    # Another drawing would put other pictures under the numbers that readers named.
    done = run_tool("blind_reading", output=tmp_path / "a", films=tmp_path)
    assert done.returncode == 2 and "exists" in done.stderr


@pytest.mark.slow
def test_the_key_names_the_real_films(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    for number in range(3):
        # No phantom is a chessboard.
        board = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((40, 40))) * 255
        Image.fromarray(board.astype(np.uint8)).save(films / f"{number}.png")
    done = run_tool("blind_reading", films=films, output=tmp_path / "a", num_phantoms=5, size=64)
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "a.json").read_text())
    assert len(answer["real"]) == 3 and len(answer["phantom"]) == 5
    sheet = np.asarray(Image.open(tmp_path / "a.png"), np.float64)
    for number in range(1, 9):
        left, top = (number - 1) * 68, 14
        tile = sheet[top : top + 64, left : left + 64]
        is_board = np.mean((tile < 30) | (tile > 225)) > 0.6 and tile.mean() > 100
        assert is_board == (number in answer["real"])
        alone = np.asarray(Image.open(tmp_path / "a-one_by_one" / f"{number:02d}.png"))
        np.testing.assert_array_equal(alone, tile)
