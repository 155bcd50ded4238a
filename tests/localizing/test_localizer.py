"""Looking at films: frames, boxes in the film's own pixels, files, calibration."""

import dataclasses

import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.localizing.judging import Judged, calibrated, reliability, table
from wristmir_jax.localizing.localizer import (
    Finding,
    Frame,
    Localizer,
    hulls,
    look_at,
    overlap,
    parts,
)
from wristmir_jax.models import parameters
from wristmir_jax.models.localizer import Localizer as Network
from wristmir_jax.models.localizer import LocalizerSpec
from wristmir_jax.models.localizer_file import (
    NUM_EVIDENCE,
    LocalizerFile,
    read_localizer,
    write_localizer,
)

SPEC = LocalizerSpec(size=64, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1), joint=8)


def small_file(**changes) -> LocalizerFile:
    _, params = parameters.split(Network(SPEC, rngs=nnx.Rngs(0)))
    arrays = {name: np.asarray(value) for name, value in params.items()}
    return dataclasses.replace(LocalizerFile(SPEC, REGION_NAMES, arrays, about="a test"), **changes)


@settings(max_examples=40, deadline=None)
@given(
    degrees=st.floats(-180, 180),
    side=st.floats(60, 400),
    mirrored=st.booleans(),
    place=st.tuples(st.integers(60, 240), st.integers(60, 240)),
)
def test_a_look_shows_what_its_frame_says(degrees, side, mirrored, place):
    film = np.zeros((300, 300), np.uint8)
    x, y = place
    film[y - 6 : y + 6, x - 6 : x + 6] = 255
    frame = Frame(150.0, 150.0, side, np.deg2rad(degrees), mirrored)
    look = look_at(film, frame, 128)
    grid = np.stack(np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5), -1)
    away = np.abs(frame.to_film(grid, 128) - [x, y]).max(axis=-1)
    blur = 2.0 * max(1.0, side / 128)
    assert (look[away < 6 - blur] > 200).all() if (away < 6 - blur).any() else True
    assert (look[away > 6 + blur] < 30).all()


def test_films_of_any_shape_and_type_are_answered_alike():
    localizer = Localizer(small_file())
    film = np.random.default_rng(0).random((90, 140), np.float32)
    as_bytes = np.round(film * 255).astype(np.uint8)
    first, second, alone = *localizer.locate([film, as_bytes]), localizer.locate([as_bytes])[0]
    np.testing.assert_array_equal(first.confidence, second.confidence)
    np.testing.assert_allclose(second.confidence, alone.confidence, atol=1e-6)
    assert localizer.locate([]) == []


def test_what_is_refused_has_no_box_and_no_axis():
    calibration = np.tile(np.r_[-30.0, np.zeros(NUM_EVIDENCE)], (len(REGION_NAMES), 1))
    found = Localizer(small_file(calibration=calibration)).locate([np.eye(80, dtype=np.float32)])[0]
    assert np.isnan(found.boxes).all() and np.isnan(found.axis_degrees)
    assert found.view == found.laterality == "unknown"
    assert (found.confidence < 1e-6).all()


