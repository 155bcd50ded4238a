"""The index as a folder: saved, moved, opened, and refused where anything of it changed."""

import dataclasses
import json
import shutil
import subprocess

import pytest

from tests.retrieval.stores import random_store, write_store
from wristmir_jax.errors import UserError
from wristmir_jax.retrieval.coarse import COARSE
from wristmir_jax.retrieval.filters import Filters
from wristmir_jax.retrieval.two_stage import Index, build_index


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved index of 30 exams."""
    path = tmp_path_factory.mktemp("index") / "I"
    Index.build(random_store(30)).save(path)
    return path


def answers(index):
    """Hits of several searches as plain values."""
    return [
        dataclasses.asdict(hit)
        for exam in ("exam-0", "exam-17")
        for region in (None, *index.metadata.regions)
        for filters in (Filters(), Filters(view="pa"))
        for hit in index.search(index.query_from_exam(exam), region, 7, filters=filters)
    ]


@pytest.mark.parametrize("kind", COARSE)
@pytest.mark.parametrize("regions", [None, ()])
def test_saved_moved_and_loaded_it_answers_alike(tmp_path, kind, regions):
    if kind == "scann":
        pytest.importorskip("scann")
    store = random_store(30) if regions is None else random_store(30, regions)
    index = Index.build(store, kind)
    index.save(tmp_path / "I")
    shutil.move(tmp_path / "I", tmp_path / "moved")
    loaded = Index.load(tmp_path / "moved")
    assert loaded.coarse.kind == kind
    assert answers(loaded) == answers(index)


def test_build_index_reads_a_store_and_says_what_it_wrote(tmp_path):
    info = build_index(write_store(tmp_path / "E"), tmp_path / "I", "exact")
    assert (info.num_exams, info.coarse, info.model_fingerprint) == (30, "exact", "fingerprint")
    assert Index.load(tmp_path / "I").ids.num_rows == info.num_rows
    assert not [path.name for path in tmp_path.iterdir() if path.name not in ("E", "I")]


def test_the_sums_are_those_of_sha256sum(folder):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum")
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def change(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["index.json", "rows.parquet", "vectors.safetensors"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change, "does not match its checksum"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.with_name("more.bin").write_text(""), "more.bin does not belong there"),
        (lambda path: (path.parent / "SHA256SUMS").write_text("what"), "SHA256SUMS is damaged"),
        (lambda path: (path.parent / "SHA256SUMS").unlink(), "no SHA256SUMS"),
    ],
)
def test_what_changed_is_named(tmp_path, folder, name, damage, message):
    shutil.copytree(folder, tmp_path / "I")
    damage(tmp_path / "I" / name)
    with pytest.raises(UserError, match=message) as caught:
        Index.load(tmp_path / "I")
    if damage is change:
        assert name in str(caught.value)


def test_another_version_is_named(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "I")
    path = tmp_path / "I" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"index_version": 99}))
    subprocess.run(
        "rm SHA256SUMS && sha256sum index.json rows.parquet vectors.safetensors > SUMS"
        " && mv SUMS SHA256SUMS",
        shell=True,
        cwd=tmp_path / "I",
        check=True,
    )
    with pytest.raises(UserError, match="index_version 99"):
        Index.load(tmp_path / "I")


def test_only_an_index_is_replaced(tmp_path, folder):
    index = Index.load(folder)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not replaced"):
        index.save(tmp_path / "notes")
    index.save(tmp_path / "I")
    index.save(tmp_path / "I")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["I", "notes"]


def test_another_model_is_refused(folder):
    index = Index.load(folder)
    index.check_model("fingerprint", "--workdir=here")
    with pytest.raises(UserError, match=r"--workdir=here holds model other"):
        index.check_model("other", "--workdir=here")
