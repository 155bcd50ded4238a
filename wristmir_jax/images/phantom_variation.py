"""How the bones of a phantom differ from wrist to wrist, and how large they are at their age."""

import numpy as np

from wristmir_jax.images.phantom_anatomy import Anatomy
from wristmir_jax.images.phantom_parts import WAVES, Blob

# Each part of a wrist draws by itself; append, never reorder, so that drawings stay as they are.
_PARTS = ("carpals", "epiphyses", "plates", "hook", "bases", "metacarpals", "joint spaces")
# Angles at which outlines with waves are measured, radians.
RING = np.linspace(0.0, 2.0 * np.pi, 72, endpoint=False)


def draw_of(anatomy: Anatomy, part: str) -> np.random.Generator:
    """The same draws whenever this part of this wrist is drawn."""
    return np.random.default_rng(
        [_PARTS.index(part), *(int(1e6 * (3.0 + v)) for v in anatomy.variation[:4])]
    )


def made_uneven(
    blob: Blob, draw: np.random.Generator, far_edge: float = 0.0, share: float = 1.0
) -> Blob:
    """The bone as dense as others of its kind, with cortex and inside that vary over it.

    `share`: of how much those of carpals vary over it. `far_edge`: the most that `Blob.back` is.
    """
    first, second, lean, far = draw.uniform(0.0, 2.0 * np.pi, 4)
    strong, stronger, leaning, off = draw.uniform((0.4, 0.2, 0.15, 0.1), (1.0, 0.7, 0.7, 0.3))
    shell, inside, back = draw.uniform((0.65, 0.8, 0.02), (1.1, 1.6, 1.0))
    strong, stronger, leaning = share * strong, share * stronger, share * leaning
    return blob._replace(
        mu_rim=blob.mu_rim * shell,
        mu_inside=blob.mu_inside * inside,
        rim_cos_1=strong * float(np.cos(first)),
        rim_sin_1=strong * float(np.sin(first)),
        rim_cos_2=stronger * float(np.cos(second)),
        rim_sin_2=stronger * float(np.sin(second)),
        lean_u=leaning * float(np.cos(lean)),
        lean_w=leaning * float(np.sin(lean)),
        back=back * far_edge,
        back_u=off * float(np.cos(far)),
        back_w=off * float(np.sin(far)),
    )


def scale_of(anatomy: Anatomy, lateral: bool) -> tuple[str, float]:
    """The view whose curves hold, and the width of the radius that they are in units of, mm."""
    return ("lateral", anatomy.width_lateral) if lateral else ("pa", anatomy.width)


def early(grown: float) -> float:
    """A bone that has just appeared is smaller than the mean of those seen at its age."""
    return float(np.clip(0.42 + 1.4 * grown, 0.45, 1.0))


def waves_of(anatomy: Anatomy, view: str, bone: str, most: float = 1.0) -> dict[str, float]:
    """Waves of a bone's outline; wrists differ by `most` standard deviations' share at most."""
    spread = min(most, 0.4 if view == "lateral" else 0.6)
    return {name: anatomy.value(view, f"{bone}_{name}", spread) for name in WAVES}
