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
from pathlib import Path

import numpy as np
from absl import flags

from wristmir_jax.images import phantom_anatomy, phantom_bones
from wristmir_jax.images.bone_outlines import (
    Outlines,
    Unmeasurable,
    fit_waves,
    measure,
    moments,
    normalised_waves,
    phantom_outlines,
    to_frame,
)
from wristmir_jax.images.phantom_parts import WAVES

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
} | {
    f"Ossa metacarpalia {n}": f"metacarpal_{k}"
    for k, n in enumerate(["I", "II", "III", "IV", "V"], 1)
}
MM_A_PIXEL = 0.144


def load(polygons: str, metadata: str):
    films = json.loads(Path(polygons).read_text())
    table = Path(metadata).read_text(encoding="utf-8-sig").splitlines()
    rows = {row["filestem"]: row for row in csv.DictReader(table)}
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


SEX_LEAD = phantom_anatomy.SEX_LEAD
KNOTS = (0.5, 1.5, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0)
# Where the physis is closed, the film shows the width of radius and epiphysis together, and heights
# are measured from the joint surface: the former and what is between the two in units of the
# metaphysis' width, from the films just before.
CLOSED_WIDTH, CLOSED_HEIGHT = 1.14, 0.28


def measured(films) -> tuple[dict[str, list[dict]], list[str]]:
    """Quantities of the films by view, and the films that could not be measured with the reason."""
    found, left_out = {view: [] for view in VIEWS.values()}, []
    for stem, row, _, bones in films:
        try:
            quantities = measure(bones)
        except Unmeasurable as error:
            left_out.append(f"{stem}: {error}")
            continue
        quantities["frame"] = to_frame(bones)[0]
        male, age = row["gender"] == "M", float(row["age"])
        quantities |= {
            "age": age,
            "male": male,
            "skeletal": age / (1.0 if male else SEX_LEAD),
            "closed": "radial_epiphysis" not in bones and age > 12,
        }
        found[VIEWS[row["projection"]]].append(quantities)
    return found, left_out


def curves(films: list[dict], bandwidth: float) -> dict[str, list]:
    """For each quantity its smooth curve over `KNOTS` (boys' years), then the residuals' SD.

    `bandwidth` of the kernel over age is in years; young bones grow fast, so theirs is narrower.
    """
    names = sorted({name for film in films for name in film})
    fitted = {}
    for name in names:
        if name in NOT_COMPARED:
            continue
        with_it = [film for film in films if name in film]
        if name == "joint_slope" or name.startswith(("radius_width", "ulna_y", "ulna_width")):
            with_it = [film for film in with_it if not film["closed"]]
        if name.startswith("metacarpal_1"):
            # Numbered the other way round on a film.
            with_it = [f for f in with_it if f[name] > -0.2]
        if len(with_it) < 3:
            continue
        ages = np.array([film["skeletal"] for film in with_it])
        values = np.array([film[name] for film in with_it])
        closed = np.array([film["closed"] for film in with_it])
        if name == "width":
            values = np.where(closed, values / CLOSED_WIDTH, values)
        elif not name.endswith(("direction", "lean", "slope", "rotation")):
            values = np.where(closed, values * CLOSED_WIDTH, values)
        if name.endswith("_y"):
            values = values + CLOSED_HEIGHT * closed
        if name.endswith("direction"):
            # Directions of an axis: about their circular mean.
            middle = np.angle(np.exp(2j * np.deg2rad(values)).mean()) / 2
            values = np.rad2deg(middle) + (values - np.rad2deg(middle) + 90) % 180 - 90
            # Metacarpals point distally.
            values = values + 180.0 * (name.startswith("metacarpal") and middle < 0)
        low, high = np.median(values) - 6 * _spread(values), np.median(values) + 6 * _spread(values)
        good = (values >= low) & (values <= high)
        ages, values = ages[good], values[good]
        line = [_smooth(ages, values, knot, bandwidth) for knot in KNOTS]
        sd = float(np.sqrt(np.mean((values - np.interp(ages, KNOTS, line)) ** 2)))
        digits = 1 if "direction" in name or name in ("rotation", "joint_slope") else 3
        fitted[name] = [round(v, digits) for v in [*line, sd]]
    return fitted


def _spread(values: np.ndarray) -> float:
    return float(1.48 * np.median(np.abs(values - np.median(values)))) + 1e-9


def _smooth(ages: np.ndarray, values: np.ndarray, at: float, bandwidth: float) -> float:
    """Kernel mean with a local slope where there is enough on both sides."""
    # Nothing is extrapolated.
    at = float(np.clip(at, np.quantile(ages, 0.05), np.quantile(ages, 0.95)))
    width = bandwidth * np.clip(0.17 * at, 0.4, 1.0)
    weights = np.exp(-0.5 * ((ages - at) / width) ** 2) + 1e-9
    offset = ages - at
    mean = np.average(offset, weights=weights)
    spread = np.average((offset - mean) ** 2, weights=weights)
    slope = np.average((offset - mean) * values, weights=weights) / (spread + 1.0)
    reach = np.clip(mean, -1.5, 1.5)
    return float(np.average(values, weights=weights) - slope * reach)


NOT_COMPARED = ("age", "male", "skeletal", "closed", "phantom", "frame")
GROUPS = {
    "pa": (("<6", 0, 6), ("6-10", 6, 10), ("10-13", 10, 13), (">13", 13, 99)),
    "lateral": (("<8", 0, 8), (">8", 8, 99)),
}
FEWEST = 5


def groups(view: str, films: list[dict]):
    """Name and films of each age group; those with closed physes apart."""
    for name, low, high in GROUPS[view]:
        yield name, [f for f in films if low <= f["age"] < high and not f["closed"]]
    yield "closed", [f for f in films if f["closed"]]


