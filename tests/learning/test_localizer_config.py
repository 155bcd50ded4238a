"""A localiser's run refuses what has no effect on it."""

import pytest

from wristmir_jax.errors import UserError
from wristmir_jax.learning import config as configs


def test_keys_without_effect_are_refused():
    config = configs.base()
    config.task, config.dataset = "localizer", "data"
    configs.validate(config)
    for key, value in (
        ("micro_batches", 2),
        ("validation.max_records", 100),
        ("localizer.mixed_fraction", 1.5),
        ("localizer.size", 100),
    ):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=f"config.{key}={value}"):
            configs.validate(changed)
