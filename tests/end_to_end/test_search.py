"""Index and search through the commands, with real files: whose film it is, is found out."""

import functools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import refuse, run, succeed
from tests.images.localizers import SquareLocalizer
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.prepare import prepare
from wristmir_jax.data.sources import open_source
from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom
from wristmir_jax.images.reading import read_radiograph
from wristmir_jax.learning.inference import load_embedder
from wristmir_jax.retrieval.export import export_embeddings
from wristmir_jax.retrieval.filters import Filters
from wristmir_jax.retrieval.questions import (
    FilmFacts,
    ask_with_exam,
    ask_with_film,
    ask_with_text,
)
from wristmir_jax.retrieval.searching import answer, search
from wristmir_jax.retrieval.store import EmbeddingStore
from wristmir_jax.retrieval.two_stage import Index, build_index


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Folder of 14 exams as PNG files with a manifest."""
    folder = tmp_path_factory.mktemp("films")
    rows = []
    for exam in phantom.exams(14, 7, 64, batch_size=14):
        for view in exam.views:
            Image.fromarray(view.pixels).save(folder / f"{view.image_id}.png")
            rows.append(
                {
                    "exam_id": exam.exam_id,
                    "patient_id": exam.patient_id,
                    "image_path": f"{view.image_id}.png",
                    "view": view.view,
                    "laterality": exam.laterality,
                    "age_years": exam.age_years,
                    "sex": exam.sex,
                    "findings": exam.findings.model_dump(),
                }
            )
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "manifest.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def embedder(run_folder):
    return load_embedder(run_folder, batch_size=1)


@pytest.fixture(scope="module")
def embeddings(films, embedder, tmp_path_factory):
    """Of the films, with boxes by the prior, as a query film has them."""
    folder = tmp_path_factory.mktemp("gallery")
    prepare(
        open_source("folder", str(films)),
        folder / "dataset",
        image_size=32,
        crop_size=16,
        localizer="prior",
        progress=False,
    )
    export_embeddings(embedder, folder / "dataset", folder / "embeddings")
    return folder / "embeddings"


@pytest.fixture(scope="module")
def index_folder(embeddings, tmp_path_factory):
    output = tmp_path_factory.mktemp("index") / "I"
    said = succeed("index", embeddings=embeddings, output=output)
    assert "index of 14 exams" in said
    assert len(said.splitlines()) == 1
    return output


@pytest.fixture(scope="module")
def index(index_folder):
    return Index.load(index_folder)


@pytest.fixture(scope="module")
def known(index):
    """A right wrist whose patient has several exams: its image, its exam, the patient's exams."""
    for row in index.ids.to_pylist():
        exams = {index.exams.exam_ids[exam] for exam in index.exams.of_patient(row["patient_id"])}
        if row["laterality"] == "right" and len(exams) > 1:
            return row["image_id"], row["exam_id"], exams
    raise AssertionError("no such film")


def test_every_film_finds_its_own_exam_with_the_vectors_of_the_index(films, index, embedder):
    """Crops, prior and mirroring are those of prepare and embed, for both sides and every view."""
    for row in index.ids.to_pylist():
        path = films / f"{row['image_id']}.png"
        question = ask_with_film(index, embedder, read_radiograph(path), path.name)
        assert question.notes == ()
        for region in (None, *REGION_NAMES):
            found = answer(index, question, region, 14, include_own_patient=True).hits
            own = next(hit for hit in found if hit.exam_id == row["exam_id"])
            assert own.global_score == pytest.approx(1, abs=1e-5)
            assert own.score == pytest.approx(found[0].score, abs=1e-5)
            assert own.region_score is None or own.region_score == pytest.approx(1, abs=1e-5)


# Phantoms have no saturated square, but bright bones.
_localizer = functools.partial(SquareLocalizer, level=150)


