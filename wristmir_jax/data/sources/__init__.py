"""Sources of radiographs by name."""

from wristmir_jax.data.sources.base import Source
from wristmir_jax.data.sources.phantom import PhantomSource
from wristmir_jax.errors import UserError


def open_source(
    name: str,
    input_path: str | None,
    *,
    findings: str | None = None,
    boxes: str | None = None,
    num_exams: int = 100,
    seed: int = 0,
    image_size: int = 128,
) -> Source:
    """The source called `name`; flags that it does not take must be left out.

    Raises:
        UserError: the name is unknown, or the input is missing or cannot be read.
    """
    if name == "phantom":
        return PhantomSource(num_exams, seed, image_size)
    raise UserError(f"unknown source {name!r}")
