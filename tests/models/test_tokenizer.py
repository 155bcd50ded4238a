"""The caption tokenizer."""

import subprocess
import sys

import pytest

from wristmir_jax.errors import UserError
from wristmir_jax.models.tokenizer import PAD_ID, CaptionTokenizer, train_tokenizer

CAPTIONS = [
    "Buckle fracture of the distal radius.",
    "15 degrees dorsal angulation.",
    "No fracture.",
]


def test_case_is_ignored_and_words_are_not():
    tokenizer = train_tokenizer(CAPTIONS, 300)
    upper, lower, other = tokenizer.encode(["NO FRACTURE.", "no fracture.", "Fracture."], 8)
    assert (upper == lower).all()
    assert (lower != other).any()


def test_numbers_are_read_digit_by_digit():
    tokenizer = train_tokenizer(CAPTIONS * 5 + ["25 degrees", "30 degrees"], 500)
    (fifteen,), (one,), (five,) = (
        tokenizer.encode([text], 3)[:, 1:2].tolist() for text in ("15", "1", "5")
    )
    assert fifteen == one
    assert tokenizer.encode(["15"], 4)[0, 2] == five[0]


def test_rows_are_cut_and_padded_to_length():
    tokenizer = train_tokenizer(CAPTIONS, 300)
    ids = tokenizer.encode(["No fracture.", " ".join(CAPTIONS)], 6)
    assert ids.shape == (2, 6)
    assert ids[0, -1] == PAD_ID
    assert (ids[1] != PAD_ID).all()


def test_every_process_trains_the_same_vocabulary():
    script = (
        "from wristmir_jax.models.tokenizer import train_tokenizer as t;"
        f"print(t({CAPTIONS[::-1]!r}, 500).to_json())"
    )
    ours = train_tokenizer(CAPTIONS, 500).to_json()
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == ours


def test_a_folder_is_read_back(tmp_path):
    tokenizer = train_tokenizer(CAPTIONS, 300)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    loaded = CaptionTokenizer.load(tmp_path)
    assert (loaded.encode(CAPTIONS, 12) == tokenizer.encode(CAPTIONS, 12)).all()


@pytest.mark.parametrize("content", [None, "not json", '{"version": "1.0"}'])
def test_a_folder_without_a_tokenizer_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        CaptionTokenizer.load(tmp_path)


def test_what_ends_a_caption_is_not_cut_off():
    tokenizer = train_tokenizer(CAPTIONS, 300)
    whole = tokenizer.encode([CAPTIONS[0]], 40)[0]
    end = whole[whole != PAD_ID][-1]
    cut = tokenizer.encode([CAPTIONS[0]], 5)[0]
    assert cut[-1] == end
    assert (cut[:4] == whole[:4]).all()


def test_short_captions_are_filled_with_the_padding_token(tmp_path):
    (tmp_path / "tokenizer.json").write_text(train_tokenizer(CAPTIONS, 300).to_json())
    filled = CaptionTokenizer.load(tmp_path, pad_id=7).encode(["No fracture."], 20)[0]
    assert filled[-1] == 7
    with pytest.raises(UserError, match=r"no token 9999"):
        CaptionTokenizer.load(tmp_path, pad_id=9999)