@pytest.fixture(scope="module")
def localized(films, embedder, tmp_path_factory):
    """Index of the films, whose regions a localiser has found; they have a spacing."""
    folder = tmp_path_factory.mktemp("localized")
    rows = [json.loads(line) for line in (films / "manifest.jsonl").read_text().splitlines()]
    for row in rows:
        shutil.copy(films / row["image_path"], folder)
    lines = [json.dumps(row | {"pixel_spacing_mm": 1.1}) + "\n" for row in rows]
    (folder / "manifest.jsonl").write_text("".join(lines))
    prepare(
        open_source("folder", str(folder)),
        folder / "dataset",
        image_size=32,
        crop_size=16,
        localizer=_localizer(),
        progress=False,
    )
    export_embeddings(embedder, folder / "dataset", folder / "embeddings")
    return Index.build(EmbeddingStore.load(folder / "embeddings"))


def test_a_query_is_cut_as_the_index_was(films, localized, embedder, tmp_path):
    """By its localiser, turned by its axis, to the millimetres of its spacing."""
    row = next(
        row
        for place, row in enumerate(localized.ids.to_pylist())
        if localized.region_present[0, place]
    )
    assert row["pixel_spacing_mm"] == pytest.approx(1.1)
    stranger = tmp_path / "stranger.png"
    Image.open(films / f"{row['image_id']}.png").save(stranger, compress_level=1)

    def own_score(path, localizer, spacing):
        facts = FilmFacts(row["view"], row["laterality"], row["age_years"], spacing)
        film = read_radiograph(path)
        question = ask_with_film(localized, embedder, film, path.name, facts, localizer)
        found = answer(localized, question, "distal_radius", 14, include_own_patient=True)
        hit = next(hit for hit in found.hits if hit.exam_id == row["exam_id"])
        return hit.region_score, any("another localiser" in note for note in question.notes)

    same = pytest.approx(1, abs=1e-5)
    # The index knows the spacing of its own films, of others it must be told.
    assert own_score(films / f"{row['image_id']}.png", _localizer(), None) == (same, False)
    assert own_score(stranger, _localizer(), 1.1) == (same, False)
    assert own_score(stranger, _localizer(), None)[0] < 1 - 1e-4
    assert own_score(stranger, _localizer(axis_degrees=90), 1.1)[0] < 1 - 1e-4
    assert own_score(stranger, _localizer("0123456789"), 1.1) == (same, True)
    assert own_score(stranger, "prior", 1.1)[1]
    assert own_score(stranger, "none", 1.1) == (None, True)


def test_search_with_a_film_by_command(films, index_folder, run_folder, known):
    image, exam, _ = known
    lines = succeed(
        "search",
        index=index_folder,
        workdir=run_folder,
        query=films / f"{image}.png",
        region="distal_radius",
        top_k=3,
        include_own_patient=True,
        localizer="prior",
        json=True,
    ).splitlines()
    hits = [json.loads(line) for line in lines]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert hits[0]["exam_id"] == exam
    assert hits[0]["region_score"] == pytest.approx(1, abs=1e-5)
    for hit in hits:
        assert {"exam_id", "score", "global_score", "region_score", "findings"} <= hit.keys()
        assert hit["findings"]["exam_id"] == hit["exam_id"]


@pytest.mark.parametrize("region", [None, *REGION_NAMES])
def test_a_known_film_never_finds_its_own_patient(films, index, embedder, known, region):
    image, exam, own_exams = known
    name = f"{image}.png"
    question = ask_with_film(index, embedder, read_radiograph(films / name), name)
    found = {hit.exam_id for hit in answer(index, question, region, 14).hits}
    assert found == set(index.exams.exam_ids) - own_exams
    everyone = answer(index, question, region, 14, include_own_patient=True).hits
    assert everyone[0].exam_id == exam
    assert own_exams <= {hit.exam_id for hit in everyone}


