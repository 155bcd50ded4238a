"""Size and maturity of a growing wrist: from age and sex to millimetres.

The curves are smooth fits by eye through published appearance ages (Greulich and Pyle's order of
ossification; girls are ahead) and through outlines of public pediatric wrists; a first version.
"""

from dataclasses import dataclass

import numpy as np

_AGES = (0.5, 1.0, 3.0, 5.0, 7.0, 10.0, 12.0, 14.0, 16.0, 18.0)
# Width of the distal radial metaphysis on a PA film, mm.
_WIDTH_MALE = (11.5, 14.0, 17.6, 19.8, 21.2, 23.8, 25.8, 28.0, 30.5, 31.5)
_WIDTH_FEMALE = (10.8, 13.4, 16.9, 19.2, 20.6, 23.2, 24.8, 26.2, 27.4, 27.8)
_WIDTH_UNKNOWN = 24.0
_SEX_LEAD = 0.85  # Girls ossify at about this fraction of the boys' age.


@dataclass(frozen=True)
class Bone:
    """One small bone in units of the radial width W: position, half-axes, direction of the first.

    `pa` and `lateral` are (x, y, half_length, half_height, degrees); `appears` is in boys' years.
    """

    name: str
    appears: float
    pa: tuple[float, float, float, float, float]
    lateral: tuple[float, float, float, float, float]
    square: float = 0.15
    bend: float = 0.0
    taper: float = 0.0


CARPALS = (
    Bone(
        "capitate",
        0.2,
        (-0.14, 0.92, 0.44, 0.27, 93),
        (-0.02, 0.93, 0.42, 0.25, 95),
        0.35,
        taper=-0.12,
    ),
    Bone(
        "hamate",
        0.35,
        (-0.60, 1.04, 0.36, 0.25, 122),
        (0.04, 1.02, 0.34, 0.24, 80),
        0.25,
        taper=-0.25,
    ),
    Bone("triquetrum", 2.3, (-0.78, 0.63, 0.29, 0.20, 122), (-0.12, 0.62, 0.26, 0.19, 100), 0.2),
    Bone(
        "lunate", 3.5, (-0.35, 0.40, 0.29, 0.20, 22), (0.00, 0.40, 0.24, 0.21, 60), 0.3, bend=0.06
    ),
    Bone(
        "scaphoid", 5.2, (0.21, 0.58, 0.38, 0.20, 58), (0.16, 0.60, 0.36, 0.18, 55), 0.2, bend=-0.05
    ),
    Bone("trapezium", 5.4, (0.55, 1.04, 0.29, 0.22, 95), (0.33, 1.06, 0.27, 0.22, 80), 0.3),
    Bone("trapezoid", 5.6, (0.33, 1.14, 0.22, 0.19, 130), (0.08, 1.13, 0.22, 0.19, 90), 0.4),
    Bone("pisiform", 9.0, (-0.85, 0.60, 0.20, 0.15, 80), (0.40, 0.58, 0.20, 0.14, 90), 0.1),
)
_RADIAL_EPIPHYSIS, _ULNAR_EPIPHYSIS, _STYLOID = 1.0, 6.2, 7.8


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
        ulna_width: of the ulnar metaphysis.
        spacing: from the middle of the radius to that of the ulna.
        ulnar_offset: how far the ulnar metaphysis ends proximal of the radial one.
        physis_gap: width of the radial growth plate; 0 when closed.
        closure: 0 open .. 1 closed.
        radial_epiphysis, ulnar_epiphysis, styloid: ossified share 0 (cartilage) .. 1 (adult shape).
        carpals: ossified share of each of `CARPALS`.
        inclination, tilt: of the radial joint surface, slopes seen from the front and the side.
        cortex: of the shaft of the radius.
        density: of the bones, 1 = usual.
    """

    age_years: float
    male: bool
    width: float
    width_lateral: float
    ulna_width: float
    spacing: float
    ulnar_offset: float
    physis_gap: float
    closure: float
    radial_epiphysis: float
    ulnar_epiphysis: float
    styloid: float
    styloid_length: float
    carpals: tuple[float, ...]
    inclination: float
    tilt: float
    cortex: float
    density: float

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
    skeletal = age_years * (1.0 if male else 1.0 / _SEX_LEAD) + 0.09 * age_years * float(
        np.clip(rng.standard_normal(), -1.8, 1.8)
    )

    def ossified(appears: float, years: float = 4.5) -> float:
        share = (skeletal - appears) / years
        return 0.0 if share <= 0 else float(np.clip(share, 0.04, 1.0) ** 0.6)

    closure = float(np.clip((skeletal - 15.2) / 2.2, 0.0, 1.0))
    return Anatomy(
        age_years=age_years,
        male=male,
        width=width,
        width_lateral=width * rng.uniform(0.72, 0.80),
        ulna_width=width * rng.uniform(0.54, 0.62),
        spacing=width * rng.uniform(0.88, 1.0),
        ulnar_offset=rng.uniform(0.02, 0.16) * width,
        physis_gap=(1.0 - closure) * float(np.interp(skeletal, (1, 6, 14), (2.0, 1.6, 1.1))),
        closure=closure,
        radial_epiphysis=ossified(_RADIAL_EPIPHYSIS, 9.0),
        ulnar_epiphysis=ossified(_ULNAR_EPIPHYSIS, 5.0),
        styloid=ossified(_STYLOID, 4.0),
        styloid_length=width * rng.uniform(0.16, 0.26),
        carpals=tuple(ossified(bone.appears, 6.5) for bone in CARPALS),
        inclination=rng.uniform(0.30, 0.45),
        tilt=rng.uniform(0.10, 0.22),
        cortex=float(np.interp(age_years, (1, 8, 16), (1.1, 1.7, 2.4))) * rng.uniform(0.85, 1.15),
        density=rng.uniform(0.88, 1.12),
    )
