"""Shapes of real wrists as a table: what phantoms take their curves from and are held against.

From the outlines and the metadata of GRAZPEDWRI-DX (CC BY 4.0) only means, intervals and smooth
curves are kept, no film's outline.
"""

import collections
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from etils import epath

from wristmir_jax.errors import UserError
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

VIEWS = {"1": "pa", "2": "lateral"}
BONES = {
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
    "Ossa metacarpalia I": "metacarpal_1",
    "Ossa metacarpalia II": "metacarpal_2",
    "Ossa metacarpalia III": "metacarpal_3",
    "Ossa metacarpalia IV": "metacarpal_4",
    "Ossa metacarpalia V": "metacarpal_5",
}
# Ages of the curves, boys' years.
KNOTS = (0.5, 1.5, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0)
# Half-width of the kernels that smooth over age, years: of quantities and of outlines.
BANDWIDTHS = {"pa": (2.0, 3.0), "lateral": (3.5, 6.0)}
# Where the physis is closed, the film shows the width of radius and epiphysis together, and heights
# are measured from the joint surface: the former and what is between the two in units of the
# metaphysis' width, from the films just before.
CLOSED_WIDTH, CLOSED_HEIGHT = 1.14, 0.28
# Age groups of the table, years; films with closed physes are a group of their own.
GROUPS = {
    "pa": (("<6", 0, 6), ("6-10", 6, 10), ("10-13", 10, 13), (">13", 13, 99)),
    "lateral": (("<8", 0, 8), (">8", 8, 99)),
}
# A mean over fewer films says nothing.
FEWEST = 5
_RESAMPLED = 2000
_COLUMNS = ("view", "age", "quantity", "n", "mean", "low", "high", "sd")


@dataclass(frozen=True)
class Film:
    """One measured film.

    Attributes:
        view: "pa" or "lateral".
        age, male: of the child; `skeletal` is the age in boys' years.
        closed: whether radius and epiphysis are outlined as one.
        quantities: of `measure`, lengths in W, `width` in mm.
        frame: the outlines in the frame of `measure`.
    """

    view: str
    age: float
    male: bool
    closed: bool
    quantities: dict[str, float]
    frame: Outlines

    @property
    def skeletal(self) -> float:
        return self.age / (1.0 if self.male else phantom_anatomy.SEX_LEAD)


def read_films(polygons: str, metadata: str) -> tuple[list[Film], list[str]]:
    """Measure the outlined films.

    Args:
        polygons: JSON, film to {"polygons": [{"bone", "points"}]} in pixels.
        metadata: CSV with filestem, age, gender, laterality, projection, pixel_spacing.

    Returns:
        The films, and for each that could not be measured its name and the reason.

    Raises:
        UserError: a file is missing, not what it should be, or has no row for a film.
    """
    try:
        outlined = json.loads(epath.Path(polygons).read_text())
        lines = epath.Path(metadata).read_text().lstrip("\ufeff").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{polygons}, {metadata}: cannot be read: {error}") from None
    rows = {row.get("filestem"): row for row in csv.DictReader(lines)}
    films, left_out = [], []
    for stem, film in outlined.items():
        try:
            row, parts = rows[stem], film["polygons"]
            view = VIEWS[row["projection"]]
            male, age, spacing = row["gender"] == "M", row["age"], float(row["pixel_spacing"])
            mirror = np.array([-1.0 if row["laterality"] == "R" else 1.0, -1.0])
            bones: Outlines = collections.defaultdict(list)
            for part in parts:
                if part["bone"] in BONES:
                    points = np.array(part["points"], float) * mirror * spacing
                    bones[BONES[part["bone"]]].append(points)
            age = float(age)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{metadata}: film {stem} of {polygons} lacks or garbles {error}"
            ) from None
        try:
            quantities, (frame, _, _) = measure(bones), to_frame(bones)
        except Unmeasurable as reason:
            left_out.append(f"{stem}: {reason}")
            continue
        closed = "radial_epiphysis" not in bones and age > 12
        films.append(Film(view, age, male, closed, quantities, frame))
    return films, left_out


def shapes(films: list[Film], command: str) -> dict:
    """The contents of `real_shapes.json`: curves by view, the table of means, and what it is of.

    `first_seen` holds, for each bone, the skeletal ages (boys' years) of the two youngest who have
    it; a slip of whoever named the outlines hardly moves the second.
    """
    curves = {}
    for view, (bandwidth, of_outlines) in BANDWIDTHS.items():
        seen = [film for film in films if film.view == view]
        curves[view] = _curves(seen, bandwidth)
        curves[view] |= _outlines(seen, curves[view], of_outlines)
    return {
        "command": command,
        "ages": KNOTS,
        "curves": curves,
        "first_seen": _first_seen(films),
        "films": [[film.view, film.age, film.male, film.closed] for film in films],
        "columns": _COLUMNS,
        "table": _table(films),
    }


def save(contents: dict, path: str) -> None:
    """Write `shapes` with one curve or row a line."""
    text = json.dumps(contents).replace("], ", "],\n")
    epath.Path(path).write_text(text + "\n")


def _curves(films: list[Film], bandwidth: float) -> dict[str, list]:
    """For each quantity its smooth curve over `KNOTS` (boys' years), then the residuals' SD.

    `bandwidth` of the kernel over age is in years; young bones grow fast, so theirs is narrower.
    """
    names = sorted({name for film in films for name in film.quantities})
    fitted = {}
    for name in names:
        with_it = [film for film in films if name in film.quantities]
        if name == "joint_slope" or name.startswith(("radius_width", "ulna_y", "ulna_width")):
            with_it = [film for film in with_it if not film.closed]
        if name.startswith("metacarpal_1"):
            # Numbered the other way round on a film.
            with_it = [film for film in with_it if film.quantities[name] > -0.2]
        if len(with_it) < 3:
            continue
        ages = np.array([film.skeletal for film in with_it])
        values = np.array([film.quantities[name] for film in with_it])
        closed = np.array([film.closed for film in with_it])
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


