"""Groups films that are near copies of one another, by a perceptual hash.

The hash is the sign pattern of low DCT frequencies (pHash; Zauner, "Implementation and benchmarking
of perceptual image hash functions", 2010), without the constant one: 63 bits.
"""

import itertools

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASH_BITS = 63
MAX_DISTANCE = 4

_SIDE = 32
_FREQUENCIES = 8
_PAIR_BLOCK = 2048


def perceptual_hash(pixels: np.ndarray) -> int:
    """63 bits that re-windowing, re-compression and scaling hardly change.

    Args:
        pixels: float32 (H, W).

    Returns:
        A non-negative int below 2**63.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    small = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float64)
    low = np.asarray(dctn(small, norm="ortho"))[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    bits = low > np.median(low)
    return int(sum(1 << place for place, bit in enumerate(bits) if bit))


def near_duplicate_groups(hashes: np.ndarray, max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """Connected components of the pairs that differ in at most `max_distance` bits.

    Two hashes of that distance agree wholly in at least one of `max_distance` + 1 bands, so only
    pairs within a band's buckets are compared: films by the hundred thousand take seconds.

    Args:
        hashes: (N,) ints of 63 bits.
        max_distance: in bits.

    Returns:
        int64 (N,): for each the lowest index of its group.
    """
    values = np.asarray(hashes, np.uint64)
    count = len(values)
    edges_a: list[np.ndarray] = []
    edges_b: list[np.ndarray] = []
    limits = np.linspace(0, HASH_BITS, max_distance + 2).astype(int)
    for low, high in itertools.pairwise(limits):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order][:1] + np.uint64(1)))
        for bucket in np.split(order, starts[1:]):
            if len(bucket) < 2:
                continue
            for start in range(0, len(bucket), _PAIR_BLOCK):
                block = bucket[start : start + _PAIR_BLOCK]
                differing = np.bitwise_count(values[block][:, None] ^ values[bucket][None, :])
                first, second = np.nonzero(differing <= max_distance)
                apart = block[first] < bucket[second]
                edges_a.append(block[first[apart]])
                edges_b.append(bucket[second[apart]])
    a, b = np.concatenate([*edges_a, [0][:0]]), np.concatenate([*edges_b, [0][:0]])
    graph = coo_array((np.ones(len(a), np.int8), (a.astype(int), b.astype(int))), (count, count))
    _, labels = connected_components(graph, directed=False)
    lowest = np.full(int(labels.max(initial=-1)) + 1, count)
    np.minimum.at(lowest, labels, np.arange(count))
    return lowest[labels]
