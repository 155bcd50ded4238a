"""Size and maturity of a growing wrist: from age and sex to millimetres.

Appearance ages follow Greulich and Pyle's order of ossification (girls are ahead); places, sizes,
angles and outlines are curves over age through public pediatric wrists (`real_shapes.json`, made by
`tools/bone_shapes.py`).
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

_AGES = (0.5, 1.0, 3.0, 5.0, 7.0, 10.0, 12.0, 14.0, 16.0, 18.0)
# Width of the distal radial metaphysis on a PA film, mm.
_WIDTH_MALE = (11.5, 14.0, 17.6, 19.8, 21.2, 23.0, 24.8, 27.2, 28.8, 29.6)
_WIDTH_FEMALE = (10.8, 13.4, 16.9, 19.2, 20.6, 22.5, 24.1, 25.2, 25.8, 26.0)
_WIDTH_UNKNOWN = 24.0
SEX_LEAD = 0.85  # Girls ossify at about this fraction of the boys' age.


@dataclass(frozen=True)
class Bone:
    """One small bone and when it appears (boys' years).

    Where it lies, its size and its outline are curves of `real_shapes.json`.
    """

    name: str
    appears: float


CARPALS = (
    Bone("capitate", 0.2),
    Bone("hamate", 0.35),
    Bone("triquetrum", 1.8),
    Bone("lunate", 3.6),
    Bone("scaphoid", 5.1),
    Bone("trapezium", 5.5),
    Bone("trapezoid", 5.7),
    Bone("pisiform", 7.2),
)
_RADIAL_EPIPHYSIS, _ULNAR_EPIPHYSIS, _STYLOID = 0.8, 6.2, 7.8
# Of the hand against the forearm, degrees.
_HAND_TURN = {"pa": 5.0, "lateral": 6.0}


@functools.cache
def real_shapes() -> dict:
    """The contents of `real_shapes.json`, see `shape_table.shapes`."""
    file = resources.files("wristmir_jax.images").joinpath("real_shapes.json")
    return json.loads(file.read_text())


@functools.cache
def _shapes() -> tuple[tuple[float, ...], dict[tuple[str, str], tuple[int, list[float]]]]:
    """Ages of the curves, and (view, quantity) -> (place in `Anatomy.variation`, curve and SD)."""
    table = real_shapes()
    keys = [(view, name) for view, curves in table["curves"].items() for name in curves]
    places = {key: (place, table["curves"][key[0]][key[1]]) for place, key in enumerate(keys)}
    return tuple(table["ages"]), places


def typical_width(age_years: float, male: bool | None = None) -> float:
    """Usual width of the distal radial metaphysis on a PA film, mm.

    Args:
        age_years: NaN where unknown; then that of about ten years is given.
        male: None where unknown.
    """
    if np.isnan(age_years):
        return _WIDTH_UNKNOWN
    widths = [np.interp(age_years, _AGES, table) for table in (_WIDTH_FEMALE, _WIDTH_MALE)]
    return float(np.mean(widths) if male is None else widths[bool(male)])


@dataclass(frozen=True)
class Anatomy:
    """A wrist without injury, mm.

    Attributes:
        width: W, of the radial metaphysis seen from the front (`width_lateral`: from the side).
        closure: 0 open .. 1 closed.
        radial_epiphysis, ulnar_epiphysis, styloid: ossified share 0 (cartilage) .. 1 (adult shape).
        carpals: ossified share of each of `CARPALS`.
        cortex: of the shaft of the radius.
        density: of the bones, 1 = usual.
        skeletal: age of the skeleton in boys' years.
        variation: standard normal departures of this wrist from the mean, see `value`.
    """

    age_years: float
    male: bool
    width: float
    width_lateral: float
    closure: float
    radial_epiphysis: float
    ulnar_epiphysis: float
    styloid: float
    carpals: tuple[float, ...]
    cortex: float
    density: float
    skeletal: float
    variation: tuple[float, ...]

    def value(self, view: str, quantity: str, spread: float = 1.0) -> float:
        """A quantity of `bone_outlines.measure` for this wrist, in its units.

        Args:
            view: "pa" or "lateral".
            quantity: its name.
            spread: share of the measured standard deviation that this wrist departs by.
        """
        ages, places = _shapes()
        place, (*curve, sd) = places[view, quantity]
        mean = float(np.interp(self.skeletal, ages, curve))
        return mean + spread * sd * self.variation[place]

    def hand_turn(self, view: str) -> float:
        """How far the hand is turned against the forearm, degrees counter-clockwise."""
        return _HAND_TURN[view] * self.variation[-1 if view == "pa" else -2]

    @property
    def shaft_width(self) -> float:
        """Width of the radius where metaphyseal fractures sit, seen from the side, mm."""
        return 0.57 * self.width

    @property
    def physis(self) -> str:
        if self.closure < 0.25:
            return "open"
        return "closing" if self.closure < 0.8 else "closed"


def sample_anatomy(age_years: float, male: bool, rng: np.random.Generator) -> Anatomy:
    """Draw the wrist of a child of `age_years` (0.4 .. 19).

    What is absent depends on age, sex and one draw of skeletal maturity, so that bones appear in
    order.
    """
    width = typical_width(age_years, male) * float(np.exp(0.06 * rng.standard_normal()))
    # Skeletal age in boys' years; its spread is about 10 % of the age.
    skeletal = age_years * (1.0 if male else 1.0 / SEX_LEAD) + 0.09 * age_years * float(
        np.clip(rng.standard_normal(), -1.8, 1.8)
    )

    def ossified(appears: float, years: float = 4.5) -> float:
        share = (skeletal - appears) / years
        return 0.0 if share <= 0 else float(np.clip(share, 0.04, 1.0) ** 0.6)

    closure = float(np.clip((skeletal - 15.2) / 2.2, 0.0, 1.0))
    _, places = _shapes()
    variation = np.clip(rng.standard_normal(len(places) + 2), -2.0, 2.0)
    return Anatomy(
        age_years=age_years,
        male=male,
        width=width,
        width_lateral=width * rng.uniform(0.74, 0.88),
        closure=closure,
        radial_epiphysis=ossified(_RADIAL_EPIPHYSIS, 9.0),
        ulnar_epiphysis=ossified(_ULNAR_EPIPHYSIS, 5.0),
        styloid=ossified(_STYLOID, 4.0),
        carpals=tuple(ossified(bone.appears, 6.5) for bone in CARPALS),
        cortex=float(np.interp(age_years, (1, 8, 16), (1.1, 1.7, 2.4))) * rng.uniform(0.85, 1.15),
        density=rng.uniform(0.88, 1.12),
        skeletal=float(np.clip(skeletal, 0.3, 20.0)),
        variation=tuple(float(v) for v in variation),
    )
