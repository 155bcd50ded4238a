"""Films are read strictly, and a viewer's window does not change what the towers see."""

import io

import numpy as np
import pytest
from PIL import Image

from wristmir_jax.errors import UserError
from wristmir_jax.images.crops import letterbox
from wristmir_jax.images.reading import BadImage, radiograph_of, read_radiograph, window


def _film(height=300, width=200):
    """A smooth forearm on air inside a black frame, float in [0, 1]."""
    y, x = np.mgrid[0:height, 0:width]
    x = x / width
    limb = np.clip(1 - ((x - 0.5) / 0.38) ** 2, 0, 1)
    bones = np.exp(-(((x - 0.36) / 0.07) ** 2)) + np.exp(-(((x - 0.62) / 0.09) ** 2))
    film = 0.12 + 0.35 * limb + 0.35 * bones * (0.6 + 0.4 * np.sin(y / 23)) * (limb > 0)
    film += np.random.default_rng(0).normal(0, 0.02, film.shape).clip(-0.06, 0.06)
    film[:12] = film[-12:] = 0
    return film / film.max()


def _save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_16_and_8_bit_png_and_jpeg_agree(tmp_path):
    film = _film()
    deep = _save(tmp_path / "deep.png", np.round(film * 65535).astype(np.uint16))
    flat = _save(tmp_path / "flat.png", np.round(film * 255).astype(np.uint8))
    lossy = tmp_path / "lossy.jpg"
    Image.fromarray(np.round(film * 255).astype(np.uint8)).save(lossy, quality=95)
    reference = read_radiograph(deep)
    assert reference.original_size == film.shape
    assert reference.pixels.dtype == np.float32
    assert 0 <= reference.pixels.min() < 0.01
    assert 0.8 < reference.pixels.max() <= 1
    assert np.corrcoef(reference.pixels.ravel(), film.ravel())[0, 1] > 0.98
    for path in (flat, lossy):
        np.testing.assert_allclose(read_radiograph(path).pixels, reference.pixels, atol=0.05)


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.2), (0.3, 0.0), (0.8, 0.1)])
def test_linear_rewindowing_is_invisible(gain, offset):
    film = _film()
    rewindowed = np.where(film > 0, gain * film + offset, 0)
    np.testing.assert_allclose(window(rewindowed), window(film), atol=0.02)


def test_a_window_that_clips_the_tails_changes_the_tower_input_little():
    film = _film()
    low, high = np.percentile(film[film > 0], [1, 99])
    clipped = np.round(np.clip((film - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    difference = letterbox(window(clipped), 128).astype(float) - letterbox(window(film), 128)
    assert np.abs(difference).mean() < 0.02 * 255


def test_nothing_is_saturated_by_a_bright_marker():
    film = _film()
    marked = film.copy()
    marked[40:60, 5:20] = 3.0
    inside = np.s_[80:, :]
    np.testing.assert_allclose(window(marked)[inside], window(film)[inside], atol=0.05)


def test_colour_and_palette_files_are_read_as_luminance(tmp_path):
    gray = np.round(_film() * 255).astype(np.uint8)
    expected = read_radiograph(_save(tmp_path / "gray.png", gray)).pixels
    for mode in ("RGB", "RGBA", "P"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(gray).convert(mode).save(path)
        np.testing.assert_allclose(read_radiograph(path).pixels, expected, atol=0.02)


def _jpeg():
    data = io.BytesIO()
    Image.fromarray(np.round(_film() * 255).astype(np.uint8)).save(data, "JPEG")
    return data.getvalue()


def _png():
    data = io.BytesIO()
    Image.fromarray(np.round(_film() * 65535).astype(np.uint16)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("text.png", b"This is a text file.\n" * 50, "not a PNG or JPEG image"),
        ("empty.png", b"", "empty file"),
        ("half.jpg", _jpeg()[: len(_jpeg()) // 2], "truncated image"),
        ("half.png", _png()[: len(_png()) // 2], "truncated image"),
        ("no_end.jpg", _jpeg()[:-2], "truncated image"),
        ("no_end.png", _png()[:-12], "truncated image"),
        ("header.png", _png()[:20], None),
        ("header.jpg", _jpeg()[:20], None),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path, name, data, reason):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadImage) as caught:
        read_radiograph(path)
    assert isinstance(caught.value, UserError)
    assert name in str(caught.value)
    if reason:
        assert caught.value.reason == reason


@pytest.mark.parametrize("cut", range(1, 40))
def test_no_cut_of_a_file_is_read_as_whole(tmp_path, cut):
    for name, data in (("a.jpg", _jpeg()), ("a.png", _png())):
        path = tmp_path / name
        path.write_bytes(data[: len(data) * cut // 40])
        with pytest.raises(BadImage):
            read_radiograph(path)


def test_missing_blank_tiny_and_huge_films_are_refused(tmp_path, monkeypatch):
    with pytest.raises(BadImage, match="no such file"):
        read_radiograph(tmp_path / "none.png")
    with pytest.raises(BadImage, match="blank image"):
        read_radiograph(_save(tmp_path / "blank.png", np.full((64, 64), 7, np.uint8)))
    with pytest.raises(BadImage, match="too small"):
        read_radiograph(_save(tmp_path / "tiny.png", np.eye(8, dtype=np.uint8)))
    big = _save(tmp_path / "big.png", np.eye(64, dtype=np.uint8))
    monkeypatch.setattr("wristmir_jax.images.reading.MAX_PIXELS", 4000)
    with pytest.raises(BadImage, match="too large"):
        read_radiograph(big)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = _save(tmp_path / "bomb.png", np.eye(64, dtype=np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadImage, match="too large"):
        read_radiograph(path)


def test_source_hash_names_the_bytes(tmp_path):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    first.write_bytes(_png())
    second.write_bytes(_png())
    other = tmp_path / "c.jpg"
    other.write_bytes(_jpeg())
    hashes = [read_radiograph(path).source_hash for path in (first, second, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == 16
    assert radiograph_of(_film()).source_hash == ""


def test_real_films_survive_a_viewer(shared_data):
    """Re-windowed to 8 bit with clipped tails, a real wrist gives nearly the same input."""
    films = sorted((shared_data / "grazpedwri" / "images").glob("*.png"))
    assert films
    inputs = []
    for path in films:
        raw = np.asarray(Image.open(path)).astype(float)
        low, high = np.percentile(raw[raw > 0], [1, 99.5])
        viewed = np.round(np.clip((raw - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        original = letterbox(read_radiograph(path).pixels, 128).astype(float)
        inputs.append(original)
        assert np.abs(letterbox(window(viewed), 128) - original).mean() < 0.03 * 255, path.name
    distances = [np.abs(a - b).mean() for a in inputs for b in inputs if a is not b]
    assert min(distances) > 0.03 * 255