def test_a_file_comes_back_as_it_was_written(tmp_path):
    calibration = np.arange(18.0).reshape(3, 6)
    write_localizer(small_file(calibration=calibration), tmp_path / "l.safetensors")
    found = read_localizer(tmp_path / "l.safetensors")
    assert (found.spec, found.regions, found.about) == (SPEC, REGION_NAMES, "a test")
    np.testing.assert_array_equal(found.calibration, calibration)
    for name, value in small_file().parameters.items():
        np.testing.assert_allclose(found.parameters[name], value, rtol=1e-3, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["l.safetensors"]


@pytest.mark.parametrize("damage", ["truncated", "text", "other"])
def test_a_damaged_file_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "l.safetensors"
    write_localizer(small_file(), path)
    data = path.read_bytes()
    path.write_bytes({"truncated": data[:-9], "text": b"no", "other": data[:8] + b"{}"}[damage])
    with pytest.raises(UserError, match=r"l\.safetensors"):
        read_localizer(path)


def test_a_localizer_of_other_regions_is_refused(tmp_path):
    write_localizer(small_file(regions=("scaphoid",) * 3), tmp_path / "l.safetensors")
    with pytest.raises(UserError, match="scaphoid"):
        read_localizer(tmp_path / "l.safetensors")


def test_hulls_and_overlaps():
    upright = hulls(np.array([[50.0, 50.0]]), np.array([[20.0, 40.0]]), 0.0)
    np.testing.assert_allclose(upright, [[40, 30, 60, 70]])
    quarter = hulls(np.array([[50.0, 50.0]]), np.array([[20.0, 40.0]]), np.pi / 2)
    np.testing.assert_allclose(quarter, [[30, 40, 70, 60]])
    np.testing.assert_allclose(overlap(upright, quarter), [400 / 1200])
    np.testing.assert_allclose(overlap(upright, upright), [1.0])


def judged(count: int = 400) -> Judged:
    """The first piece of evidence tells, half sure, whether a region is right."""
    rng = np.random.default_rng(0)
    shape = (count, len(REGION_NAMES))
    evidence = rng.normal(0, 2, (*shape, NUM_EVIDENCE))
    right = rng.random(shape) < 1 / (1 + np.exp(-evidence[..., 0]))
    # Nobody can say what the last ones are, which would tell the opposite.
    known = np.arange(count)[:, None] < 0.75 * count
    known = np.broadcast_to(known, shape)
    evidence = np.where(known[..., None], evidence, -evidence)
    names = np.array(["pa"] * count)
    return Judged(
        there_NxR=right & known,
        gone_NxR=~right & known,
        overlap_NxR=np.where(right, 0.8, np.nan),
        confidence_NxR=np.full(shape, 0.5),
        evidence_NxRxE=evidence,
        found_NxR=right,
        view_N=names,
        found_view_N=names,
        side_N=np.array(["left"] * count),
        found_side_N=np.array(["left"] * count),
        axis_error_N=np.full(count, 3.0),
        age_N=np.where(np.arange(count) % 2 == 0, 4.0, np.nan),
    )


def test_calibration_finds_the_chance():
    file = calibrated(small_file(), judged())
    assert file.calibration is not None
    np.testing.assert_allclose(file.calibration[:, 1], 1.0, atol=0.35)
    np.testing.assert_allclose(file.calibration[:, [0, 2, 3, 4, 5]], 0.0, atol=0.35)


def test_tables_count():
    lines = table(judged(), REGION_NAMES)
    there = judged().there_NxR.sum(axis=0)
    for name, count in zip(REGION_NAMES, there, strict=True):
        assert any(f"| pa | {name} | {count} | 1.000 | 0.800 |" in line for line in lines)
    young = judged().there_NxR[:, :2].all(axis=1) & judged().gone_NxR[:, 2] & (judged().age_N < 6)
    assert any(line.endswith(f"{young.sum()}, refused 1.000") for line in lines)
    assert "axis within 10 degrees 1.000" in lines[-1]
    assert any("| 0.5 to 0.6 | 900 |" in line for line in reliability(judged()))


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 900), st.integers(20, 900))
def test_parts_cover_the_film(height, width):
    covered = np.zeros((height, width), bool)
    frames = parts(height, width)
    for frame in frames:
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        covered |= (abs(y - frame.y) <= frame.side / 2)[:, None] & (
            abs(x - frame.x) <= frame.side / 2
        )
    assert covered.all()
    assert len(frames) <= 4
    assert max(frame.side for frame in frames) < max(height, width)


@pytest.mark.parametrize(("wrist_side", "sure"), [(40.0, False), (200.0, True)])
def test_a_wrist_that_is_small_on_its_film_is_looked_for_in_parts(monkeypatch, wrist_side, sure):
    """A network that sees a wrist where it fills a fourteenth of a look, and guesses elsewhere."""
    film = np.zeros((500, 600), np.uint8)
    wrist = np.array([480.0, 90.0])
    asked = []

    def findings(self, squares, frames):
        asked.extend(frames)
        return [finding(frame) for frame in frames]

    def finding(frame: Frame) -> Finding:
        inside = (abs(wrist - [frame.x, frame.y]) < frame.side / 2).all()
        there = inside and wrist_side / frame.side > 1 / 14
        count = len(REGION_NAMES)
        center = wrist if there else np.array([300.0, 250.0])
        return Finding(
            center_Rx2=np.tile(center, (count, 1)),
            side_Rx2=np.full((count, 2), wrist_side),
            present_R=np.full(count, 5.0 if there else -1.0),
            place_R=np.ones(count),
            axis=0.0,
            axis_length=1.0,
            view_V=np.zeros(4),
            side_L=np.zeros(2),
        )

    monkeypatch.setattr(Localizer, "_findings", findings)
    (looks,) = Localizer(small_file()).look([film])
    np.testing.assert_allclose(looks.whole.center_Rx2[0], wrist)
    np.testing.assert_allclose(looks.plain[0].center_Rx2[0], wrist)
    assert len(asked) == (6 if sure else 6 + len(parts(500, 600)))
    # Close looks are plain and mirrored at the same places, closer and closer.
    *_, first, second, third, fourth = asked
    assert [frame.mirrored for frame in (first, second, third, fourth)] == [False, True] * 2
    assert first.side == second.side > third.side == fourth.side
