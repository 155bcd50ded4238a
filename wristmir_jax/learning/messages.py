"""What a run tells the person at the keyboard."""

import sys

import jax
from tqdm import tqdm


def tell(message: str) -> None:
    """One line on stderr, of the first of several processes, above the progress bar."""
    if jax.process_index() == 0:
        tqdm.write(message, file=sys.stderr)
