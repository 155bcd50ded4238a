"""Fracture classification by a linear probe on frozen embeddings.

The unit is the exam: the probe sees one radiograph a row, labelled with its exam, and an exam's
score is the mean over its views. Fit on train, every choice on validation, scored once on test.
Beside it stands the same probe on cast, metal and osteopenia flags alone: a model that only
noticed the plaster would reach that.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wristmir_jax.benchmark import bootstrap, classification
from wristmir_jax.benchmark.exams import Exams
from wristmir_jax.retrieval.store import EmbeddingStore

# Inverse strengths of the L2 penalty on standardised features.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_MAX_ITERATIONS = 500

METRIC_KEYS = ("auroc", "auroc_ci95", "auprc", "auprc_ci95", "prevalence", "flags_only_auroc")


@dataclass(frozen=True)
class Scores:
    """A probe on the T test exams with a label.

    Attributes:
        labels: bool (T,), fractured.
        scores: float64 (T,), higher means fractured.
        flags_scores: float64 (T,) of the probe on flags; None where no flag is known.
        choices: what validation chose.
    """

    labels: np.ndarray
    scores: np.ndarray
    flags_scores: np.ndarray | None
    choices: dict[str, Any] = field(default_factory=dict)


def probe_fractures(
    store: EmbeddingStore, exams: Exams, initial_only: bool = False
) -> tuple[Scores | None, np.ndarray, str]:
    """Fit, choose and score the probe.

    Args:
        store: rows of train, validation and test.
        exams: its exams.
        initial_only: choose and score on initial exams without cast or metal. Whether the probe is
            fit on those alone or on all training exams is then one of the choices.

    Returns:
        the scores, the test exams that they belong to (positions in `exams`) and "", or None, no
        exam and the reason why there is no probe.
    """
    labelled = np.isin(exams.fracture, ("yes", "no"))
    scored = labelled & exams.initial if initial_only else labelled
    label = exams.fracture == "yes"
    for split in ("train", "validation", "test"):
        if len(np.unique(label[scored & (exams.split == split)])) < 2:
            kind = "initial exams without cast or metal" if initial_only else "exams"
            reason = f"the {split} split lacks {kind} with and without a fracture"
            return None, np.zeros(0, int), reason
    fits = {"all training exams": labelled & (exams.split == "train")}
    if initial_only:
        fits["initial training exams"] = scored & (exams.split == "train")
    test = np.flatnonzero(scored & (exams.split == "test"))
    embedding_features = {"global": store.global_embedding}
    if store.region_present.shape[1]:
        embedding_features["global and regions"] = np.concatenate(
            [
                store.global_embedding,
                store.region_embedding.reshape(len(store.region_embedding), -1),
                store.region_present.astype(np.float32),
            ],
            axis=1,
        )
    validation = np.flatnonzero(scored & (exams.split == "validation"))
    scores, choices = _best(embedding_features, fits, label, exams, validation)
    flags_scores = None
    if (exams.flags >= 0).any():
        # Unknown is an indicator of its own: neither yes nor no.
        flags = np.concatenate([exams.flags == 1, exams.flags == 0], axis=1).astype(np.float64)
        flags_scores, choices["flags"] = _best(
            {"flags": flags[exams.exam_of_row]}, fits, label, exams, validation
        )
        flags_scores = flags_scores[test]
    return Scores(label[test], scores[test], flags_scores, choices), test, ""


def classification_metrics(
    scores: Scores | None,
    patients: Sequence[str] | np.ndarray,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> dict[str, Any]:
    """The values of METRIC_KEYS and, where there is a probe, counts and choices.

    Args:
        scores: of `probe_fractures`; None makes every key null.
        patients: (T,), of the test exams.

    Returns:
        the keys of METRIC_KEYS (prevalence is the share of fractured test exams, which is also
        the AUPRC of chance), and flags_only_auprc, margin_over_flags_ci95 (paired interval of the
        difference in AUROC), exams, choices.
    """
    if scores is None:
        return dict.fromkeys(METRIC_KEYS)
    num_exams = len(scores.labels)
    auroc = classification.auroc(scores.labels, scores.scores)
    auprc = classification.average_precision(scores.labels, scores.scores)
    metrics = {
        "auroc": classification.value(auroc, num_exams),
        "auroc_ci95": bootstrap.interval(auroc, patients, resamples, seed),
        "auprc": classification.value(auprc, num_exams),
        "auprc_ci95": bootstrap.interval(auprc, patients, resamples, seed),
        "prevalence": float(scores.labels.mean()),
        "flags_only_auroc": None,
        "flags_only_auprc": None,
        "margin_over_flags_ci95": None,
        "exams": num_exams,
        "choices": scores.choices,
    }
    if scores.flags_scores is not None:
        flags_auroc = classification.auroc(scores.labels, scores.flags_scores)
        flags_auprc = classification.average_precision(scores.labels, scores.flags_scores)
        metrics["flags_only_auroc"] = classification.value(flags_auroc, num_exams)
        metrics["flags_only_auprc"] = classification.value(flags_auprc, num_exams)
        metrics["margin_over_flags_ci95"] = bootstrap.interval(
            lambda weights: auroc(weights) - flags_auroc(weights), patients, resamples, seed
        )
    return metrics


def _best(
    features: dict[str, np.ndarray],
    fits: dict[str, np.ndarray],
    label: np.ndarray,
    exams: Exams,
    validation: np.ndarray,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Scores of all exams by the probe with the best validation AUROC, and what it is.

    Args:
        features: name -> float (N, F), candidates.
        fits: name -> bool (E,), exams to fit on, candidates.
        label: bool (E,).
        validation: positions of the exams to choose on.
    """
    best_auroc, best_scores, choice = -np.inf, np.zeros(len(exams)), {}
    for feature_name, values in features.items():
        for fit_name, fit_exams in fits.items():
            rows = np.flatnonzero(fit_exams[exams.exam_of_row])
            # Exams weigh the same however many views they have.
            views = np.bincount(exams.exam_of_row[rows], minlength=len(exams))
            for penalty in PENALTIES:
                logit_N = _fit(
                    values,
                    rows,
                    label[exams.exam_of_row],
                    1 / views[exams.exam_of_row[rows]],
                    penalty,
                )
                scores = np.bincount(exams.exam_of_row, logit_N) / np.bincount(exams.exam_of_row)
                auroc = classification.value(
                    classification.auroc(label[validation], scores[validation]), len(validation)
                )
                if auroc is not None and auroc > best_auroc:
                    best_auroc, best_scores = auroc, scores
                    choice = {
                        "features": feature_name,
                        "fit_on": fit_name,
                        "C": penalty,
                        "validation_auroc": auroc,
                    }
    return best_scores, choice


def _fit(
    values_NxF: np.ndarray,
    rows: np.ndarray,
    label_N: np.ndarray,
    weight_of_rows: np.ndarray,
    penalty: float,
) -> np.ndarray:
    """Logits of all N rows by a logistic regression fit on some."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=_MAX_ITERATIONS))
    with warnings.catch_warnings():
        # A weak penalty that has not settled is a candidate like the others: validation judges it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(
            values_NxF[rows].astype(np.float64),
            label_N[rows],
            logisticregression__sample_weight=weight_of_rows,
        )
    return probe.decision_function(values_NxF)
