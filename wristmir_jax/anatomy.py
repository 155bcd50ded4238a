"""Regions, views and sides: the one table that every stage reads.

Adding a region, a view or another joint means editing this file and a config, nothing else.
"""

from dataclasses import dataclass

from wristmir_jax.errors import UserError

# Codes in arrays are positions in these tuples; append, never reorder: data sets on disk hold them.
VIEWS = ("unknown", "pa", "lateral", "oblique")
SIDES = ("unknown", "left", "right")
SEXES = ("unknown", "female", "male")

# Wrists of this side are mirrored to the other before the image towers see them.
MIRRORED_SIDE = "right"


@dataclass(frozen=True)
class Region:
    """One bone region that is cropped, captioned, embedded and searched by itself.

    Attributes:
        name: the identifier in files, flags and column names.
        label: the words for it in captions and on screen.
        scored_views: views in which the region is cropped and scored by default.
        crop_mm: side in mm of the square that a crop shows where the film's pixel spacing is known.
        ossified_from_years: below this age the region is cartilage, hence absent: no box, no crop,
            no score; 0 where it is bone from birth.
    """

    name: str
    label: str
    scored_views: tuple[str, ...]
    crop_mm: float
    ossified_from_years: float = 0.0

    @property
    def ossifies(self) -> bool:
        """Whether the region can be absent in a young child because it is still cartilage."""
        return self.ossified_from_years > 0

    def absent(self, age_years: float) -> bool:
        """Whether the region is still cartilage at this age; False where the age is NaN."""
        return age_years < self.ossified_from_years


REGIONS = (
    Region("distal_radius", "distal radius", ("unknown", "pa", "lateral", "oblique"), 64.0),
    Region("distal_ulna", "distal ulna", ("unknown", "pa", "lateral", "oblique"), 56.0),
    # Projected behind the carpus on a lateral film, hence not scored there.
    # The distal ulna's epiphysis ossifies at about 5 to 7 years.
    Region("ulnar_styloid", "ulnar styloid", ("unknown", "pa", "oblique"), 28.0, 6.0),
)
REGION_NAMES = tuple(region.name for region in REGIONS)
_BY_NAME = {region.name: region for region in REGIONS}


def region(name: str) -> Region:
    """The region called `name`.

    Raises:
        UserError: there is no such region.
    """
    if name not in _BY_NAME:
        raise UserError(f"unknown region {name!r}: choose one of {', '.join(REGION_NAMES)}")
    return _BY_NAME[name]


def code(names: tuple[str, ...], name: str, what: str) -> int:
    """Position of `name` in `VIEWS`, `SIDES` or `SEXES`.

    Raises:
        UserError: `name` is not in the table; `what` names it in the message.
    """
    if name not in names:
        raise UserError(f"unknown {what} {name!r}: choose one of {', '.join(names)}")
    return names.index(name)