def _outlines(films: list[Film], fitted: dict[str, list], bandwidth: float) -> dict[str, list]:
    """Curves like those of `_curves`, of the waves of carpals' and the radial epiphysis' outlines.

    A carpal is turned so that its long axis lies where that of its age's mean does, moved and
    stretched to a circle's second moments; the epiphysis is made level and as high everywhere as
    `phantom_bones` bends it from the heights and the base at three places.
    """
    found = {}
    for bone in [*(bone.name for bone in phantom_anatomy.CARPALS), "radial_epiphysis"]:
        ages, waves = [], []
        for film in films:
            parts = film.frame.get(bone, [])
            if len(parts) != 1:
                continue
            points = parts[0]
            if bone == "radial_epiphysis":
                points = _straightened(points, film.quantities)
            else:
                mean = np.interp(film.skeletal, KNOTS, fitted[f"{bone}_direction"][:-1])
                points = _rounded(points, mean)
            ages.append(film.skeletal)
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


def _straightened(points: np.ndarray, film: dict[str, float]) -> np.ndarray:
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


def _first_seen(films: list[Film]) -> dict[str, list[float]]:
    ages = collections.defaultdict(list)
    for film in films:
        for bone in film.frame:
            ages[bone].append(round(film.skeletal, 1))
    return {bone: sorted(seen)[:2] for bone, seen in sorted(ages.items())}


def _groups(films: list) -> Iterator[tuple[str, str, list[int]]]:
    """View, age group and places of its films; `films` start with view, age, male, closed."""
    for view, bins in GROUPS.items():
        there = [(place, film) for place, film in enumerate(films) if film[0] == view]
        for name, low, high in bins:
            yield view, name, [p for p, film in there if low <= film[1] < high and not film[3]]
        yield view, "closed", [p for p, film in there if film[3]]


def _table(films: list[Film]) -> list[list]:
    """Mean, 95 % interval (films resampled) and SD of each quantity that enough films have."""
    rows = []
    rng = np.random.default_rng(0)
    heads = [(film.view, film.age, film.male, film.closed) for film in films]
    for view, group, places in _groups(heads):
        members = [films[place].quantities for place in places]
        for name in sorted({name for quantities in members for name in quantities}):
            values = np.array([quantities[name] for quantities in members if name in quantities])
            if len(values) < FEWEST:
                continue
            if name.endswith("direction"):
                values = _near(values, _axis_mean(values))
            means = rng.choice(values, (_RESAMPLED, len(values))).mean(1)
            low, high = np.quantile(means, (0.025, 0.975))
            numbers = (values.mean(), low, high, values.std(ddof=1))
            rows.append([view, group, name, len(values), *(round(float(v), 4) for v in numbers)])
    return rows


def _axis_mean(degrees: np.ndarray) -> float:
    """Mean direction of axes, which are the same turned by 180 degrees."""
    return float(np.rad2deg(np.angle(np.exp(2j * np.deg2rad(degrees)).mean())) / 2 % 180)


def _near(degrees: np.ndarray, middle: float) -> np.ndarray:
    """The same axes as angles within 90 degrees of `middle`."""
    return middle + (degrees - middle + 90.0) % 180.0 - 90.0


@dataclass(frozen=True)
class Compared:
    """One row of the table of real wrists with the phantoms' mean and SD beside it."""

    view: str
    age: str
    quantity: str
    n: int
    mean: float
    low: float
    high: float
    sd: float
    phantom: float
    phantom_sd: float

    @property
    def within(self) -> bool:
        return self.low <= self.phantom <= self.high


def compare(contents: dict, phantoms_a_film: int) -> list[Compared]:
    """Hold phantoms against the table of `shapes`.

    For every film, `phantoms_a_film` phantoms of its age, sex, view and physis (open or closed) are
    measured. `rotation` is left out: phantoms are turned when they are put on a film.

    Raises:
        UserError: `phantoms_a_film` is less than 1.
    """
    if phantoms_a_film < 1:
        raise UserError(f"phantoms_a_film {phantoms_a_film}: at least 1 is needed")
    films = contents["films"]
    drawn = [
        # Rows of JSON, whose lengths no type tells.
        _phantoms(*(*film, phantoms_a_film, np.random.default_rng([17, place])))  # pyright: ignore[reportCallIssue]
        for place, film in enumerate(films)
    ]
    members = {(view, group): places for view, group, places in _groups(films)}
    compared = []
    for view, group, name, *numbers in contents["table"]:
        found = [q[name] for place in members[view, group] for q in drawn[place] if name in q]
        if name == "rotation":
            continue
        values = np.array(found or [np.nan])
        if name.endswith("direction"):
            values = _near(values, numbers[1])
        mean, sd = float(values.mean()), float(values.std())
        row = (view, group, name, *numbers, mean, sd)
        compared.append(Compared(*row))  # pyright: ignore[reportCallIssue]
    return compared


def _phantoms(
    view: str, age: float, male: bool, closed: bool, number: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    found = []
    # Some physes are open at ages at which hardly any phantom's is.
    for _ in range(40 * number):
        anatomy = phantom_anatomy.sample_anatomy(age, male, rng)
        if (anatomy.physis == "closed") == closed:
            found.append(measure(phantom_outlines(anatomy, view)))
        if len(found) == number:
            break
    return found
