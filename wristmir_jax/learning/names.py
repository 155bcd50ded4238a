"""Names of the arrays of a tree."""

from typing import Any


def of(path: tuple[Any, ...]) -> str:
    """`optimizer.1.0.mu.global_tower/stem/kernel` of a path of jax.tree_util."""
    return ".".join(
        str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path
    )
