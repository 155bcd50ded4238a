import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from wristmir_jax.benchmark import classification


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 12))
def test_weighted_scores_equal_those_of_scikit_learn(seed, num_units, num_scores):
    rng = np.random.default_rng(seed)
    labels = rng.random(num_units) < 0.4
    labels[:2] = True, False
    scores = rng.integers(0, num_scores, num_units) / 7
    # Each row is a resample; every class is drawn at least once.
    weights = rng.integers(0, 4, (3, num_units)).astype(float)
    weights[:, :2] += 1
    auroc = classification.auroc(labels, scores)(weights)
    precision = classification.average_precision(labels, scores)(weights)
    f1 = classification.f1(labels, scores > 0.5)(weights)
    for b in range(3):
        repeated = np.repeat(np.arange(num_units), weights[b].astype(int))
        y, s = labels[repeated], scores[repeated]
        np.testing.assert_allclose(auroc[b], roc_auc_score(y, s), rtol=1e-9)
        np.testing.assert_allclose(precision[b], average_precision_score(y, s), rtol=1e-9)
        np.testing.assert_allclose(f1[b], f1_score(y, s > 0.5, zero_division=0), rtol=1e-9)


def test_a_draw_of_one_class_is_undefined_and_not_zero():
    labels, scores = np.array([True, False]), np.array([0.5, 0.5])
    only_positive, only_negative = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert np.isnan(classification.auroc(labels, scores)(only_positive)).all()
    assert np.isnan(classification.average_precision(labels, scores)(only_negative)).all()
    assert np.isnan(classification.f1(labels, labels)(only_negative)).all()
    assert classification.value(classification.auroc(labels[:1], scores[:1]), 1) is None
