"""Files that grow reach a bucket whole; here a local folder stands for it."""

import importlib.util

import pytest
from etils import epath

from wristmir_jax import buckets
from wristmir_jax.errors import UserError
from wristmir_jax.learning import growing_files, workdir
from wristmir_jax.learning.growing_files import GrowingFiles


def test_everything_is_there_after_a_copy_and_after_the_end(tmp_path):
    files = GrowingFiles(epath.Path(tmp_path))
    with (files.folder / "lines").open("a") as file:
        file.write("1\n")
        file.flush()
        # A moment after the start, so not yet.
        files.grown()
        assert not (tmp_path / "lines").exists()
        files.copy()
        assert (tmp_path / "lines").read_text() == "1\n"
        file.write("2\n")
    files.close()
    assert (tmp_path / "lines").read_text() == "1\n2\n"
    assert not files.folder.exists()


def test_a_bucket_that_does_not_answer_costs_a_checkpoint_no_step(tmp_path, monkeypatch):
    monkeypatch.setattr(growing_files, "_COPY_SECONDS", 0)
    target = tmp_path / "absent"
    files = GrowingFiles(epath.Path(target))
    (files.folder / "lines").write_text("1\n")
    files.grown()
    # What must not be lost is said.
    with pytest.raises(FileNotFoundError):
        files.copy()
    target.mkdir()
    files.close()
    assert (target / "lines").read_text() == "1\n"


def test_without_the_extra_a_bucket_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"gs://b/run is on a bucket: .*\.\[gcs\]"):
        workdir.at("gs://b/run")
    with pytest.raises(UserError, match="gs://b/run is on a bucket"):
        workdir.read_config(epath.Path("gs://b/run"))
    assert workdir.at("/local/run") == epath.Path("/local/run")
    assert buckets.is_bucket("gs://b/run") and not buckets.is_bucket("/gs/b/run")
