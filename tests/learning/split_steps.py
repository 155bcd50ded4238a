"""Run in a process of its own with 8 fake devices: what steps with split parameters send."""

import json

from tests.learning.tiny import tiny_config
from wristmir_jax.learning import config as configs
from wristmir_jax.learning import sharding
from wristmir_jax.learning.collectives import unexpected
from wristmir_jax.learning.dry_run import dry_run
from wristmir_jax.learning.sharding import make_mesh
from wristmir_jax.learning.state import plan_state

SHAPES = {"image_size": 32, "crop_size": 16, "num_regions": 3, "vocab_size": 2048}


def step_config():
    config = tiny_config()
    config.batch_size = 128
    config.loss.tile = 16
    config.mesh.fsdp = 4
    config.model.global_tower = configs.vit(8, 48, 2, 2, num_prefix_tokens=1)
    config.model.local_tower = configs.vit(4, 48, 2, 2, pooling="attention", projection=24)
    config.model.text_tower = configs.text(64, 2, 2)
    return config


def pooled_by_attention():
    """In which XLA would gather the activations of captions over all devices, if it were let."""
    config = tiny_config()
    config.batch_size, config.micro_batches = 64, 2
    config.loss.tile = 64
    config.mesh.fsdp = 8
    config.model.remat = "full"
    for tower in ("global_tower", "local_tower"):
        config.model[tower] = configs.vit(14, 256, 2, 4, pooling="attention", mlp_width=512)
    config.model.text_tower = configs.text(
        256, 2, 4, pooling="last", sees_padding=True, projection=(256,), mlp_width=512
    )
    config.model.global_text_length = config.model.region_text_length = 64
    report = dry_run(config, "cpu:8", image_size=112, crop_size=56)
    return [f"{item.kind} of {item.shapes}" for item in report.unexpected]


def main():
    pooled = pooled_by_attention()
    # Small arrays too must be split here, or nothing would be tested.
    sharding.MIN_SHARDED_ELEMENTS = 1
    results: dict = {"pooled by attention": pooled}
    for micro_batches in (1, 2):
        config = step_config()
        config.micro_batches = micro_batches
        report = dry_run(config, "cpu:8", image_size=32, crop_size=16)
        _, plan, _ = plan_state(config, make_mesh(4), **SHAPES)
        shapes = [leaf.shape for leaf in plan.parameters.values()]
        # Labels and statistics of the heads are smaller.
        found = unexpected(report.collectives, shapes, min_bytes=2**13)
        results[micro_batches] = {
            "kinds": sorted({collective.kind for collective in report.collectives}),
            "unexpected": [f"{item.kind} of {item.shapes}" for item in found],
            "rings": sorted(
                {item.group_size for item in report.collectives if "perm" in item.kind}
            ),
            "printed": str(report),
            "memory": [report.memory.arguments, report.memory.temporary, report.memory.peak],
            "flops": [report.model_flops, report.computed_flops],
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