def test_real_wrists_find_themselves(shared_data, embedder, tmp_path):
    """Whatever the model has learnt: a film and its own row have the same vectors."""
    source = shared_data / "grazpedwri"
    prepare(
        open_source("grazpedwri", str(source)),
        tmp_path / "dataset",
        image_size=32,
        crop_size=16,
        localizer="prior",
        progress=False,
    )
    export_embeddings(embedder, tmp_path / "dataset", tmp_path / "E")
    build_index(tmp_path / "E", tmp_path / "I", "exact")
    index = Index.load(tmp_path / "I")
    rows = {row["image_id"]: row for row in index.ids.to_pylist()}
    films = sorted((source / "images").glob("*.png"))
    assert rows.keys() == {path.stem for path in films}
    for path in films:
        exam = rows[path.stem]["exam_id"]
        question = ask_with_film(index, embedder, read_radiograph(path), path.name)
        for region in (None, *REGION_NAMES):
            everyone = answer(index, question, region, include_own_patient=True).hits
            assert everyone[0].exam_id == exam
            assert exam not in {hit.exam_id for hit in answer(index, question, region).hits}


def test_search_with_an_exam_by_command_needs_no_model(index_folder, index, known):
    _, exam, own_exams = known
    done = run("search", index=index_folder, query_exam=exam, region="distal_ulna", top_k=14)
    assert done.returncode == 0, done.stderr
    title, asked, *_ = done.stdout.splitlines()
    assert title == index.metadata.title
    assert asked == f"query: {exam}, distal ulna"
    shown = {word for line in done.stdout.splitlines()[2:] for word in line.split()}
    assert shown & set(index.exams.exam_ids) == set(index.exams.exam_ids) - own_exams
    assert "note: no more than" in done.stderr
    question = ask_with_exam(index, exam)
    found = answer(index, question, "distal_ulna", 14, include_own_patient=True).hits
    assert found[0].exam_id == exam
    assert own_exams <= {hit.exam_id for hit in found}


