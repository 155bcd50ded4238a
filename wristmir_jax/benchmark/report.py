"""report.html: one self-contained page of tables, plots and retrieved wrists."""

from typing import Any

import jinja2
from markupsafe import Markup

from wristmir_jax import anatomy
from wristmir_jax.benchmark import plots
from wristmir_jax.benchmark.pictures import Example
from wristmir_jax.benchmark.probes import Scores

_CLASSIFICATION = (
    ("fracture_classification", "All exams"),
    ("fracture_classification_initial", "Initial exams, no cast or metal"),
)


def render(
    metrics: dict[str, Any],
    scores: dict[str, Scores | None],
    examples: tuple[Example, ...],
) -> str:
    """The page as HTML.

    Args:
        metrics: what metrics.json holds.
        scores: probes by their key in `metrics`, for the curves.
        examples: the gallery; may be empty.
    """
    labels = {region: anatomy.region(region).label for region in metrics["region_image_to_text"]}
    recalls = [
        ("Image → text", metrics["image_to_text"]),
        ("Text → image", metrics["text_to_image"]),
        *(
            (f"{labels[region].capitalize()} crop → text", values)
            for region, values in metrics["region_image_to_text"].items()
        ),
    ]
    drawn = {
        "recall": metrics["image_to_text"]["recall@5"] is not None and plots.recall(recalls),
        "region_f1": metrics["region_retrieval"]["two_stage"]["mean_f1"] is not None
        and plots.region_f1(metrics["region_retrieval"], labels),
        "ndcg": metrics["graded_relevance"]["two_stage"]["ndcg@5"] is not None
        and plots.ndcg(metrics["graded_relevance"], labels),
    }
    classification = []
    for key, name in _CLASSIFICATION:
        of = scores[key]
        plot = Markup(plots.curves(of, name)) if of is not None else ""
        classification.append((name, metrics[key], plot))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wristmir_jax.benchmark"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "number": _number}
    environment.filters |= {"interval": _interval, "percent_interval": _percent_interval}
    return environment.get_template("report.html.jinja").render(
        m=metrics,
        labels=labels,
        recalls=recalls,
        classification=classification,
        # Made by matplotlib from numbers and our own words, hence safe.
        plots={name: Markup(svg) if svg else "" for name, svg in drawn.items()},
        examples=examples,
    )


_NONE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _interval(value: list[float] | None) -> str:
    return _NONE if value is None else f"{value[0]:.3f} to {value[1]:.3f}".replace("-", _MINUS)


def _percent_interval(value: list[float] | None) -> str:
    if value is None:
        return _NONE
    return f"{100 * value[0]:.1f} to {100 * value[1]:.1f} %".replace("-", _MINUS)
