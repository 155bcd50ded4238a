import numpy as np
import pytest

from wristmir_jax.benchmark import bootstrap


def test_the_interval_covers_the_truth_about_95_times_in_100():
    # 40 patients with 1 to 5 films that agree with each other; the truth is 0.
    rng = np.random.default_rng(0)
    trials, covered, covered_by_films = 200, 0, 0
    for trial in range(trials):
        patients = np.repeat(np.arange(40), rng.integers(1, 6, 40))
        values = rng.normal(size=40)[patients] + 0.1 * rng.normal(size=len(patients))
        low, high = bootstrap.interval(bootstrap.mean(values), patients, 400, trial)
        covered += low <= 0 <= high
        low, high = bootstrap.interval(bootstrap.mean(values), np.arange(len(values)), 400, trial)
        covered_by_films += low <= 0 <= high
    assert 0.88 <= covered / trials <= 0.99
    # Films of a patient taken for independent ones: the mistake that this module is there to avoid.
    assert covered_by_films < covered - 10


def test_a_drawn_patient_brings_all_their_units():
    patients = ["a", "b", "a", "c", "a"]
    for weights in bootstrap.weights(patients, resamples=50):
        assert (weights[:, [0]] == weights[:, [2, 4]]).all()
        drawn = weights[:, [0, 1, 3]]
        assert (drawn.sum(1) == 3).all()


def test_the_same_seed_gives_the_same_interval_and_chunks_do_not_matter(monkeypatch):
    values, patients = np.random.default_rng(0).normal(size=60), np.arange(60) // 2
    first = bootstrap.interval(bootstrap.mean(values), patients, seed=3)
    monkeypatch.setattr(bootstrap, "_CHUNK_WEIGHTS", 60 * 7)
    assert bootstrap.interval(bootstrap.mean(values), patients, seed=3) == pytest.approx(first)
    assert bootstrap.interval(bootstrap.mean(values), patients, seed=4) != pytest.approx(first)


def test_a_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(0)
    easy = rng.normal(size=200)
    first, second = bootstrap.mean(easy + 0.1), bootstrap.mean(easy)
    low, high = bootstrap.interval(bootstrap.difference(first, second), np.arange(200))
    assert low == pytest.approx(0.1) and high == pytest.approx(0.1)


def test_one_patient_or_an_undefined_statistic_has_no_interval():
    assert bootstrap.interval(bootstrap.mean(np.ones(3)), ["a", "a", "a"]) is None
    assert bootstrap.interval(lambda weights: np.full(len(weights), np.nan), ["a", "b"]) is None


def test_the_average_passes_over_what_is_undefined_in_a_draw():
    first = bootstrap.at(bootstrap.mean(np.array([1.0, 1.0])), np.array([0, 1]))
    second = bootstrap.at(bootstrap.mean(np.array([3.0])), np.array([2]))
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(bootstrap.average([first, second])(weights), [2, 1, np.nan])