def test_a_rewindowed_copy_is_known_by_its_name(films, index, embedder, known, tmp_path):
    image, exam, own_exams = known
    pixels = np.asarray(Image.open(films / f"{image}.png"))
    copy = tmp_path / f"{image}.png"
    Image.fromarray((pixels // 257).astype(np.uint8)).save(copy)
    question = ask_with_film(index, embedder, read_radiograph(copy), copy.name)
    assert "taken for a copy" in question.notes[0]
    found = answer(index, question, "distal_radius", 14).hits
    assert not own_exams & {hit.exam_id for hit in found}
    assert answer(index, question, None, 1, include_own_patient=True).hits[0].exam_id == exam


def test_a_film_that_is_not_known_says_so(films, index, embedder, known, tmp_path):
    image, exam, own_exams = known
    pixels = np.asarray(Image.open(films / f"{image}.png"))
    stranger = tmp_path / "stranger.png"
    Image.fromarray(pixels).save(stranger, compress_level=1)
    film = read_radiograph(stranger)
    question = ask_with_film(index, embedder, film, stranger.name)
    assert question.patient_id is None
    row = next(row for row in index.ids.to_pylist() if row["image_id"] == image)
    # Side, view and age are found out.
    assert "tell view, laterality and age" in question.notes[0]
    assert f"{row['age_years']:.0f} years old" in question.notes[0]
    assert question.shown_as.endswith("right")
    assert answer(index, question, None, 1).hits[0].exam_id == exam
    found = answer(index, question)
    assert any("is not known" in note for note in found.notes)
    told = answer(index, question, None, 14, query_patient=row["patient_id"])
    assert not own_exams & {hit.exam_id for hit in told.hits}
    assert not any("is not known" in note for note in told.notes)
    # Told what it is, it is taken as that.
    facts = FilmFacts(row["view"], row["laterality"], row["age_years"])
    question = ask_with_film(index, embedder, film, stranger.name, facts)
    hit = answer(index, question, None, 1).hits[0]
    assert (hit.exam_id, hit.score) == (exam, pytest.approx(1, abs=1e-5))
    assert "right" in question.shown_as


def test_a_region_that_the_query_does_not_show_is_said(films, index, embedder):
    path = next(films.glob("*lateral.png"))
    question = ask_with_film(index, embedder, read_radiograph(path), path.name)
    found = answer(index, question, "ulnar_styloid")
    assert "the query does not show the ulnar styloid" in found.notes[0]
    assert [hit.score for hit in found.hits] == [hit.global_score for hit in found.hits]
    assert all(hit.region_score is None for hit in found.hits)


def test_text_is_compared_at_its_level(index, embedder):
    text = "Buckle fracture of the distal radius."
    of_wrist = index.global_embedding @ embedder.embed_texts([text], "global")[0]
    found = answer(index, ask_with_text(index, embedder, text), top_k=3)
    assert found.notes == ()
    assert found.hits[0].exam_id == index.ids["exam_id"][int(of_wrist.argmax())].as_py()
    of_bone = index.region_embedding[0] @ embedder.embed_texts([text], "distal_radius")[0]
    of_bone[~index.region_present[0]] = -np.inf
    question = ask_with_text(index, embedder, text, "distal_radius")
    hit = answer(index, question, "distal_radius", 1).hits[0]
    assert hit.exam_id == index.ids["exam_id"][int(of_bone.argmax())].as_py()
    assert hit.score == hit.region_score == pytest.approx(of_bone.max(), abs=1e-5)
    with pytest.raises(UserError, match="empty"):
        ask_with_text(index, embedder, " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no query given"),
        ({"query": "", "query_text": ""}, "no query given"),
        ({"query": "wrist.png", "query_text": "fracture"}, "--query and --query_text given"),
        ({"query_exam": "nobody"}, "'nobody' is not in the index"),
        ({"query": "/nowhere.png"}, "/nowhere.png: no such file"),
        ({"query": __file__}, "not a PNG or JPEG"),
        ({"query_text": "fracture"}, "--workdir is missing"),
        ({"query_text": "fracture", "workdir": "/nowhere"}, "/nowhere holds no run"),
        ({"query_text": "fracture", "region": "elbow"}, "unknown region 'elbow'"),
        ({"query_exam": "EXAM", "top_k": 0}, "top_k=0"),
        ({"query_exam": "EXAM", "region_weight": 2.0, "region": "distal_ulna"}, "region_weight"),
        ({"query_exam": "EXAM", "filters": Filters(min_age=99)}, "the filters leave none"),
        ({"query_exam": "EXAM", "facts": FilmFacts(view="pa")}, "told of a film"),
    ],
)
def test_what_is_wrong_is_said(index_folder, index, arguments, message):
    exam = index.exams.exam_ids[0]
    given = {key: exam if value == "EXAM" else value for key, value in arguments.items()}
    with pytest.raises(UserError, match=message):
        search(index_folder, **given)


def test_a_spacing_that_is_none_and_a_localiser_that_is_not_there(
    films, index_folder, run_folder, known
):
    asked = {"index": index_folder, "workdir": run_folder, "query": films / f"{known[0]}.png"}
    assert "pixel_spacing_mm=-1.0" in refuse("search", **asked, pixel_spacing_mm=-1)
    assert "--localizer=/nowhere" in refuse("search", **asked, localizer="/nowhere")


def test_commands_refuse_with_one_line(films, index_folder, tmp_path):
    exam = "nobody"
    line = refuse("search", index=index_folder, query_exam=exam, region="elbow")
    assert "unknown region 'elbow': choose one of distal_radius" in line
    assert "is no index" in refuse("search", index=tmp_path, query_exam=exam)
    output = tmp_path / "I"
    assert "no embedding store" in refuse("index", embeddings=films, output=output)
    assert not output.exists()


def test_an_index_of_another_model_is_refused(index, embeddings, run_folder, tmp_path):
    shutil.copytree(embeddings, tmp_path / "E")
    path = tmp_path / "E" / "metadata.json"
    path.write_text(path.read_text().replace(index.metadata.model_fingerprint, "0123456789abcdef"))
    build_index(tmp_path / "E", tmp_path / "I", "exact")
    exam = index.exams.exam_ids[0]
    line = refuse("search", index=tmp_path / "I", workdir=run_folder, query_exam=exam)
    assert "made by model 0123456789abcdef" in line
    assert index.metadata.model_fingerprint in line
