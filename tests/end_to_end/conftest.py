"""One small data set of phantoms and one run on it, for all end-to-end tests of a worker."""

import pytest

from tests.end_to_end.commands import CONFIG, succeed


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    succeed("prepare", source="phantom", num_exams=40, output=folder, image_size=32, crop_size=16)
    return folder


@pytest.fixture(scope="session")
def run_folder(dataset, tmp_path_factory):
    """A finished run of the tiny recipe."""
    workdir = tmp_path_factory.mktemp("run") / "workdir"
    succeed("train", config=CONFIG, workdir=workdir, config__dataset=dataset)
    return workdir
