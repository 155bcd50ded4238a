"""Shapes of real wrists, and how near the phantoms' come to them.

python tools/bone_shapes.py --polygons=bone_polygons.json --metadata=dataset.csv --phantoms=3

The files are those of GRAZPEDWRI-DX: outlines of bones by film, and age, sex, side and projection.
Each film is measured by `wristmir_jax.images.bone_outlines.measure`; for each quantity, view and
age group the mean over films and its 95 % interval (films resampled 2,000 times) are printed. With
--output they are written as the table that the phantoms are held against
(`wristmir_jax/images/real_shapes.json`); with --phantoms=N, N phantoms of every film's age, sex and
view are measured alike and their means stand beside.
"""

import collections
import csv
import json

import numpy as np
from absl import app, flags

from wristmir_jax.images import phantom_anatomy
from wristmir_jax.images.bone_outlines import (
    Outlines,
    Unmeasurable,
    measure,
    phantom_outlines,
)

_POLYGONS = flags.DEFINE_string("polygons", None, "JSON of outlines by film.", required=True)
_METADATA = flags.DEFINE_string("metadata", None, "CSV of the films.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "JSON to write the table of real shapes to.")
_PHANTOMS = flags.DEFINE_integer("phantoms", 0, "Phantoms a film.")

VIEWS = {"1": "pa", "2": "lateral"}
NAMES = {
    "Radius": "radius",
    "Ulna": "ulna",
    "Epiphyse Radius": "radial_epiphysis",
    "Epiphyse Ulna": "ulnar_epiphysis",
    "Os capitatum": "capitate",
    "Os hamatum": "hamate",
    "Os triquetrum": "triquetrum",
    "Os lunatum": "lunate",
    "Os scaphoideum": "scaphoid",
    "Os trapezium": "trapezium",
    "Os trapezoideum": "trapezoid",
    "Os pisiforme": "pisiform",
} | {f"Ossa metacarpalia {n}": f"metacarpal_{k}" for k, n in enumerate("I II III IV V".split(), 1)}
MM_A_PIXEL = 0.144


def load(polygons: str, metadata: str):
    films = json.load(open(polygons))
    rows = {row["filestem"]: row for row in csv.DictReader(open(metadata, encoding="utf-8-sig"))}
    for stem, film in films.items():
        row = rows[stem]
        bones: Outlines = collections.defaultdict(list)
        for polygon in film["polygons"]:
            if name := NAMES.get(polygon["bone"]):
                points = np.array(polygon["points"], float)
                points[:, 0] *= -1.0 if row["laterality"] == "R" else 1.0
                points[:, 1] *= -1.0
                bones[name].append(points * MM_A_PIXEL)
        yield stem, row, film, bones
