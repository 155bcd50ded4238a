"""How well a localiser finds the regions of films whose boxes are known, and how sure it may be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from wristmir_jax.anatomy import SIDES, VIEWS, region
from wristmir_jax.data.localizer_batches import film_of
from wristmir_jax.data.pipeline import Source
from wristmir_jax.localizing.localizer import Localizer, evidence, overlap
from wristmir_jax.models.localizer_file import LocalizerFile
from wristmir_jax.progress import with_progress

# A box is right from this intersection over union with the true one on.
RIGHT_OVERLAP = 0.5
_TOGETHER = 32


@dataclass(frozen=True)
class Judged:
    """N films, R regions.

    Attributes:
        there_NxR, gone_NxR: bool, whether the region is on the film, or is not; neither where
            nobody can say.
        overlap_NxR: intersection over union of its box; NaN where it is not there.
        confidence_NxR: of the localiser. evidence_NxRxE: what it is computed from.
        found_NxR: bool, whether the localiser says where it is.
        view_N, found_view_N, side_N, found_side_N: names in `anatomy`.
        axis_error_N: degrees, NaN where there is no axis.
        age_N: years, NaN where unknown.
    """

    there_NxR: np.ndarray
    gone_NxR: np.ndarray
    overlap_NxR: np.ndarray
    confidence_NxR: np.ndarray
    evidence_NxRxE: np.ndarray
    found_NxR: np.ndarray
    view_N: np.ndarray
    found_view_N: np.ndarray
    side_N: np.ndarray
    found_side_N: np.ndarray
    axis_error_N: np.ndarray
    age_N: np.ndarray

    @property
    def known_NxR(self) -> np.ndarray:
        """Whether somebody can say that the region is there, or is not."""
        return self.there_NxR | self.gone_NxR

    @property
    def right_NxR(self) -> np.ndarray:
        """Whether the region is there, and its box is right."""
        return self.there_NxR & (np.nan_to_num(self.overlap_NxR) >= RIGHT_OVERLAP)


def judge(localizer: Localizer, source: Source, indices: Sequence[int]) -> Judged:
    """Ask the localiser about records whose boxes are known.

    Args:
        localizer: to judge.
        source: of records.
        indices: of those to ask about.
    """
    rows: dict[str, list] = {name: [] for name in Judged.__dataclass_fields__}
    chunks = [indices[start : start + _TOGETHER] for start in range(0, len(indices), _TOGETHER)]
    for chunk in with_progress(chunks, "judge", len(indices), count=len):
        records = [source[index] for index in chunk]
        rows["age_N"] += [float(record["age_years"]) for record in records]
        films = [film_of(record) for record in records]
        looks = localizer.look([film["image"] for film in films])
        for film, look in zip(films, looks, strict=True):
            boxes_Rx4, axis = localizer.boxes(look)
            located = localizer.located(look)
            there_R = np.isfinite(film["boxes"]).all(axis=1)
            rows["there_NxR"].append(there_R)
            rows["gone_NxR"].append(np.isnan(film["boxes"]).any(axis=1))
            overlap_R = overlap(
                boxes_Rx4, np.where(there_R[:, None], film["boxes"].astype(np.float64), 0.0)
            )
            rows["overlap_NxR"].append(np.where(there_R, overlap_R, np.nan))
            rows["confidence_NxR"].append(located.confidence)
            rows["evidence_NxRxE"].append(evidence(look))
            rows["found_NxR"].append(np.isfinite(located.boxes).all(axis=1))
            rows["view_N"].append(VIEWS[int(film["view"])])
            rows["found_view_N"].append(located.view)
            rows["side_N"].append(SIDES[int(film["side"])])
            rows["found_side_N"].append(located.laterality)
            off = (np.rad2deg(axis) - float(film["axis_degrees"]) + 180) % 360 - 180
            rows["axis_error_N"].append(abs(off) if there_R.any() else np.nan)
    return Judged(**{name: np.array(values) for name, values in rows.items()})


def calibrated(file: LocalizerFile, judged: Judged) -> LocalizerFile:
    """The localiser with a confidence that fits `judged` (Platt 1999, a logistic regression)."""
    rows = []
    for index in range(len(file.regions)):
        known_N = judged.known_NxR[:, index]
        right_N = judged.right_NxR[known_N, index]
        if right_N.all() or not right_N.any():
            rows.append(np.r_[0.0, 1.0, np.zeros(judged.evidence_NxRxE.shape[-1] - 1)])
            continue
        fit = LogisticRegression(C=10.0, max_iter=1000)
        fit.fit(judged.evidence_NxRxE[known_N, index], right_N)
        rows.append(np.r_[fit.intercept_, fit.coef_[0]])
    return replace(file, calibration=np.array(rows))


def table(judged: Judged, regions: Sequence[str]) -> list[str]:
    """Lines of Markdown: found and refused by view and region, then view, side and axis."""
    lines = [
        "| view | region | there | found, IoU >= .5 | mean IoU | not there | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for view in sorted(set(judged.view_N)):
        of_view_N = judged.view_N == view
        for index, name in enumerate(regions):
            there_N = of_view_N & judged.there_NxR[:, index]
            gone_N = of_view_N & judged.gone_NxR[:, index]
            good_N = judged.right_NxR[:, index] & judged.found_NxR[:, index]
            lines.append(
                f"| {view} | {name} | {there_N.sum()} | {_share(good_N[there_N])} | "
                f"{_mean(judged.overlap_NxR[there_N, index])} | {gone_N.sum()} | "
                f"{_share(~judged.found_NxR[gone_N, index])} |"
            )
    lines.append("")
    ossify_R = np.array([region(name).ossifies for name in regions])
    others_N = judged.there_NxR[:, ~ossify_R].all(axis=1)
    for index, name in enumerate(regions):
        if not ossify_R[index]:
            continue
        scored_N = np.isin(judged.view_N, region(name).scored_views)
        young_N = np.array([region(name).absent(age) for age in judged.age_N])
        gone_N = scored_N & young_N & others_N & judged.gone_NxR[:, index]
        lines.append(
            f"{name} not ossified yet, the other bones there, in views in which it is scored: "
            f"{gone_N.sum()}, refused {_share(~judged.found_NxR[gone_N, index])}"
        )
    seen_N = judged.there_NxR.any(axis=1)
    told_N = judged.found_view_N != "unknown"
    known_N = seen_N & told_N & (judged.view_N != "unknown")
    lines.append("")
    lines.append(
        f"view right {_share((judged.found_view_N == judged.view_N)[known_N])}, "
        f"side right {_share((judged.found_side_N == judged.side_N)[known_N])} "
        f"({_share((judged.found_side_N == judged.side_N)[known_N & (judged.view_N == 'pa')])} "
        f"on PA films), axis within 10 degrees {_share(judged.axis_error_N[seen_N] <= 10)}"
    )
    return lines


def reliability(judged: Judged, bins: int = 10) -> list[str]:
    """Lines of Markdown: how often the localiser is right where it is so sure."""
    known = judged.known_NxR
    confidence, right = judged.confidence_NxR[known], judged.right_NxR[known]
    lines = ["| confidence | regions | mean confidence | right |", "|---|---|---|---|"]
    for low in np.arange(bins) / bins:
        inside = (confidence >= low) & (confidence < low + 1 / bins + 1e-9 * (low + 1 / bins >= 1))
        lines.append(
            f"| {low:.1f} to {low + 1 / bins:.1f} | {inside.sum()} | {_mean(confidence[inside])} | "
            f"{_mean(right[inside].astype(float))} |"
        )
    return lines


def _share(flags: np.ndarray) -> str:
    return f"{flags.mean():.3f}" if len(flags) else "-"


def _mean(values: np.ndarray) -> str:
    return f"{np.nanmean(values):.3f}" if len(values) else "-"
