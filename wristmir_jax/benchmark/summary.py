"""The table that `evaluate` prints."""

from typing import Any

from wristmir_jax import anatomy


def table(metrics: dict[str, Any]) -> str:
    """Title, every headline with its interval, and the baselines it must be held against.

    Args:
        metrics: what metrics.json holds.
    """
    exams, patients = metrics["exams"], metrics["patients"]
    image_to_text = metrics["image_to_text"]
    lines = [
        metrics["title"],
        f"test: {exams['test']} exams of {patients['test']} patients; gallery of exams: "
        f"{exams['train']} (train); choices on {exams['validation']} (validation)",
        "",
        _row("", "value", "95 % interval", "beside it"),
    ]
    recalls = [("image to text", image_to_text), ("text to image", metrics["text_to_image"])]
    recalls += [
        (f"{anatomy.region(region).label} crop to text", values)
        for region, values in metrics["region_image_to_text"].items()
    ]
    for name, values in recalls:
        beside = (
            f"gallery {values['gallery_size']}, chance {_percent(values['chance@5'])}, "
            f"constant ranker {_percent(values['constant_ranker@5'])}, "
            f"macro {_percent(values['macro_recall@5'])}"
        )
        lines.append(
            _row(
                f"recall@5 {name}",
                _percent(values["recall@5"]),
                _interval(values["recall@5_ci95"], 100),
                beside if values["recall@5"] is not None else "",
            )
        )
    lines.append(
        _row(
            "  image to text above constant ranker",
            _percent(image_to_text.get("margin_over_constant@5")),
            _interval(image_to_text.get("margin_over_constant_ci95"), 100),
            "paired",
        )
    )
    for key, name in (
        ("fracture_classification", "all exams"),
        ("fracture_classification_initial", "initial, no cast or metal"),
    ):
        values = metrics[key]
        beside = (
            f"flags only {_number(values['flags_only_auroc'])}, "
            f"prevalence {_percent(values['prevalence'])}, AUPRC {_number(values['auprc'])}"
        )
        lines.append(
            _row(
                f"fracture AUROC, {name}",
                _number(values["auroc"]),
                _interval(values["auroc_ci95"]),
                beside if values["auroc"] is not None else "",
            )
        )
    retrieval = metrics["region_retrieval"]
    for method, name in (("global_only", "global only"), ("two_stage", "two-stage")):
        values = retrieval[method]
        per_region = ", ".join(
            f"{anatomy.region(region).label} {_number(value)}"
            for region, value in (values["per_region"] or {}).items()
        )
        lines.append(
            _row(
                f"region mean F1, {name}",
                _number(values["mean_f1"]),
                _interval(values["mean_f1_ci95"]),
                per_region,
            )
        )
    graded = metrics["graded_relevance"]
    lines += [
        _row(
            "  two-stage less global only",
            _number(retrieval["two_stage_minus_global"]["mean_f1"]),
            _interval(retrieval["two_stage_minus_global"]["ci95"]),
            "paired",
        ),
        _row(
            "graded relevance nDCG@5, two-stage",
            _number(graded["two_stage"]["ndcg@5"]),
            "",
            f"global only {_number(graded['global_only']['ndcg@5'])}, "
            f"random order {_number(graded['chance']['ndcg@5'])}",
        ),
        _row(
            "  two-stage less global only",
            _number(graded["two_stage_minus_global"]["ndcg@5"]),
            _interval(graded["two_stage_minus_global"]["ci95"]),
            "paired",
        ),
    ]
    lines += [f"note: {note}" for note in metrics["notes"]]
    return "\n".join(line.rstrip() for line in lines)


def _row(name: str, value: str, interval: str, beside: str) -> str:
    return f"{name:<40}{value:>9}  {interval:<18}{beside}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _interval(interval: list[float] | None, scale: float = 1) -> str:
    if interval is None:
        return ""
    digits = 1 if scale == 100 else 3
    return " to ".join(f"{scale * value:.{digits}f}" for value in interval)
