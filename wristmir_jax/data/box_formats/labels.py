"""From the labels of other people to regions and bones."""

import re
from collections.abc import Mapping, Sequence

from wristmir_jax.anatomy import REGIONS
from wristmir_jax.errors import UserError

REGION_LABELS = {region.name: (region.name, region.label) for region in REGIONS}

# Whole bones, in English, German and Latin.
BONE_LABELS = {
    "radius": ("radius", "distal radius", "speiche"),
    "ulna": ("ulna", "distal ulna", "elle"),
    "radius_epiphysis": (
        "radius epiphysis", "radial epiphysis", "distal radial epiphysis", "epiphysis radius",
        "epiphyse radius", "radiusepiphyse", "epiphysis radii",
    ),
    "ulna_epiphysis": (
        "ulna epiphysis", "ulnar epiphysis", "distal ulnar epiphysis", "epiphysis ulna",
        "epiphyse ulna", "ulnaepiphyse", "epiphysis ulnae",
    ),
    "hand": ("hand", "carpus", "carpals", "metacarpals"),
}  # fmt: skip
# Every bone of the hand tells where distal is, and nothing else.
_HAND = re.compile(
    r"(e )?(os|ossa|phalanx|metacarpal|phalange|proximal phalanx|middle phalanx|distal phalanx|"
    r"capitate|hamate|triquetrum|lunate|scaphoid|trapezium|trapezoid|pisiform)\b"
)


class LabelMap:
    """Which region or bone a label means.

    A label given as `LABEL:target` counts first; a label that is a target's name or one of its
    words, in whatever case and with underscores or hyphens for spaces, maps by itself.

    Args:
        given: `LABEL:target` each.
        targets: `REGION_LABELS` or `BONE_LABELS`.

    Raises:
        UserError: an entry of `given` is none, or its target is unknown.
    """

    def __init__(self, given: Sequence[str], targets: Mapping[str, Sequence[str]]):
        self._targets = tuple(targets)
        self._known = {
            _plain(word): name for name, words in targets.items() for word in (name, *words)
        }
        self._hand = "hand" in targets
        for entry in given:
            label, colon, target = entry.rpartition(":")
            if not colon or not label.strip():
                raise UserError(f"--labels={entry}: write LABEL:{self._targets[0]}")
            if target.strip() not in targets:
                raise UserError(
                    f"--labels={entry}: unknown {'bone' if self._hand else 'region'} "
                    f"{target.strip()!r}: choose one of {', '.join(self._targets)}"
                )
            self._known[_plain(label)] = target.strip()

    def __call__(self, label: str) -> str | None:
        """The target of a label; None where it is not mapped."""
        plain = _plain(label)
        if plain in self._known:
            return self._known[plain]
        return "hand" if self._hand and _HAND.match(plain) else None


def _plain(label: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", label).casefold().split())
