"""Two-stage search written down plainly, one query and one exam at a time."""

import numpy as np

from wristmir_jax.retrieval.filters import NO_FILTERS, Filters
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.two_stage import Index


def two_stage(
    index: Index,
    queries: Queries,
    b: int,
    region: str | None,
    top_k: int,
    num_candidates: int,
    region_weight: float,
    exclude_patient: str | None = None,
    exclude_exam: str | None = None,
    filters: Filters = NO_FILTERS,
) -> list[tuple[str, float, float, float | None]]:
    """(exam_id, score, global score, region score) of query b, best first."""
    ids = index.ids.to_pylist()
    keep = filters.rows(index.ids)
    r = None if region is None else index.metadata.regions.index(region)
    images = np.flatnonzero(queries.present[b])
    asking = [] if r is None else [q for q in images if queries.region_present[b, q, r]]
    found = []
    for position, exam_id in enumerate(dict.fromkeys(row["exam_id"] for row in ids)):
        rows = [n for n, row in enumerate(ids) if row["exam_id"] == exam_id and keep[n]]
        if not rows or exam_id == exclude_exam or ids[rows[0]]["patient_id"] == exclude_patient:
            continue
        similarity = queries.global_embedding[b, images] @ index.global_embedding[rows].T
        score = similarity.max(axis=1).mean()
        showing = [] if r is None else [n for n in rows if index.region_present[r, n]]
        bone = None
        if asking and showing:
            bone = np.mean(
                [
                    max(
                        queries.region_embedding[b, q, r] @ index.region_embedding[r, n]
                        for n in showing
                    )
                    for q in asking
                ]
            )
        found.append((position, exam_id, score, bone))
    found.sort(key=lambda hit: (-hit[2], hit[0]))
    if r is not None and region_weight > 0:
        found = found[: max(num_candidates, top_k)]
    ranked = []
    for position, exam_id, score, bone in found:
        total = score
        if asking and region_weight > 0:
            total = (
                score - 3 if bone is None else (1 - region_weight) * score + region_weight * bone
            )
        ranked.append((-total, -score, position, exam_id, bone))
    ranked.sort(key=lambda hit: hit[:3])
    return [(hit[3], -hit[0], -hit[1], hit[4]) for hit in ranked[:top_k]]
