"""Recall@K between radiographs and captions, both ways, beside the baselines that keep it honest.

Equal canonical captions are one candidate and one group of positives. Beside every recall stand
the size of the gallery, chance, the constant ranker (the same five answers to every query: the
commonest training captions) and macro recall, in which every caption group weighs the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from wristmir_jax.benchmark import bootstrap
from wristmir_jax.benchmark.bootstrap import Statistic
from wristmir_jax.learning.ranks import best_positive_ranks

KS = (1, 5, 10)
HEADLINE_K = 5


@dataclass(frozen=True)
class CaptionGallery:
    """Test radiographs with a caption, and the distinct captions among them.

    Attributes:
        image_embedding: float32 (N, D), L2-normalised.
        image_caption: int (N,), position of each image's caption in the gallery.
        patients: (N,) names or codes.
        caption_embedding: float32 (K, D), L2-normalised.
        train_count: int (K,), training images with that caption.
    """

    image_embedding: np.ndarray
    image_caption: np.ndarray
    patients: np.ndarray
    caption_embedding: np.ndarray
    train_count: np.ndarray


def image_to_text(
    gallery: CaptionGallery,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> dict[str, Any] | None:
    """Every radiograph asks for its caption among the distinct captions.

    Returns:
        None without a captioned radiograph, else: queries, gallery_size, recall@1/5/10,
        macro_recall@5 (mean over caption groups of the recall within the group), chance@5,
        constant_ranker@5, margin_over_constant@5, and patient-level 95 % intervals:
        recall@5_ci95, macro_recall@5_ci95, margin_over_constant_ci95 (paired).
    """
    num_images, num_captions = len(gallery.image_embedding), len(gallery.caption_embedding)
    if not num_images:
        return None
    ranks = best_positive_ranks(
        gallery.image_embedding,
        gallery.image_caption,
        gallery.caption_embedding,
        np.arange(num_captions),
    )
    hit = (ranks <= HEADLINE_K).astype(np.float64)
    constant = np.isin(gallery.image_caption, commonest_captions(gallery, HEADLINE_K))
    macro = _macro(hit, gallery.image_caption)

    def ci(statistic: Statistic) -> list[float] | None:
        return bootstrap.interval(statistic, gallery.patients, resamples, seed)

    return {
        "queries": num_images,
        "gallery_size": num_captions,
        **{f"recall@{k}": float((ranks <= k).mean()) for k in KS},
        "recall@5_ci95": ci(bootstrap.mean(hit)),
        "macro_recall@5": float(macro(np.ones((1, num_images)))[0]),
        "macro_recall@5_ci95": ci(macro),
        "chance@5": min(1.0, HEADLINE_K / num_captions),
        "constant_ranker@5": float(constant.mean()),
        "margin_over_constant@5": float((hit - constant).mean()),
        "margin_over_constant_ci95": ci(bootstrap.mean(hit - constant)),
    }


def text_to_image(
    gallery: CaptionGallery,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> dict[str, Any] | None:
    """Every distinct caption asks for one of its radiographs among all of them.

    A caption belongs to no patient, so none is left out. Every caption is asked once, hence
    recall@5 is macro recall already and both keys hold one number.

    Returns:
        None without a captioned radiograph, else the keys of `image_to_text` apart from the
        intervals of macro recall and margin. chance@5 is exact: a draw of five radiographs without
        replacement holds one of the caption's m. The constant ranker always returns one radiograph
        of each of the five commonest training captions. recall@5_ci95 draws patients of the
        radiographs (a caption's weight is that of its images), with the gallery as it is.
    """
    num_images, num_captions = len(gallery.image_embedding), len(gallery.caption_embedding)
    if not num_images:
        return None
    ranks = best_positive_ranks(
        gallery.caption_embedding,
        np.arange(num_captions),
        gallery.image_embedding,
        gallery.image_caption,
    )
    hit = (ranks <= HEADLINE_K).astype(np.float64)
    sizes = np.bincount(gallery.image_caption, minlength=num_captions)
    return {
        "queries": num_captions,
        "gallery_size": num_images,
        **{f"recall@{k}": float((ranks <= k).mean()) for k in KS},
        "recall@5_ci95": bootstrap.interval(
            _macro(hit[gallery.image_caption], gallery.image_caption),
            gallery.patients,
            resamples,
            seed,
        ),
        "macro_recall@5": float(hit.mean()),
        "chance@5": float(chance_of_a_hit(sizes, num_images, HEADLINE_K).mean()),
        "constant_ranker@5": min(HEADLINE_K, num_captions) / num_captions,
    }


def commonest_captions(gallery: CaptionGallery, k: int) -> np.ndarray:
    """Positions of the k captions of the gallery that are commonest in training.

    Ties, and captions that training never saw, are ordered by how many queries have them: that can
    only make the baseline stronger.
    """
    test_count = np.bincount(gallery.image_caption, minlength=len(gallery.train_count))
    return np.lexsort((-test_count, -gallery.train_count))[:k]


def chance_of_a_hit(positives: np.ndarray, gallery_size: int, k: int) -> np.ndarray:
    """P(k draws without replacement from `gallery_size` hold at least one of `positives`).

    1 - C(N - m, k) / C(N, k), the hypergeometric distribution.

    Args:
        positives: int (Q,), m of each query.

    Returns:
        float64 (Q,).
    """
    k = min(k, gallery_size)
    rest = gallery_size - np.asarray(positives, np.float64)
    # Fewer than k others: a draw cannot miss.
    others = np.maximum(rest, k)
    log_miss = (
        gammaln(others + 1)
        - gammaln(others - k + 1)
        - gammaln(gallery_size + 1.0)
        + gammaln(gallery_size - k + 1.0)
    )
    return np.where(rest < k, 1.0, 1.0 - np.exp(log_miss))


def _macro(values_N: np.ndarray, group_N: np.ndarray) -> Statistic:
    """Mean over groups of the mean within the group.

    In a resample a group weighs by how often its units were drawn for each that it has. Were groups
    that happen not to be drawn left out instead, the rare ones would be missing from most resamples
    and the interval would be that of the common ones.
    """
    group_N = np.asarray(group_N)
    share_N = 1.0 / np.bincount(group_N)[group_N]

    def statistic(weights_BxN: np.ndarray) -> np.ndarray:
        return bootstrap.ratio(weights_BxN @ (share_N * values_N), weights_BxN @ share_N)

    return statistic