def table(films: dict[str, list[dict]]) -> list[dict]:
    """A row for each view, age group and quantity that at least `FEWEST` films have."""
    rows = []
    rng = np.random.default_rng(0)
    for view, of_view in films.items():
        for group, members in groups(view, of_view):
            names = sorted({name for film in members for name in film} - set(NOT_COMPARED))
            for name in names:
                pairs = [(f[name], f.get("phantom", {}).get(name)) for f in members if name in f]
                if len(pairs) < FEWEST:
                    continue
                values = np.array([real for real, _ in pairs])
                drawn = np.concatenate([p for _, p in pairs if p is not None] or [[]])
                if name.endswith("direction"):
                    values, drawn = _unwrapped(values, drawn)
                means = rng.choice(values, (2000, len(values))).mean(1)
                low, high = np.quantile(means, (0.025, 0.975))
                row = {
                    "view": view,
                    "age": group,
                    "quantity": name,
                    "n": len(values),
                    "mean": values.mean(),
                    "low": low,
                    "high": high,
                    "sd": values.std(ddof=1),
                }
                if drawn.size:
                    row |= {"phantom": drawn.mean(), "phantom_sd": drawn.std()}
                rows.append(row)
    return rows


def _unwrapped(values: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = np.rad2deg(np.angle(np.exp(2j * np.deg2rad(values)).mean()) / 2) % 180
    return tuple(middle + (v - middle + 90) % 180 - 90 for v in (values, drawn))


def add_phantoms(films: dict[str, list[dict]], number: int) -> None:
    """Measure `number` phantoms of each film's age, sex, view and physis (open or closed)."""
    for view, of_view in films.items():
        for index, film in enumerate(of_view):
            rng = np.random.default_rng([index, view == "pa"])
            found, tries = [], 0
            while len(found) < number and tries < 40 * number:
                tries += 1
                anatomy = phantom_anatomy.sample_anatomy(film["age"], film["male"], rng)
                if (anatomy.physis == "closed") == film["closed"]:
                    found.append(measure(phantom_outlines(anatomy, view)))
            film["phantom"] = {
                name: np.array([f[name] for f in found if name in f])
                for name in sorted({name for f in found for name in f})
            }


def outlines(films: list[dict], fitted: dict[str, list], bandwidth: float) -> dict[str, list]:
    """Curves like those of `curves`, of the waves of the outlines of carpals and radial epiphysis.

    A carpal is turned so that its long axis lies where that of its age's mean does, moved and
    stretched to a circle's second moments; the epiphysis is made level and as high everywhere as
    `phantom_bones` bends it from the heights and the base at three places.
    """
    found = {}
    for bone in [*(bone.name for bone in phantom_anatomy.CARPALS), "radial_epiphysis"]:
        ages, waves = [], []
        for film in films:
            parts = film["frame"].get(bone, [])
            if len(parts) != 1:
                continue
            points = parts[0]
            if bone == "radial_epiphysis":
                points = _straightened(points, film)
            else:
                mean = np.interp(film["skeletal"], KNOTS, fitted[f"{bone}_direction"][:-1])
                points = _rounded(points, mean)
            ages.append(film["skeletal"])
            shape, radius = fit_waves(points)
            waves.append([*shape, radius])
        if len(waves) < 3:
            continue
        ages, waves = np.array(ages), np.array(waves)
        lines = np.array([[_smooth(ages, w, knot, bandwidth) for knot in KNOTS] for w in waves.T])
        residual = waves - np.array([np.interp(ages, KNOTS, line) for line in lines]).T
        if bone != "radial_epiphysis":
            lines = np.array([normalised_waves(list(knot[:-1])) for knot in lines.T]).T
        names = [*WAVES, "radius"] if bone == "radial_epiphysis" else WAVES
        for name, line, sd in zip(names, lines, residual.std(0), strict=False):
            found[f"{bone}_{name}"] = [round(float(v), 3) for v in [*line, sd]]
    return found


def _straightened(points: np.ndarray, film: dict) -> np.ndarray:
    """An epiphysis in the coordinates of the `Blob` that its heights and base make."""
    form = phantom_bones.epiphysis_form(
        film["radial_epiphysis_width"],
        [film[f"radial_epiphysis_height_at_{share}"] for share in phantom_bones.SHARES],
        [film[f"radial_epiphysis_base_at_{share}"] for share in phantom_bones.SHARES],
    )
    low, high = points[:, 0].min(), points[:, 0].max()
    tu = (points[:, 0] - (low + high) / 2) / form["half_length"]
    height = form["half_height"] * np.maximum(
        1.0 + form["taper"] * tu + form["pinch"] * tu * tu, 0.2
    )
    middle = form["center"] + form["shear"] * tu * form["half_length"] + form["bend"] * tu * tu
    return np.stack([tu, (points[:, 1] - middle) / height], 1)


def _rounded(points: np.ndarray, direction: float) -> np.ndarray:
    """An outline about its centroid with the first axis along its long one, moments as of 1."""
    centre, covariance, _ = moments(points)
    values, vectors = np.linalg.eigh(covariance)
    breadth, length = 2.0 * np.sqrt(values)
    own = np.rad2deg(np.arctan2(vectors[1, 1], vectors[0, 1]))
    if length < 1.15 * breadth:
        own, length, breadth = direction, *[np.sqrt(length * breadth)] * 2
    own = np.deg2rad(direction + (own - direction + 90.0) % 180.0 - 90.0)
    along = np.array([np.cos(own), np.sin(own)])
    across = np.array([-along[1], along[0]])
    return (points - centre) @ np.stack([along / length, across / breadth], 1)
