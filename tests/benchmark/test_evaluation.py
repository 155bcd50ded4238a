import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmark.synthetic import write_store
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.benchmark import pictures
from wristmir_jax.benchmark.evaluation import evaluate
from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.benchmark.ranking import TrainGallery
from wristmir_jax.benchmark.summary import table
from wristmir_jax.errors import UserError
from wristmir_jax.retrieval.store import EmbeddingStore

CONTRACT = {
    "image_to_text": (
        *("recall@1", "recall@5", "recall@10", "macro_recall@5", "constant_ranker@5", "chance@5"),
    ),
    "text_to_image": (
        *("recall@1", "recall@5", "recall@10", "macro_recall@5", "constant_ranker@5", "chance@5"),
    ),
    "fracture_classification": (
        *("auroc", "auroc_ci95", "auprc", "auprc_ci95", "prevalence", "flags_only_auroc"),
    ),
    "region_retrieval.global_only": ("mean_f1", "per_region"),
    "region_retrieval.two_stage": ("mean_f1", "per_region"),
    "graded_relevance.global_only": ("ndcg@5",),
    "graded_relevance.two_stage": ("ndcg@5",),
}


def leaves(metrics: dict) -> dict[str, object]:
    found = {key: metrics[key] for key in ("gallery_size", "queries")}
    for path, keys in CONTRACT.items():
        at = metrics
        for part in path.split("."):
            at = at[part]
        found |= {f"{path}.{key}": at[key] for key in keys}
    return found


@pytest.fixture(scope="module")
def perfect(tmp_path_factory):
    folder = tmp_path_factory.mktemp("perfect")
    store = write_store(folder / "embeddings")
    return store, evaluate(folder / "embeddings", folder / "out", resamples=200), folder


def test_perfect_embeddings_score_perfectly(perfect):
    store, metrics, _ = perfect
    assert metrics["image_to_text"]["recall@1"] == 1
    assert metrics["text_to_image"]["recall@5"] == 1
    assert metrics["image_to_text"]["macro_recall@5"] == 1
    for region in REGION_NAMES:
        assert metrics["region_image_to_text"][region]["recall@1"] == 1
        # The nearest training crops carry the very same caption or a near one.
        assert metrics["region_retrieval"]["two_stage"]["per_region"][region] > 0.9
    test = np.array(store.ids["split"].to_pylist()) == "test"
    groups = store.ids["caption_group"].to_numpy()[test]
    assert metrics["queries"] == test.sum()
    assert metrics["gallery_size"] == len(np.unique(groups))
    assert metrics["image_to_text"]["margin_over_constant_ci95"][0] > 0
    assert metrics["fracture_classification"]["auroc"] > 0.9


def test_every_key_of_the_contract_holds_a_number_and_the_files_are_written(perfect):
    _, metrics, folder = perfect
    written = json.loads((folder / "out" / "metrics.json").read_text())
    assert written == json.loads(json.dumps(metrics))
    assert None not in leaves(written).values()
    assert written["title"] == "phantoms (synthetic)"
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "metrics.json",
        "report.html",
    ]


def test_the_table_names_what_it_must_be_held_against(perfect):
    _, metrics, _ = perfect
    text = table(metrics)
    assert text.startswith("phantoms (synthetic)\n")
    assert f"gallery {metrics['gallery_size']}, chance " in text
    for word in ("constant ranker", "flags only", "prevalence", "macro", "global only"):
        assert word in text


def test_the_report_stands_alone_and_names_no_patient(perfect):
    _, _, folder = perfect
    page = (folder / "out" / "report.html").read_text()
    assert "synthetic" in re.search(r"<title>(.*?)</title>", page)[1]
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"patient-\d|exam-\d", page)
    for words in ("constant ranker", "flags only", "research use only", "not a medical device"):
        assert words in page.lower()
    assert page.count("<svg") == 5


def test_region_vectors_help_where_global_ones_are_noise(tmp_path):
    write_store(tmp_path / "e", num_exams=240, noise=30.0, region_noise=0.3)
    metrics = evaluate(tmp_path / "e", tmp_path / "out", resamples=200)
    low, _ = metrics["region_retrieval"]["two_stage_minus_global"]["ci95"]
    assert low > 0
    graded = metrics["graded_relevance"]
    assert graded["two_stage"]["ndcg@5"] > graded["global_only"]["ndcg@5"] + 0.2
    assert graded["global_only"]["ndcg@5"] == pytest.approx(graded["chance"]["ndcg@5"], abs=0.12)


