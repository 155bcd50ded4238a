"""Labels that samplers, probes and metrics read off a `Findings`."""

from collections.abc import Sequence

import numpy as np

from wristmir_jax import anatomy
from wristmir_jax.data.record import NO, UNCERTAIN, UNKNOWN, YES
from wristmir_jax.reports.findings import STATUSES, Findings


def exam_fracture_label(findings: Findings) -> int:
    """Whether the exam shows a fracture: YES, NO, UNCERTAIN or UNKNOWN of `data.record`.

    YES where a region or another bone is fractured, else UNCERTAIN where a region is uncertain, NO
    where every region is no_fracture, UNKNOWN otherwise: a bone that nobody named may be broken.
    """
    statuses = {region.status for region in findings.regions.values()}
    if "fracture" in statuses or findings.other_fractures:
        return YES
    if "uncertain" in statuses:
        return UNCERTAIN
    return NO if statuses == {"no_fracture"} else UNKNOWN


def status_codes(findings: Findings, regions: Sequence[str]) -> np.ndarray:
    """Codes into `STATUSES` of the named regions: uint8 (R,), R may be 0.

    Raises:
        UserError: there is no such region.
    """
    return np.array(
        [STATUSES.index(findings.regions[anatomy.region(name).name].status) for name in regions],
        np.uint8,
    )
