"""Plots of the report as inline SVG that follows the page's light or dark colours."""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from wristmir_jax.benchmark.probes import Scores

# Drawn in these, then replaced by the page's variables of the same name.
INK, MUTED, GRID = "#16222e", "#5b6b7b", "#d9e0e7"
OURS, OTHER, BASELINE = "#0b7285", "#d9822b", "#93a1ae"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    OURS: "--ours",
    OTHER: "--other",
    BASELINE: "--baseline",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "wristmir_jax",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
_WIDTH = 4.9


def recall(rows: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Recall@5 with its interval beside constant ranker and chance, a line per direction."""
    rows = [(name, values) for name, values in rows if values["recall@5"] is not None]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(0.9 + 0.42 * len(rows))
        for y, (_, values) in enumerate(rows):
            low, high = values["recall@5_ci95"] or (values["recall@5"], values["recall@5"])
            axes.plot([low, high], [y, y], color=OURS, linewidth=2, solid_capstyle="round")
            for key, colour, marker, size, label in (
                ("chance@5", BASELINE, "|", 11, "chance"),
                ("constant_ranker@5", OTHER, "D", 5, "constant ranker"),
                ("recall@5", OURS, "o", 7, "recall@5, 95 % interval"),
            ):
                axes.plot(
                    values[key],
                    y,
                    marker,
                    color=colour,
                    markersize=size,
                    markeredgewidth=2 if marker == "|" else 0,
                    label=label if y == 0 else None,
                    linestyle="none",
                )
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="x")
        _legend_above(figure, axes, reverse=True)
        return _svg(figure, "Recall at 5 of each direction beside constant ranker and chance")


def curves(scores: Scores, name: str) -> str:
    """ROC and precision-recall curves of the probe and of the probe on flags."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.75), layout="constrained")
        roc, precision_recall = figure.subplots(1, 2)
        roc.plot([0, 1], [0, 1], color=BASELINE, linestyle=":", label="chance")
        precision_recall.axhline(scores.labels.mean(), color=BASELINE, linestyle=":")
        lines: list[tuple[str, np.ndarray | None, str]] = [
            ("flags only", scores.flags_scores, OTHER),
            ("image probe", scores.scores, OURS),
        ]
        for label, values, colour in lines:
            if values is None:
                continue
            x, y, _ = roc_curve(scores.labels, values)
            roc.plot(x, y, color=colour, label=label)
            precision, recall_, _ = precision_recall_curve(scores.labels, values)
            # The last point, precision 1 at recall 0, is a convention and no measurement.
            precision_recall.plot(
                recall_[:-1], precision[:-1], color=colour, drawstyle="steps-post"
            )
        for axes, title, x_label, y_label in (
            (roc, "ROC", "false positive rate", "true positive rate"),
            (precision_recall, "Precision-recall", "recall", "precision"),
        ):
            axes.set_title(title)
            axes.set(xlabel=x_label, ylabel=y_label, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axes.grid()
        _legend_above(figure, roc, reverse=True)
        return _svg(figure, f"ROC and precision-recall curves, {name}")


def region_f1(metrics: dict[str, Any], labels: dict[str, str]) -> str:
    """F1 per region with intervals, global only beside two-stage."""
    regions = [name for name in labels if metrics["queries"][name] is not None]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(2.75)
        x = np.arange(len(regions) + 1)
        for offset, method, colour, label in (
            (-0.19, "global_only", OTHER, "global only"),
            (0.19, "two_stage", OURS, "two-stage"),
        ):
            of = metrics[method]
            values = [of["mean_f1"], *(of["per_region"][name] for name in regions)]
            intervals = [of["mean_f1_ci95"], *(of["per_region_ci95"][name] for name in regions)]
            axes.bar(x + offset, values, 0.36, color=colour, label=label)
            _whiskers(axes, x + offset, values, intervals)
        for position, name in enumerate(regions, start=1):
            axes.plot(
                [position - 0.4, position + 0.4],
                [metrics["always_fractured"][name]] * 2,
                color=MUTED,
                linestyle=":",
                linewidth=1.5,
                label="every bone called fractured" if position == 1 else None,
            )
        _finish_bars(axes, ["mean", *(labels[name] for name in regions)], "F1")
        _legend_above(figure, axes)
        return _svg(figure, "F1 per region, global only beside two-stage search")


def ndcg(metrics: dict[str, Any], labels: dict[str, str]) -> str:
    """nDCG@5 per region: chance, global only, two-stage."""
    regions = [name for name in labels if metrics["two_stage"]["per_region"][name] is not None]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(2.75)
        x = np.arange(len(regions) + 1)
        for offset, method, colour, label in (
            (-0.27, "chance", BASELINE, "random order"),
            (0.0, "global_only", OTHER, "global only"),
            (0.27, "two_stage", OURS, "two-stage"),
        ):
            of = metrics[method]
            values = [of["ndcg@5"], *(of["per_region"][name] for name in regions)]
            axes.bar(x + offset, values, 0.25, color=colour, label=label)
        _finish_bars(axes, ["mean", *(labels[name] for name in regions)], "nDCG@5")
        _legend_above(figure, axes)
        return _svg(figure, "Graded relevance, nDCG at 5, per region")


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _finish_bars(axes: Axes, names: list[str], label: str) -> None:
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names], color=INK)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)


def _whiskers(
    axes: Axes, x: np.ndarray, values: list[float], intervals: list[list[float] | None]
) -> None:
    for position, value, interval in zip(x, values, intervals, strict=True):
        low, high = interval or (value, value)
        axes.plot([position, position], [low, high], color=INK, linewidth=1.4)


def _legend_above(figure: Figure, axes: Axes, reverse: bool = False) -> None:
    handles, names = axes.get_legend_handles_labels()
    step = -1 if reverse else 1
    figure.legend(
        handles[::step],
        names[::step],
        loc="outside upper left",
        ncols=3,
        handlelength=1.2,
        columnspacing=1.2,
    )


def _svg(figure: Figure, description: str) -> str:
    """Inline SVG of a figure; its colours are the page's variables, its text the page's font."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    # Clip paths of several figures on one page must not share names.
    salt = re.sub(r"\W+", "-", description.lower())
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\1{salt}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{description}"', 1)