def test_no_regions_no_flags_no_findings_are_null(tmp_path):
    write_store(
        tmp_path / "e",
        regions=(),
        findings=False,
        synthetic=False,
        dataset_title="Own <films>",
    )
    metrics = evaluate(tmp_path / "e", tmp_path / "out", resamples=200)
    values = leaves(metrics)
    null = {key for key, value in values.items() if value is None}
    assert null == {
        key
        for key in values
        if key.startswith(("region_retrieval", "graded_relevance")) or "flags_only" in key
    }
    assert any("no regions" in note for note in metrics["notes"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Own &lt;films&gt;" in page and "<films>" not in page
    assert "Phantoms" not in page and "synthetic" not in page
    assert "n/a" in table(metrics)


def test_an_exam_of_the_querys_patient_is_never_found(tmp_path):
    """Splits keep patients apart; where a store does not, its exams still do not answer."""
    store = write_store(tmp_path / "e", num_exams=60, splits=("train", "train", "test"))
    exams = Exams.of(store)
    gallery = TrainGallery(store, exams)
    queries = np.flatnonzero(exams.split == "train")  # themselves in the gallery
    for region in (None, *REGION_NAMES):
        found = gallery.rank(queries, region, region and 0.5, region and 1000).exams
        other = exams.patient_id[found] != exams.patient_id[queries][:, None]
        assert (other | (found < 0)).all()
        assert (exams.split[found[found >= 0]] == "train").all()


def test_boxes_lie_where_the_letterboxed_film_shows_them():
    box = pictures.box_on_letterbox(np.array([10, 0, 30, 50], np.float32), np.array([100, 50]))
    assert box == pytest.approx((35, 0, 20, 50))
    assert pictures.box_on_letterbox(np.full(4, np.nan), np.array([100, 50])) is None


def test_what_else_the_output_folder_holds_stays(perfect, tmp_path):
    _, _, folder = perfect
    for name in ("kept.txt", "dataset/kept.txt", "report.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    evaluate(folder / "embeddings", tmp_path, resamples=100)
    for name in ("kept.txt", "dataset/kept.txt"):
        assert (tmp_path / name).read_text() == "mine"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    names = ["dataset", "kept.txt", "metrics.json", "report.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("missing", ["train", "validation", "test"])
def test_an_empty_split_is_one_line(tmp_path, missing):
    splits = tuple(name for name in ("train", "validation", "test") if name != missing)
    write_store(tmp_path / "e", num_exams=20, splits=splits)
    with pytest.raises(UserError, match=f"'{missing}' is empty"):
        evaluate(tmp_path / "e", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["exam", "patient"])
def test_an_exam_or_patient_in_two_splits_is_refused(tmp_path, what):
    store = write_store(tmp_path / "e", num_exams=20)
    split = store.ids["split"].to_pylist()
    ids = [store.ids[f"{name}_id"].to_pylist() for name in ("exam", "patient")]
    exam, patient = ids
    moved = (
        {exam.index(e) for e in exam if exam.count(e) > 1}
        if what == "exam"
        else {
            i
            for i in range(len(exam))
            if exam.count(exam[i]) == 1 and patient.count(patient[i]) > 1
        }
    )
    row = min(moved)
    split[row] = "validation" if split[row] == "train" else "train"
    column = store.ids.column_names.index("split")
    wrong = EmbeddingStore(**{**vars(store), "ids": store.ids.set_column(column, "split", [split])})
    with pytest.raises(UserError, match=f"{what} has .* in two splits"):
        Exams.of(wrong)


def test_the_command_refuses_bad_input_with_status_2(tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, word in (
        (["--embeddings=nowhere", f"--output={tmp_path}/out"], "nowhere"),
        (["--embeddings=nowhere"], "output"),
        (["--embeddings=nowhere", f"--output={tmp_path}/file"], "is a file"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "wristmir_jax.evaluate", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1 and word in done.stderr
