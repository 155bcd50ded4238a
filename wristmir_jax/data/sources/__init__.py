"""Sources of radiographs by name."""

from wristmir_jax.data.sources.base import Source
from wristmir_jax.data.sources.folder import FolderSource
from wristmir_jax.data.sources.fracatlas import FracAtlasSource
from wristmir_jax.data.sources.grazpedwri import GrazpedwriSource
from wristmir_jax.data.sources.phantom import PhantomSource
from wristmir_jax.errors import UserError

NAMES = ("folder", "phantom", "fracatlas", "grazpedwri")


def open_source(
    name: str,
    input_path: str | None,
    *,
    findings: str | None = None,
    boxes: str | None = None,
    num_exams: int = 100,
    seed: int = 0,
    image_size: int = 128,
    disturbance: float = 0.0,
    even_ages: float = 0.0,
) -> Source:
    """The source called `name`.

    Args:
        name: of `NAMES`.
        input_path: its folder; None for phantoms.
        findings, boxes: files to join, for the sources that take them.
        num_exams, seed, image_size, disturbance, even_ages: of phantoms.

    Raises:
        UserError: the name is unknown, the input is missing or cannot be read, or a file is given
            that the source does not join.
    """
    if name not in NAMES:
        raise UserError(f"--source={name}: choose one of {', '.join(NAMES)}")
    takes = {"folder": ("findings", "boxes"), "grazpedwri": ("boxes",)}.get(name, ())
    for flag, value in (("findings", findings), ("boxes", boxes)):
        if value and flag not in takes:
            raise UserError(f"--{flag} has no meaning with --source={name}: leave it out")
    if name == "phantom":
        if input_path:
            raise UserError("--input has no meaning with --source=phantom: leave it out")
        return PhantomSource(num_exams, seed, image_size, disturbance, even_ages)
    if not input_path:
        raise UserError(f"--input is missing: --source={name} needs the folder of its files")
    if name == "folder":
        return FolderSource(input_path, findings, boxes)
    if name == "fracatlas":
        return FracAtlasSource(input_path)
    return GrazpedwriSource(input_path, boxes)
