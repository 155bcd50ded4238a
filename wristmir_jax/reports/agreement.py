"""How well mined findings agree with others: a gold set, or another miner.

Scored as GUIDELINE.md's users expect: statuses by macro F1 over the four of them, pooled over the
regions, and F1 of `fracture` for each region; other fields by micro F1 over stated values, where a
wrong value is one false positive and one false negative; sides by accuracy.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.reports.findings import DETAILS, STATUSES, Findings

FLAGS = ("cast", "hardware", "osteopenia", "soft_tissue_swelling", "physis")
FIELDS = (*DETAILS, *FLAGS, "views", "other_fractures")
# Words of other fractures that mean the same.
_SAME = {
    "1st": "first",
    "2nd": "second",
    "3rd": "third",
    "4th": "fourth",
    "5th": "fifth",
    "midshaft": "shaft",
    "diaphysis": "shaft",
    "diaphyseal": "shaft",
    "radius": "radial",
    "ulna": "ulnar",
    "triquetrum": "triquetral",
}


@dataclasses.dataclass
class Counts:
    """Of one wrist: what agrees and what does not.

    Attributes:
        status: (R, 4, 4), expected by mined; a missing exam counts as a wrong status everywhere.
        fields: of each of `FIELDS` true positives, false positives and false negatives.
        side: whether the side is right.
    """

    status: np.ndarray
    fields: dict[str, np.ndarray]
    side: bool


def compare(expected: Findings, mined: Findings | None) -> Counts:
    """Of one exam and side."""
    status = np.zeros((len(REGION_NAMES), len(STATUSES), len(STATUSES)))
    fields = {name: np.zeros(3) for name in FIELDS}
    for row, region in enumerate(REGION_NAMES):
        theirs = expected.regions[region]
        ours = mined.regions[region] if mined else None
        column = STATUSES.index(ours.status) if ours else _wrong(theirs.status)
        status[row, STATUSES.index(theirs.status), column] += 1
        for name in DETAILS:
            _count(fields[name], getattr(theirs, name), getattr(ours, name) if ours else None)
    for name in FLAGS:
        _count(fields[name], getattr(expected, name), getattr(mined, name) if mined else None)
    _count_sets(fields["views"], expected.views, mined.views if mined else ())
    _count_names(
        fields["other_fractures"],
        expected.other_fractures,
        mined.other_fractures if mined else (),
    )
    return Counts(status, fields, mined is not None and mined.laterality == expected.laterality)


def _wrong(status: str) -> int:
    return (STATUSES.index(status) + 1) % len(STATUSES)


def _count(counts: np.ndarray, expected: object, mined: object) -> None:
    if expected is not None and expected == mined:
        counts[0] += 1
    else:
        counts[1] += mined is not None
        counts[2] += expected is not None


def _count_sets(counts: np.ndarray, expected: Sequence[str], mined: Sequence[str]) -> None:
    both = len(set(expected) & set(mined))
    counts += (both, len(set(mined)) - both, len(set(expected)) - both)


def _count_names(counts: np.ndarray, expected: Sequence[str], mined: Sequence[str]) -> None:
    """A name is met by one that has all its words."""
    theirs, ours = ([_words(name) for name in names] for names in (expected, mined))
    met = sum(any(a <= b for b in ours) for a in theirs)
    idle = sum(not any(a <= b for a in theirs) for b in ours)
    counts += (met, idle, len(theirs) - met)


def _words(name: str) -> set[str]:
    return {_SAME.get(word, word) for word in name.replace("-", " ").split()}


def matched(
    expected: Sequence[Findings], mined: Sequence[Findings]
) -> list[tuple[Findings, Findings | None]]:
    """Findings of one exam, side by side; a side that is unknown matches where it is alone."""
    by_side = {findings.laterality: findings for findings in mined}
    alone = mined[0] if len(expected) == len(mined) == 1 else None
    return [(item, by_side.get(item.laterality, alone)) for item in expected]


def disagreement(
    a: Mapping[str, Sequence[Findings]], b: Mapping[str, Sequence[Findings]]
) -> list[tuple[str, int, int, int, int]]:
    """Rows (field, both say the same, say different things, only the first says, only the second).

    Over the exams and sides that both have; `exam and side` counts those themselves.
    """
    rows: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(4, int))
    for exam in sorted({*a, *b}):
        left, right = (
            {item.laterality: item for item in source.get(exam, ())} for source in (a, b)
        )
        for side in sorted({*left, *right}):
            one, other = left.get(side), right.get(side)
            rows["exam and side"] += (
                one is not None and other is not None,
                0,
                other is None,
                one is None,
            )
            if one is None or other is None:
                continue
            for name, x, y in _values(one, other):
                rows[name] += (
                    x is not None and x == y,
                    x is not None and y is not None and x != y,
                    x is not None and y is None,
                    x is None and y is not None,
                )
    return [(name, int(a), int(b), int(c), int(d)) for name, (a, b, c, d) in rows.items()]


def _values(one: Findings, other: Findings) -> Iterable[tuple[str, object, object]]:
    for region in REGION_NAMES:
        x, y = one.regions[region], other.regions[region]
        yield f"{region} status", x.status, y.status
        for name in DETAILS:
            yield f"{region} {name}", getattr(x, name), getattr(y, name)
    for name in FLAGS:
        yield name, getattr(one, name), getattr(other, name)
    yield "views", one.views or None, other.views or None
    yield "other_fractures", one.other_fractures or None, other.other_fractures or None
