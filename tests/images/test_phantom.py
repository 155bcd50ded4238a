"""Phantom exams as others get them: reproducible, well-formed, as frequent as the table says."""

import collections
import json
from importlib import resources

import numpy as np
import pytest

from wristmir_jax.anatomy import REGIONS
from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom
from wristmir_jax.images.phantom_episodes import frequencies, patient_exams
from wristmir_jax.images.phantom_fractures import broken_by

SIZE, OTHER_SIZE = 128, 96


@pytest.fixture(scope="module")
def exams():
    return list(phantom.exams(60, 3, SIZE))


def test_the_same_exams_whatever_the_batch_and_the_number(exams):
    again = list(phantom.exams(17, 3, SIZE, batch_size=5))
    for one, two in zip(again, exams, strict=False):
        assert (one.exam_id, one.report, one.findings) == (two.exam_id, two.report, two.findings)
        for first, second in zip(one.views, two.views, strict=True):
            np.testing.assert_array_equal(first.pixels, second.pixels)
            np.testing.assert_array_equal(first.boxes, second.boxes)
    other = next(phantom.exams(1, 4, SIZE))
    assert other.report != exams[0].report or other.age_years != exams[0].age_years


def test_exams_do_not_change_with_the_image_size(exams):
    for small, large in zip(exams[:8], phantom.exams(8, 3, OTHER_SIZE), strict=False):
        assert small.findings == large.findings
        assert small.report == large.report
        for one, two in zip(small.views, large.views, strict=True):
            np.testing.assert_allclose(one.boxes * OTHER_SIZE / SIZE, two.boxes, atol=0.05)
            assert one.pixel_spacing_mm * SIZE == pytest.approx(two.pixel_spacing_mm * OTHER_SIZE)


def test_films_are_16_bit_and_use_their_range(exams):
    for hardware, view in [(e.findings.hardware, view) for e in exams for view in e.views]:
        assert view.pixels.shape == (SIZE, SIZE)
        assert view.pixels.dtype == np.uint16
        assert view.pixels.min() == 0
        assert view.pixels.max() > 30_000
        inside = view.pixels[view.pixels > 0]
        assert np.unique(inside).size > 256
        # Wires are as white as the film gets.
        assert (inside == 65_535).mean() < (0.05 if hardware else 0.02)


def test_ids_and_boxes_are_well_formed(exams):
    images = [view.image_id for exam in exams for view in exam.views]
    assert len(set(images)) == len(images)
    assert len({exam.exam_id for exam in exams}) == len(exams)
    for exam in exams:
        assert exam.findings.exam_id == exam.exam_id
        assert exam.findings.laterality == exam.laterality
        assert exam.findings.views == tuple(view.view for view in exam.views)
        assert 1 <= len(exam.views) <= 3
        for view in exam.views:
            assert view.boxes.shape == (len(REGIONS), 4)
            assert view.boxes.dtype == np.float32
            present = np.isfinite(view.boxes)
            assert (present.all(1) | ~present.any(1)).all()
            boxes = view.boxes[present.all(1)]
            assert (boxes >= 0).all() and (boxes <= SIZE).all()
            assert (boxes[:, 2:] - boxes[:, :2] >= 1.5).all()
            for region, there in zip(REGIONS, present.all(1), strict=True):
                assert not there or view.view in region.scored_views


def test_unfractured_exams_show_no_fracture(exams):
    for exam in exams:
        told = any(r.status in ("fracture", "uncertain") for r in exam.findings.regions.values())
        if not exam.codes and not told:
            assert exam.severity == 0.0
            assert not any(view.fracture_visible for view in exam.views)


@pytest.mark.parametrize("size", [32, 1024])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(UserError, match="image_size"):
        next(phantom.exams(1, 0, size))


# Frequencies, without drawing anything.


@pytest.fixture(scope="module")
def series():
    patients = [list(patient_exams(np.random.default_rng([11, i]))) for i in range(2500)]
    return patients


