"""Aggregate the metadata of GRAZPEDWRI-DX into the small table of frequencies that phantoms follow.

    python tools/phantom_frequencies.py --csv=dataset.csv \\
        --output=wristmir_jax/images/phantom_frequencies.json

Only counts are written, never rows. An *episode* is one injury of one wrist: an initial exam and
the follow-ups after it, or follow-ups whose first exam is not in the data set.
"""

import collections
import csv
import json
import re

from absl import app, flags
from etils import epath

_CSV = flags.DEFINE_string("csv", None, "dataset.csv of GRAZPEDWRI-DX.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Where the JSON goes.", required=True)

AGE_EDGES = (0, 3, 5, 7, 9, 11, 13, 15, 20)
_MIN_EPISODES = 4
_MAX_EXAMS = 12
# Codes that are drawn; others (other carpals, fingers, Monteggia) are left out of a pattern.
_DRAWN = re.compile(r"(23[ru]?-[EM]/\d|22[ru]?-D/[1245]|72B)")
_SLIPS = {"23u/E/7": "23u-E/7", "23u-E7": "23u-E/7", "23r-M3.1": "23r-M/3.1"}


def _codes(rows: list[dict[str, str]]) -> tuple[str, ...]:
    found = set()
    for row in rows:
        for code in re.split("[;,]", row["ao_classification"]):
            match = _DRAWN.match(_SLIPS.get(code.strip(), code.strip()))
            if match:
                found.add(match.group(1))
    return tuple(sorted(found))


def pattern_class(codes: tuple[str, ...]) -> str:
    """The kind of injury that decides casts, wires and how often it is seen again."""
    if not codes:
        return "none"
    if any("-M/3" in code or code.startswith("22") for code in codes):
        return (
            "both_complete"
            if any(code.startswith(("23-M/3", "22-D")) for code in codes)
            else "complete"
        )
    if any("-E/" in code and not code.endswith("E/7") for code in codes):
        return "physeal"
    if any("-M/2" in code for code in codes):
        return "incomplete"
    return "other"


def aggregate(rows: list[dict[str, str]]) -> dict:
    """The table; `wristmir_jax/images/phantom_episodes.py` reads it."""
    exams = collections.defaultdict(list)
    for row in rows:
        exams[row["patient_id"], row["laterality"], int(row["study_number"])].append(row)
    episodes: list[list[list[dict[str, str]]]] = []
    wrists = collections.defaultdict(list)
    for patient, side, study in sorted(exams):
        wrists[patient, side].append(study)
    for (patient, side), studies in wrists.items():
        for study in studies:
            exam = exams[patient, side, study]
            if _initial(exam) or study == studies[0]:
                episodes.append([])
            episodes[-1].append(exam)

    patterns = collections.defaultdict(
        lambda: {"episodes": 0, "ages": [0] * (len(AGE_EDGES) - 1), "male": 0}
    )
    sequences = collections.defaultdict(collections.Counter)
    marks = collections.defaultdict(collections.Counter)
    views = collections.Counter()
    uncertain = collections.defaultdict(lambda: [0, 0])
    left = 0
    counts = collections.Counter(_episode_codes(episode) for episode in episodes)
    for episode in episodes:
        codes = _episode_codes(episode)
        if counts[codes] < _MIN_EPISODES:
            codes = _commoner(codes, counts)
        entry = patterns[codes]
        entry["episodes"] += 1
        first = episode[0][0]
        entry["ages"][_age_bin(float(first["age"]))] += 1
        entry["male"] += first["gender"] == "M"
        kind = pattern_class(codes)
        left += first["laterality"] == "L"
        sequences[kind][
            "".join("I" if _initial(exam) else "f" for exam in episode)[:_MAX_EXAMS]
        ] += 1
        for exam in episode:
            key = f"{kind}/{'initial' if _initial(exam) else 'follow_up'}"
            marks[key][
                "".join(str(int(_any(exam, name))) for name in ("cast", "metal", "osteopenia"))
            ] += 1
            uncertain[key][0] += _any(exam, "diagnosis_uncertain")
            uncertain[key][1] += 1
            views["".join(sorted({row["projection"] for row in exam}))] += 1
    sides = collections.Counter(patient for patient, _ in wrists)
    injuries = collections.Counter()
    for (patient, side), studies in wrists.items():
        later = sum(_initial(exams[patient, side, study]) for study in studies[1:])
        injuries[patient] += 1 + later
    return {
        "source": "counts over GRAZPEDWRI-DX (Nagy et al. 2022, CC BY 4.0)",
        "age_edges": AGE_EDGES,
        "patterns": [
            {"codes": list(codes), "class": pattern_class(codes), **entry}
            for codes, entry in sorted(patterns.items(), key=lambda item: -item[1]["episodes"])
        ],
        "sequences": {
            kind: dict(counter.most_common(48)) for kind, counter in sorted(sequences.items())
        },
        "cast_metal_osteopenia": {key: dict(counter) for key, counter in sorted(marks.items())},
        "uncertain": {key: value for key, value in sorted(uncertain.items())},
        "views": dict(views.most_common()),
        "left": [left, len(episodes)],
        "both_sides": [sum(n > 1 for n in sides.values()), len(sides)],
        "episodes_per_patient": dict(
            sorted(collections.Counter(min(n, 4) for n in injuries.values()).items())
        ),
    }


def _initial(exam: list[dict[str, str]]) -> bool:
    return _any(exam, "initial_exam")


def _any(exam: list[dict[str, str]], name: str) -> bool:
    return any(row[name] == "1" for row in exam)


def _episode_codes(episode: list[list[dict[str, str]]]) -> tuple[str, ...]:
    return next((codes for exam in episode if (codes := _codes(exam))), ())


def _commoner(codes: tuple[str, ...], counts: collections.Counter) -> tuple[str, ...]:
    """The commonest pattern made of a part of the codes."""
    part = [
        known
        for known in counts
        if known and counts[known] >= _MIN_EPISODES and set(known) <= set(codes)
    ]
    return max(part, key=lambda known: (len(known), counts[known]), default=())


def _age_bin(age: float) -> int:
    return max(i for i, edge in enumerate(AGE_EDGES[:-1]) if age >= edge or i == 0)


def main(_) -> None:
    with epath.Path(_CSV.value).open() as file:
        rows = list(csv.DictReader(line.lstrip("\ufeff") for line in file))
    epath.Path(_OUTPUT.value).write_text(json.dumps(aggregate(rows), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    app.run(main)
