"""Draws a search result: the query's film and crop beside those of the exams that were found.

python tools/search_picture.py --index=runs/demo/index --dataset=runs/demo/dataset \
  --query_exam=ID --region=distal_radius --output=docs/search_result.png
"""

import sys
import textwrap
from dataclasses import dataclass

import numpy as np
from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wristmir_jax import anatomy
from wristmir_jax.benchmark.pictures import box_on_letterbox, facts_of
from wristmir_jax.data.dataset import ALL_SPLITS, Dataset, RecordSource
from wristmir_jax.errors import UserError
from wristmir_jax.retrieval.questions import ask_with_exam
from wristmir_jax.retrieval.searching import Answer, answer
from wristmir_jax.retrieval.two_stage import TOP_K, Index

_INDEX = flags.DEFINE_string("index", None, "Folder that `index` wrote.", required=True)
_DATASET = flags.DEFINE_string("dataset", None, "Data set that was embedded.", required=True)
_QUERY_EXAM = flags.DEFINE_string(
    "query_exam", None, "Exam of the index to ask with.", required=True
)
_REGION = flags.DEFINE_enum(
    "region", anatomy.REGION_NAMES[0], anatomy.REGION_NAMES, "Bone in question."
)
_TOP_K = flags.DEFINE_integer("top_k", TOP_K, "Exams to show.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "PNG to write.", required=True)

_DOTS_PER_INCH = 150
_CELL_INCHES = 2.0
_TEXT_INCHES = 1.15
_BOX_COLOUR, _QUERY_COLOUR, _INK, _FAINT = "#ffd43b", "#1c7ed6", "#212529", "#868e96"


@dataclass(frozen=True)
class Wrist:
    """A film of one exam.

    Attributes:
        film: uint8 (S, S), as acquired.
        crop: uint8 (C, C), None where the exam does not show the region.
        box: left, top, width, height of the region in percent of the film.
        view: for the choice of the other films.
        heading, caption, facts: what stands below.
    """

    film: np.ndarray
    crop: np.ndarray | None
    box: tuple[float, float, float, float] | None
    view: str
    heading: str
    caption: str
    facts: str


def draw(index: Index, dataset: Dataset, found: Answer) -> Figure:
    """The query on the left, what was found on the right, films above crops.

    Args:
        dataset: that the index's embeddings are of.
        found: the answer to an exam, asked for a region.

    Raises:
        UserError: the data set is another one than the index's.
    """
    assert found.region is not None and found.question.exam_id is not None
    sources = {split: dataset.source(split) for split in dataset.splits(ALL_SPLITS)}
    query = _wrist(index, sources, found.question.exam_id, found.region, "pa", "Query")
    wrists = [query]
    for hit in found.hits:
        bone = "no bone score" if hit.region_score is None else f"bone {hit.region_score:.2f}"
        heading = f"{hit.rank}.  score {hit.score:.2f}\nwrist {hit.global_score:.2f}, {bone}"
        wrists.append(_wrist(index, sources, hit.exam_id, found.region, query.view, heading))

    columns = len(wrists)
    figure = Figure(
        figsize=(_CELL_INCHES * (columns + 0.3), 2 * _CELL_INCHES + _TEXT_INCHES + 0.5),
        dpi=_DOTS_PER_INCH,
        facecolor="white",
    )
    label = anatomy.region(found.region).label
    figure.suptitle(
        f"{index.metadata.title}: the exams found for the query's {label}",
        x=0.012, y=0.985, ha="left", va="top", fontsize=12, color=_INK, weight="bold",
    )  # fmt: skip
    # A narrow empty column parts the query from its answers.
    grid = figure.add_gridspec(
        3, columns + 1,
        width_ratios=[1, 0.12, *[1] * (columns - 1)],
        height_ratios=[_CELL_INCHES, _CELL_INCHES, _TEXT_INCHES],
        left=0.012, right=0.988, top=0.915, bottom=0.01, wspace=0.06, hspace=0.04,
    )  # fmt: skip
    for number, wrist in enumerate(wrists):
        column = number + (number > 0)
        film, crop, text = (figure.add_subplot(grid[row, column]) for row in range(3))
        _show(film, wrist.film, number == 0)
        if wrist.box is not None:
            _frame(film, wrist)
        _show(crop, wrist.crop, number == 0)
        _write(text, wrist)
    return figure


def _wrist(
    index: Index,
    sources: dict[str, RecordSource],
    exam_id: str,
    region: str,
    view: str,
    heading: str,
) -> Wrist:
    """The exam's film that shows the region, of that view if there is one."""
    rows = index.exams.rows(index.exams.exam(exam_id))
    r = index.region(region)
    showing = rows[index.region_present[r, rows]]
    rows = showing if len(showing) else rows
    cells = [index.ids.slice(int(row), 1).to_pylist()[0] for row in rows]
    cell = next((cell for cell in cells if cell["view"] == view), cells[0])
    source, position = sources.get(cell["split"]), cell["record_index"]
    record = source[position] if source is not None and position < len(source) else None
    if record is None or record["image_id"] != cell["image_id"]:
        raise UserError("--dataset is not the data set that was embedded")
    return Wrist(
        film=record["image"],
        crop=record["crops"][r] if len(showing) else None,
        box=box_on_letterbox(record["boxes"][r], record["original_size"]),
        view=cell["view"],
        heading=heading,
        caption=cell[f"{region}_caption"] or "Nothing is said of it.",
        facts=facts_of(cell),
    )


def _show(axes: Axes, pixels: np.ndarray | None, is_query: bool) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(_QUERY_COLOUR if is_query else "white")
        spine.set_linewidth(2 if is_query else 0)
    if pixels is None:
        axes.text(0.5, 0.5, "not shown", ha="center", va="center", color=_FAINT, fontsize=9)
    else:
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")


def _frame(axes: Axes, wrist: Wrist) -> None:
    assert wrist.box is not None
    left, top, width, height = (part / 100 * len(wrist.film) for part in wrist.box)
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), width, height, fill=False, color=_BOX_COLOUR, lw=1.4)
    )


def _write(axes: Axes, wrist: Wrist) -> None:
    axes.axis("off")
    caption = textwrap.fill(wrist.caption, 33, max_lines=4, placeholder=" …")
    axes.text(
        0, 0.97, wrist.heading, va="top", fontsize=8, color=_INK, weight="bold", linespacing=1.3
    )
    lines = wrist.heading.count("\n") + 1
    axes.text(
        0, 0.94 - 0.16 * lines, f"{wrist.facts}\n{caption}", va="top", fontsize=7.5, color=_INK,
        linespacing=1.3,
    )  # fmt: skip


def main(_) -> None:
    index = Index.load(_INDEX.value)
    question = ask_with_exam(index, _QUERY_EXAM.value)
    found = answer(index, question, _REGION.value, _TOP_K.value)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    draw(index, Dataset(_DATASET.value), found).savefig(_OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
