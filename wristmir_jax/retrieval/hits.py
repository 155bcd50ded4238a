"""What a search found, exam by exam: as values, as JSON lines, and as a table for people."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_GAP = "  "
_NONE = "\N{EN DASH}"
_LEAST_TEXT = 30


@dataclass(frozen=True)
class Hit:
    """One exam that was found.

    Attributes:
        rank: from 1.
        score: what hits are ordered by; inner products of unit vectors. A hit that does not show
            the region which the query shows comes last, by its global score minus 3.
        region_score: None where query or exam does not show the region, and without a region.
        caption: the exam's canonical caption, "" where there is none.
        region_caption: of the region that was searched for, "" where there is none.
        findings: the exam's `Findings` as JSON values, None where there are none.
        image_ids, views: the exam's images; every one has an id and a view.
        laterality, sex: names from `anatomy`.
        age_years: None where unknown.
    """

    rank: int
    exam_id: str
    score: float
    global_score: float
    region_score: float | None
    caption: str
    region_caption: str
    findings: dict[str, Any] | None
    image_ids: tuple[str, ...]
    views: tuple[str, ...]
    laterality: str
    sex: str
    age_years: float | None

    @classmethod
    def of_exam(
        cls,
        rank: int,
        rows: Sequence[dict[str, Any]],
        region: str | None,
        score: float,
        global_score: float,
        region_score: float | None,
    ) -> "Hit":
        """A hit from the exam's rows of `retrieval.store.id_schema`."""
        first = rows[0]
        return cls(
            rank=rank,
            exam_id=first["exam_id"],
            score=score,
            global_score=global_score,
            region_score=region_score,
            caption=first["caption"],
            region_caption="" if region is None else first[f"{region}_caption"],
            findings=json.loads(first["findings"]) if first["findings"] else None,
            image_ids=tuple(row["image_id"] for row in rows),
            views=tuple(row["view"] for row in rows),
            laterality=first["laterality"],
            sex=first["sex"],
            # Stored as float32: the decimals of a float64 are not the radiologist's.
            age_years=None if first["age_years"] is None else round(first["age_years"], 2),
        )

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def facts(self) -> str:
        """Views, side, age and sex, as far as they are known, for people."""
        views = [{"pa": "PA"}.get(view, view) for view in dict.fromkeys(self.views)]
        facts = ["+".join(view for view in views if view != "unknown")]
        facts += [name for name in (self.laterality, self.sex) if name != "unknown"]
        if self.age_years is not None:
            facts.append(f"{self.age_years:.0f} y")
        return ", ".join(fact for fact in facts if fact)


def table(hits: Sequence[Hit], region: str | None = None, width: int = 100) -> str:
    """Hits for a person to read, captions wrapped to the width.

    Args:
        region: the region that was searched for; its score and caption are shown.
        width: characters a line; exam ids are never cut, so that lines may be longer.
    """
    rows = []
    for hit in hits:
        scores = [hit.score] if region is None else [hit.score, hit.global_score, hit.region_score]
        rows.append(
            [str(hit.rank), hit.exam_id]
            + [_NONE if score is None else f"{score:.3f}" for score in scores]
        )
    heads = ["rank", "exam", "score", *(() if region is None else ("global", "region"))]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    indent = sum(widths) + len(_GAP) * len(widths)
    room = max(width - indent, _LEAST_TEXT)
    lines = [_line(heads, widths, "findings")]
    for hit, row in zip(hits, rows, strict=True):
        said = (hit.caption if region is None else hit.region_caption) or "nothing is said of it"
        wrapped = textwrap.wrap(said, room) + textwrap.wrap(hit.facts(), room)
        lines.append(_line(row, widths, wrapped[0]))
        lines += [" " * indent + line for line in wrapped[1:]]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], text: str) -> str:
    padded = [
        cell.ljust(width) if column == 1 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return _GAP.join([*padded, text])
