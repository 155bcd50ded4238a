"""Train, validation and test, by patient."""

import hashlib
from dataclasses import dataclass

from wristmir_jax.errors import UserError


@dataclass(frozen=True)
class SplitRule:
    """A patient's split depends on the seed and the patient alone, never on the other patients.

    So a data set that grows keeps everybody where they were. Shares are met on average only: a
    small data set may lack a split. `writer.DatasetWriter` makes sure that there is a train split.

    Attributes:
        validation_fraction, test_fraction: of the patients; the rest is train.
        seed: another seed, another partition.
    """

    validation_fraction: float = 0.1
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self):
        for name, value in (
            ("validation_fraction", self.validation_fraction),
            ("test_fraction", self.test_fraction),
        ):
            if not 0 <= value < 1:
                raise UserError(f"--{name}={value}: give a fraction from 0 to below 1")
        if self.validation_fraction + self.test_fraction >= 1:
            raise UserError(
                "--validation_fraction and --test_fraction leave nothing to train on: "
                "their sum must be below 1"
            )

    def split(self, patient_id: str) -> str:
        """train, validation or test, by a BLAKE2b hash of seed and patient."""
        digest = hashlib.blake2b(f"{self.seed}:{patient_id}".encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64
        if place < self.test_fraction:
            return "test"
        if place < self.test_fraction + self.validation_fraction:
            return "validation"
        return "train"
