"""Shapes are padded to a few sizes, so that no batch size compiles anew."""

import numpy as np


def bucket(size: int) -> int:
    """The smallest power of two that holds `size`, at least 1."""
    return 1 << max(size - 1, 0).bit_length()


def pad_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """`array` with zeros appended until its first axis has `rows`."""
    missing = rows - len(array)
    if not missing:
        return array
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])
