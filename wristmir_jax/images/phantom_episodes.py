"""Who is filmed: patients, their injuries and follow-ups, as often as in the real metadata.

`phantom_frequencies.json` holds counts over the public metadata of GRAZPEDWRI-DX, made by
`tools/phantom_frequencies.py`; no row of the metadata is in it.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np

from wristmir_jax.images.phantom_anatomy import Anatomy, sample_anatomy
from wristmir_jax.images.phantom_fractures import Injury, follow_up, sample_injury
from wristmir_jax.images.phantom_scene import Extras

_VIEW_NAMES = {"1": "pa", "2": "lateral", "3": "oblique"}
_STYLOID_CODE = "23u-E/7"
_LEAST_YEARS, _MOST_YEARS = 0.5, 18.9


@dataclass(frozen=True)
class Exam:
    """One study of one side, before anything is drawn or written.

    Attributes:
        number: of the exam in the patient's series, from 0.
        codes: AO codes of the injury.
        uncertain: whether its reader hesitates (next to nothing is to be seen).
        weeks: since the injury, 0 on an initial exam.
    """

    number: int
    laterality: str
    anatomy: Anatomy
    initial: bool
    weeks: float
    codes: tuple[str, ...]
    injury: Injury
    extras: Extras
    uncertain: bool
    views: tuple[str, ...]


@functools.cache
def frequencies() -> dict:
    """The table of counts."""
    text = resources.files("wristmir_jax.images").joinpath("phantom_frequencies.json").read_text()
    return json.loads(text)


def patient_exams(rng: np.random.Generator, even_ages: float = 0.0) -> Iterator[Exam]:
    """All exams of one patient in order of time: one or more injuries, each with its follow-ups.

    `even_ages`: how likely the first age is any of childhood's alike, and not one of the table's.
    """
    table = frequencies()
    patients = table["episodes_per_patient"]
    episodes = int(_choose(patients, rng))
    # The table counts patients with films of both sides; they have at least two episodes.
    both, everyone = table["both_sides"]
    changes_side = both / (everyone - patients["1"])
    side = "left" if rng.random() < _ratio(table["left"]) else "right"
    patterns = table["patterns"]
    weights = np.array([pattern["episodes"] for pattern in patterns], float)
    age, male = None, False
    number = 0
    for _ in range(episodes):
        pattern = patterns[int(rng.choice(len(patterns), p=weights / weights.sum()))]
        if age is None:
            male = bool(rng.random() < pattern["male"] / pattern["episodes"])
            if even_ages > 0 and rng.random() < even_ages:
                age = float(rng.uniform(_LEAST_YEARS, _MOST_YEARS))
            else:
                age = _sample_age(pattern["ages"], table["age_edges"], rng)
        else:
            age = min(age + float(rng.exponential(1.0)), _MOST_YEARS)
            if rng.random() < changes_side:
                side = "right" if side == "left" else "left"
        anatomy = sample_anatomy(age, male, rng)
        for exam in _episode(tuple(pattern["codes"]), pattern["class"], anatomy, side, number, rng):
            yield exam
            number = exam.number + 1


def _episode(
    codes: tuple[str, ...],
    kind: str,
    anatomy: Anatomy,
    side: str,
    number: int,
    rng: np.random.Generator,
) -> Iterator[Exam]:
    """The exams of one injury, numbered from `number`."""
    table = frequencies()
    if _STYLOID_CODE in codes and anatomy.styloid <= 0:
        # Still cartilage in this child: the rest of the injury, or the commonest one.
        codes = tuple(code for code in codes if code != _STYLOID_CODE) or ("23r-M/2",)
    fresh = sample_injury(codes, anatomy, rng)
    sequence = _choose(table["sequences"][kind], rng)
    flags = [_choose(table["cast_metal_osteopenia"][f"{kind}/follow_up"], rng) for _ in sequence]
    # Casts come first and thin bone late.
    flags.sort(key=lambda flag: (flag[2] == "1", flag[0] != "1"))
    weeks = 0.0
    for k, letter in enumerate(sequence):
        initial = letter == "I"
        stage = f"{kind}/{'initial' if initial else 'follow_up'}"
        weeks = 0.0 if initial else weeks + rng.uniform(0.8, 3.2)
        flag = _choose(table["cast_metal_osteopenia"][stage], rng) if initial else flags[k]
        cast, metal, osteopenia = (letter == "1" for letter in flag)
        uncertain = initial and bool(rng.random() < _ratio(table["uncertain"][stage]))
        injury = fresh
        if uncertain:
            shown = codes or (("23r-M/2",) if rng.random() < 0.6 else ())
            injury = sample_injury(shown, anatomy, rng, severity=rng.uniform(0.0, 0.08))
        if not initial:
            injury = follow_up(injury, weeks, metal, rng)
        yield Exam(
            number=number + k,
            laterality=side,
            anatomy=anatomy,
            initial=initial,
            weeks=weeks,
            codes=codes,
            injury=injury,
            extras=Extras(cast, int(rng.integers(2, 4)) if metal else 0, osteopenia),
            uncertain=uncertain,
            views=tuple(_VIEW_NAMES[digit] for digit in _choose(table["views"], rng)),
        )


def _choose(counts: dict[str, int], rng: np.random.Generator) -> str:
    weights = np.array(list(counts.values()), float)
    return list(counts)[int(rng.choice(len(counts), p=weights / weights.sum()))]


def _ratio(part_of: list[int]) -> float:
    part, whole = part_of
    return part / max(whole, 1)


def _sample_age(counts: list[int], edges: list[int], rng: np.random.Generator) -> float:
    weights = np.array(counts, float)
    bin_ = int(rng.choice(len(counts), p=weights / weights.sum()))
    return float(np.clip(rng.uniform(edges[bin_], edges[bin_ + 1]), _LEAST_YEARS, _MOST_YEARS))
