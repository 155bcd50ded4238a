"""Splits are by patient, stable, and of the shares that were asked for."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.data.wrists import row, write_folder
from wristmir_jax.data.prepare import prepare
from wristmir_jax.data.record import SPLITS
from wristmir_jax.data.sources.folder import FolderSource
from wristmir_jax.data.splits import SplitRule
from wristmir_jax.errors import UserError


def test_shares_are_met_on_average():
    rule = SplitRule(validation_fraction=0.1, test_fraction=0.2)
    splits = [rule.split(str(patient)) for patient in range(20_000)]
    shares = {split: splits.count(split) / len(splits) for split in SPLITS}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)


def test_another_seed_is_another_partition_and_the_same_seed_the_same():
    patients = [str(patient) for patient in range(2000)]
    first = [SplitRule(seed=0).split(patient) for patient in patients]
    assert first == [SplitRule(seed=0).split(patient) for patient in patients]
    second = [SplitRule(seed=1).split(patient) for patient in patients]
    agreement = sum(a == b for a, b in zip(first, second, strict=True)) / len(patients)
    assert agreement == pytest.approx(0.7**2 + 0.1**2 + 0.2**2, abs=0.05)


# Written down: a data set that is prepared again by a later version must split alike.
def test_the_partition_is_for_ever():
    rule = SplitRule()
    assert [rule.split(str(patient)) for patient in range(12)] == EXPECTED


EXPECTED = [
    "train",
    "train",
    "train",
    "test",
    "train",
    "train",
    "train",
    "test",
    "validation",
    "test",
    "train",
    "test",
]


@given(st.text(), st.integers(0, 5), st.floats(0, 0.45), st.floats(0, 0.45))
def test_a_larger_test_share_only_adds_patients_to_it(patient, seed, small, extra):
    before = SplitRule(0.05, small, seed).split(patient)
    after = SplitRule(0.05, small + extra, seed).split(patient)
    assert before != "test" or after == "test"


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.2), (0.1, 1.0), (0.5, 0.5)])
def test_fractions_that_leave_nothing_are_refused(validation, test):
    with pytest.raises(UserError, match="_fraction"):
        SplitRule(validation, test)


@pytest.mark.parametrize("patients", [1, 2, 8])
def test_a_small_data_set_has_a_train_split(tmp_path, patients):
    folder = write_folder(tmp_path / "in", [row(place) for place in range(patients)])
    for seed in range(6):
        account = prepare(
            FolderSource(folder),
            tmp_path / str(seed),
            split_rule=SplitRule(0.3, 0.6, seed),
            localizer="prior",
            progress=False,
        )
        assert account.records["train"] >= 1
        assert account.written == patients