def test_codes_are_as_frequent_as_in_the_table(series):
    patterns = frequencies()["patterns"]
    total = sum(pattern["episodes"] for pattern in patterns)
    # An episode starts wherever weeks go back.
    starts = [
        exam
        for exams in series
        for before, exam in zip([None, *exams], exams, strict=False)
        if before is None or exam.initial or exam.weeks < before.weeks
    ]
    found = collections.Counter(exam.codes for exam in starts)
    for pattern in patterns[:10]:
        expected = pattern["episodes"] / total
        drawn = found[tuple(pattern["codes"])] / len(starts)
        assert drawn == pytest.approx(expected, abs=4 * np.sqrt(expected / len(starts)) + 0.004)


def test_ages_are_even_where_asked_for_and_real_otherwise(series):
    real = np.array([patient[0].anatomy.age_years for patient in series])
    assert 0.05 < np.mean(real < 5.0) < 0.11
    patients = [next(patient_exams(np.random.default_rng([11, i]), 0.5)) for i in range(2500)]
    half = np.array([exam.anatomy.age_years for exam in patients])
    expected = 0.5 * (5.0 - 0.5) / (18.9 - 0.5) + 0.5 * np.mean(real < 5.0)
    assert np.mean(half < 5.0) == pytest.approx(expected, abs=0.03)
    codes, as_real = (
        collections.Counter(exam.codes for exam in exams)
        for exams in (patients, [patient[0] for patient in series])
    )
    commonest = as_real.most_common(1)[0][0]
    assert codes[commonest] == pytest.approx(as_real[commonest], abs=120)


def test_sides_initial_exams_casts_and_wires_are_as_frequent_as_in_the_table(series):
    table = frequencies()
    exams = [exam for patient in series for exam in patient]
    counted = table["cast_metal_osteopenia"]
    everyone = sum(sum(counts.values()) for counts in counted.values())
    initial = sum(sum(c.values()) for k, c in counted.items() if k.endswith("/initial"))
    assert np.mean([exam.initial for exam in exams]) == pytest.approx(initial / everyone, abs=0.035)
    left, episodes = table["left"]
    sides = [patient[0].laterality == "left" for patient in series]
    assert np.mean(sides) == pytest.approx(left / episodes, abs=0.04)
    for place, shown in enumerate(
        (lambda e: e.extras.cast, lambda e: e.extras.wires > 0, lambda e: e.extras.osteopenia)
    ):
        marked = sum(n for c in counted.values() for key, n in c.items() if key[place] == "1")
        assert np.mean([shown(exam) for exam in exams]) == pytest.approx(
            marked / everyone, abs=0.045
        )
    doubted = sum(part for part, _ in table["uncertain"].values())
    assert np.mean([exam.uncertain for exam in exams]) == pytest.approx(
        doubted / everyone, abs=0.012
    )


def test_casts_and_wires_belong_to_follow_ups(series):
    """They predict fractures on all exams, but hardly any initial exam has them."""
    exams = [exam for patient in series for exam in patient]
    marked = [bool(exam.extras.cast or exam.extras.wires) for exam in exams]
    initial = [mark for exam, mark in zip(exams, marked, strict=True) if exam.initial]
    later = [mark for exam, mark in zip(exams, marked, strict=True) if not exam.initial]
    assert np.mean(initial) < 0.02
    assert np.mean(later) > 0.4
    broken = np.array([bool(exam.codes) for exam in exams])
    flags = np.array(marked)
    assert flags[broken].mean() > 3 * flags[~broken].mean()


def test_ages_are_plausible_and_follow_the_pattern(series):
    ages = np.array([patient[0].anatomy.age_years for patient in series])
    assert ages.min() > 0.4 and ages.max() < 19.0
    assert 9.0 < ages.mean() < 11.8


def test_every_code_of_the_table_breaks_something():
    rng = np.random.default_rng(0)
    for pattern in frequencies()["patterns"]:
        for code in pattern["codes"]:
            broken = broken_by((code,), rng)
            small = broken.styloid or broken.scaphoid
            assert (broken.radius, broken.ulna) != ("none", "none") or small or code == "23r-E/7"


def test_the_table_is_small_and_holds_no_rows():
    file = resources.files("wristmir_jax.images").joinpath("phantom_frequencies.json")
    text = file.read_text()
    assert len(text) < 30_000
    assert "_WRI-" not in text
    assert max(len(key) for key in json.loads(text)) < 40
