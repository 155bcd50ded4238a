"""A run that is validated ends when recall has stopped to rise; its best checkpoint counts."""

import json

import numpy as np
import pytest

from tests.end_to_end.commands import CONFIG, refuse, run, succeed
from wristmir_jax.learning.inference import load_embedder
from wristmir_jax.learning.ranks import best_positive_ranks
from wristmir_jax.learning.validation import read_recalls
from wristmir_jax.retrieval.store import EmbeddingStore

# At a rate of 0 nothing is learnt but the statistics of the features, so recall soon stops to rise.
FLAGS = {
    "config__optimizer__learning_rate": 0.0,
    "config__total_steps": 60,
    "config__checkpoint_every_steps": 2,
    "config__keep_checkpoints": 1,
    "config__validation__max_records": 40,
    "config__validation__patience": 2,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    size = {"num_exams": 60, "validation_fraction": 0.5, "image_size": 32, "crop_size": 16}
    succeed("prepare", source="phantom", output=folder, **size)
    return folder


def train(workdir, dataset, **flags):
    done = run("train", config=CONFIG, workdir=workdir, config__dataset=dataset, **FLAGS | flags)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def checkpoints(workdir):
    return {int(path.name) for path in (workdir / "checkpoints").iterdir()}


@pytest.fixture(scope="module")
def validated(dataset, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("validated") / "workdir"
    return workdir, train(workdir, dataset)


def ends_as_it_should(workdir, patience):
    """The step of the best checkpoint of a run that ended by its patience."""
    recalls = read_recalls(workdir)
    steps = [step for step, _ in recalls]
    assert steps == list(range(2, steps[-1] + 1, 2)) and steps[-1] < 60
    best = steps[int(np.argmax([recall for _, recall in recalls]))]
    assert steps[-1] == best + 2 * patience
    return best


def test_it_ends_early_and_keeps_the_best_checkpoint(validated):
    workdir, said = validated
    best = ends_as_it_should(workdir, patience=2)
    assert (
        f"stopped early: macro_recall@5 has not risen for 2 checkpoints since step {best}" in said
    )
    assert checkpoints(workdir) == {best, best + 4}
    assert load_embedder(workdir).step == best


def test_a_run_that_ended_early_has_nothing_left_to_do_but_with_more_patience(validated, dataset):
    workdir, _ = validated
    before = (workdir / "validation.jsonl").read_bytes()
    assert "nothing to do: stopped early" in train(workdir, dataset)
    assert (workdir / "validation.jsonl").read_bytes() == before
    train(workdir, dataset, config__validation__patience=3)
    best = ends_as_it_should(workdir, patience=3)
    assert (workdir / "validation.jsonl").read_bytes().startswith(before)
    assert checkpoints(workdir) == {best, best + 6}


def test_its_recall_is_that_of_the_embeddings_which_the_run_exports(dataset, tmp_path):
    """Counted anew from what `embed` writes of the same checkpoint."""
    everything = {"config__validation__max_records": 10_000, "config__total_steps": 2}
    train(tmp_path / "w", dataset, **everything)
    line = json.loads((tmp_path / "w/validation.jsonl").read_text())
    succeed(
        "embed", workdir=tmp_path / "w", dataset=dataset, split="validation", output=tmp_path / "e"
    )
    store = EmbeddingStore.load(tmp_path / "e")
    embedder = load_embedder(tmp_path / "w")
    captions = store.ids.column("caption").to_pylist()
    distinct = sorted(set(captions))
    group = np.array([distinct.index(caption) for caption in captions])
    ranks = best_positive_ranks(
        store.global_embedding,
        group,
        embedder.embed_texts(distinct, "global"),
        np.arange(len(distinct)),
    )
    macro = np.mean([(ranks[group == number] <= 5).mean() for number in range(len(distinct))])
    assert line["global_macro_recall@5"] == pytest.approx(macro, abs=1e-6)


def test_too_few_captions_to_choose_from_are_refused(dataset, tmp_path):
    few = {"config__validation__max_records": 3, "config__validation__patience": 0}
    line = refuse(
        "train", config=CONFIG, workdir=tmp_path / "w", config__dataset=dataset, **FLAGS | few
    )
    assert "config.validation.max_records=3" in line and "no more than 5 captions" in line
