"""What a user gets wrong is one line and exit status 2, and leaves nothing half-written."""

import shutil

import pytest

from tests.end_to_end.commands import CONFIG, refuse


@pytest.fixture
def flags(dataset, tmp_path):
    return {"config": CONFIG, "config__dataset": dataset, "workdir": tmp_path / "workdir"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("config__batchsize", 8, "batchsize"),
        ("config__batch_size", 0, "config.batch_size=0"),
        ("config__dataset", "", "config.dataset"),
        ("config__dataset", "/nowhere", "/nowhere"),
        ("config__split", "holdout", "holdout"),
        ("config__model__dtype", "float16", "float16"),
        ("config__mesh__fsdp", 3, "config.mesh.fsdp=3"),
        ("config", "configs/none.py", "configs/none.py"),
        ("workdir", "", "--workdir"),
    ],
)
def test_train_refuses(flags, key, value, message):
    assert message in refuse("train", **(flags | {key: value}))
    assert not flags["workdir"].exists()


def test_a_loss_that_is_not_finite_stops_naming_step_and_records(flags):
    line = refuse("train", **(flags | {"config__optimizer__learning_rate": 1e30}))
    assert "step" in line
    assert "records" in line


def test_a_run_of_another_config_is_not_continued(flags, run_folder):
    before = sorted(path.name for path in run_folder.rglob("*"))
    line = refuse(
        "train",
        **(flags | {"workdir": run_folder, "config__model__embedding_dim": 24}),
    )
    assert "model.embedding_dim (was 16, now 24)" in line
    assert sorted(path.name for path in run_folder.rglob("*")) == before


def test_checkpoints_of_another_architecture_are_refused(run_folder, dataset, tmp_path):
    workdir = tmp_path / "mixed"
    shutil.copytree(run_folder, workdir)
    config = (workdir / "config.json").read_text()
    (workdir / "config.json").write_text(
        config.replace('"embedding_dim": 16', '"embedding_dim": 24')
    )
    output = tmp_path / "embeddings"
    line = refuse("embed", workdir=workdir, dataset=dataset, output=output)
    assert "another architecture" in line
    assert not output.exists()


def test_embed_refuses_a_folder_without_a_run(dataset, tmp_path):
    line = refuse("embed", workdir=tmp_path, dataset=dataset, output=tmp_path / "embeddings")
    assert "holds no run" in line


def test_embed_refuses_an_unknown_split(run_folder, dataset, tmp_path):
    line = refuse(
        "embed",
        workdir=run_folder,
        dataset=dataset,
        output=tmp_path / "embeddings",
        split="holdout",
    )
    assert "holdout" in line
