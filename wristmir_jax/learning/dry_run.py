"""A training step compiled ahead of time for devices that are not there, and what it would take."""

import dataclasses
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from etils import epath
from jax.sharding import Mesh, NamedSharding

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.record import INFO_FILE
from wristmir_jax.errors import UserError
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.collectives import Collective, collectives, unexpected
from wristmir_jax.learning.programs import jit_step
from wristmir_jax.learning.sharding import BATCH_SPEC, make_mesh
from wristmir_jax.learning.state import plan_state
from wristmir_jax.learning.step import make_train_step
from wristmir_jax.learning.topology import Chip, topology
from wristmir_jax.models import flops

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What a model is made for.

    Attributes:
        image_size, crop_size: pixels.
        num_regions: R.
        vocab_size: of the tokenizer.
    """

    image_size: int
    crop_size: int
    num_regions: int
    vocab_size: int

    @classmethod
    def of(cls, config: ml_collections.ConfigDict, image_size: int, crop_size: int) -> "Shapes":
        """Of the data set that `config` names, or, where there is none, of films and crops of the
        given sizes with all regions of the anatomy."""
        if config.dataset and (epath.Path(config.dataset) / INFO_FILE).exists():
            info = Dataset(config.dataset).info
            sizes = (info.image_size, info.crop_size, len(info.regions))
        else:
            sizes = (image_size, crop_size, len(REGION_NAMES))
        return cls(*sizes, config.tokenizer.vocab_size)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a program on one device, by the compiler's count.

    Attributes:
        arguments: the train state and the batch.
        outputs: new arrays; those that take the place of arguments are not counted.
        temporary: everything in between, at its most.
        peak: of all together.
    """

    arguments: int
    outputs: int
    temporary: int
    peak: int

    @classmethod
    def of(cls, executable: Any) -> "Memory":
        found = executable.memory_analysis()
        outputs = found.output_size_in_bytes - found.alias_size_in_bytes
        arguments, temporary = found.argument_size_in_bytes, found.temp_size_in_bytes
        return cls(arguments, outputs, temporary, arguments + outputs + temporary)

    def __str__(self) -> str:
        return (
            f"arguments {self.arguments / _GIB:.2f} GiB, temporaries {self.temporary / _GIB:.2f} "
            f"GiB, outputs {self.outputs / _GIB:.2f} GiB, together {self.peak / _GIB:.2f} GiB"
        )


@dataclasses.dataclass(frozen=True)
class Report:
    """What a step would take.

    Attributes:
        name: of the topology.
        num_devices: of the slice.
        chip: what each can do; None for CPU devices.
        batch_size, micro_batches: of the config.
        memory: of one device; None where the program does not fit.
        reason: the compiler's, where it does not fit.
        model_flops: of a step over all devices.
        computed_flops: with what is computed twice to save memory.
        collectives: of the program.
        unexpected: those of them that the sharding table does not intend.
    """

    name: str
    num_devices: int
    chip: Chip | None
    batch_size: int
    micro_batches: int
    memory: Memory | None
    reason: str
    model_flops: int
    computed_flops: int
    collectives: list[Collective]
    unexpected: list[Collective]

    @property
    def fits(self) -> bool:
        if self.memory is None:
            return False
        return self.chip is None or self.memory.peak <= self.chip.memory_gib * _GIB

    @property
    def sent_bytes(self) -> float:
        """That a device sends in a step."""
        return sum(collective.sent_bytes for collective in self.collectives)

    def bounds(self) -> dict[str, float]:
        """Seconds that a step takes at least, by what limits it (Williams et al. 2009, roofline).

        Memory traffic counts the train state, read and written once, and what stands in
        temporaries, written and read once: less than really moves.
        """
        if self.chip is None or self.memory is None:
            return {}
        traffic = 2 * (self.memory.arguments + self.memory.temporary)
        return {
            "products": self.computed_flops / self.num_devices / (self.chip.teraflops * 1e12),
            "memory": traffic / (self.chip.memory_gb_s * 1e9),
            "interconnect": self.sent_bytes / (self.chip.interconnect_gb_s * 1e9),
        }

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.num_devices} devices, {self.batch_size} exams a step in "
            f"{self.micro_batches} micro-batches",
            f"a device: {self.memory}" if self.memory else f"does not compile: {self.reason}",
            f"products: {self.model_flops / 1e12:,.2f} TFLOP a step, "
            f"{self.computed_flops / 1e12:,.2f} with what is computed anew",
        ]
        for kind, (count, executed, sent) in sorted(by_kind(self.collectives).items()):
            lines.append(f"{kind}: {count} ({executed} executed), {sent / 2**20:,.1f} MiB sent")
        lines += [f"UNEXPECTED {_described(collective)}" for collective in self.unexpected]
        if bounds := self.bounds():
            limit = max(bounds, key=lambda name: bounds[name])
            rate = self.batch_size / bounds[limit]
            times = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in bounds.items())
            lines.append(f"at most {rate:,.0f} exams/s, limited by {limit} ({times})")
        if self.chip is not None:
            lines.append(self._verdict(self.chip))
        return "\n".join(lines)

    def _verdict(self, chip: Chip) -> str:
        if self.fits:
            return f"fits the {chip.memory_gib:.2f} GiB of a device"
        return (
            f"DOES NOT FIT the {chip.memory_gib:.2f} GiB of a device: raise config.micro_batches "
            "or config.mesh.fsdp, set config.model.remat=full or config.loss.tile=1024, or take "
            "more devices"
        )


def by_kind(found: list[Collective]) -> dict[str, tuple[int, int, float]]:
    """For each kind: operations, executions and bytes that a device sends."""
    counts: Counter[str] = Counter()
    executed: Counter[str] = Counter()
    sent: dict[str, float] = {}
    for collective in found:
        counts[collective.kind] += 1
        executed[collective.kind] += collective.times
        sent[collective.kind] = sent.get(collective.kind, 0.0) + collective.sent_bytes
    return {kind: (counts[kind], executed[kind], sent[kind]) for kind in counts}


def dry_run(
    config: ml_collections.ConfigDict, name: str, image_size: int = 224, crop_size: int = 128
) -> Report:
    """Compile the step of `config` for a topology without running anything.

    Args:
        config: of a run; its data set need not exist.
        name: of the topology, see `learning.topology`.
        image_size, crop_size: pixels, where there is no data set to ask.

    Raises:
        UserError: bad config, or a topology that cannot be compiled for.
    """
    configs.validate(config)
    if config.task != "contrastive":
        raise UserError(f"config.task={config.task}: --dry_run compiles the dual encoder alone")
    target = topology(name)
    mesh = make_mesh(config.mesh.fsdp, target.devices)
    configs.check_batch_size(config, mesh.size)
    shapes = Shapes.of(config, image_size, crop_size)
    graph, plan, _ = plan_state(config, mesh, **dataclasses.asdict(shapes))
    model_flops = step_flops(config, shapes)
    about: dict[str, Any] = {
        "name": name,
        "num_devices": mesh.size,
        "chip": target.chip,
        "batch_size": config.batch_size,
        "micro_batches": config.micro_batches,
        "model_flops": model_flops,
        "computed_flops": step_flops(config, shapes, computed=True),
    }
    step = jit_step(make_train_step(graph, config, mesh), plan, mesh)
    try:
        executable = step.lower(plan, abstract_batch(config, shapes, mesh)).compile()
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        if "RESOURCE_EXHAUSTED" not in reason:
            raise
        return Report(memory=None, reason=reason, collectives=[], unexpected=[], **about)
    found = collectives(executable.as_text() or "")
    parameter_shapes = [leaf.shape for leaf in plan.parameters.values()]
    return Report(
        memory=Memory.of(executable),
        reason="",
        collectives=found,
        unexpected=unexpected(found, parameter_shapes),
        **about,
    )


def describe(executable: Any, config: ml_collections.ConfigDict, shapes: Shapes) -> str:
    """One line on a compiled step: its memory, and the operations of the model."""
    return (
        f"compiled step, a device: {Memory.of(executable)}; "
        f"{step_flops(config, shapes) / 1e12:,.3f} TFLOP of products a step over all devices"
    )


def step_flops(config: ml_collections.ConfigDict, shapes: Shapes, computed: bool = False) -> int:
    """Of a step whose captions are all distinct; `computed` as in `flops.train_step`."""
    B, R = config.batch_size, shapes.num_regions
    texts = flops.Texts(
        global_rows=B,
        global_length=config.model.global_text_length,
        region_rows=B * R,
        region_length=config.model.region_text_length,
    )
    return flops.train_step(
        config,
        image_size=shapes.image_size,
        crop_size=shapes.crop_size,
        num_regions=R,
        texts=texts,
        computed=computed,
    )


def abstract_batch(config: ml_collections.ConfigDict, shapes: Shapes, mesh: Mesh) -> dict[str, Any]:
    """Shapes of a batch of `data.pipeline` whose captions are all distinct."""
    B, R = config.batch_size, shapes.num_regions
    S, C, model = shapes.image_size, shapes.crop_size, config.model
    arrays = {
        "image": ((B, S, S), jnp.uint8),
        "crops": ((B, R, C, C), jnp.uint8),
        "mirrored": ((B,), jnp.bool_),
        "region_status": ((B, R), jnp.uint8),
        "global_group": ((B, 2), jnp.int32),
        "region_group": ((B, R, 2), jnp.int32),
        "global_token": ((B, model.global_text_length), jnp.int32),
        "global_text_index": ((B,), jnp.int32),
        "region_token": ((B * R, model.region_text_length), jnp.int32),
        "region_text_index": ((B, R), jnp.int32),
    }
    sharding = NamedSharding(mesh, BATCH_SPEC)
    return {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
        for name, (shape, dtype) in arrays.items()
    }


def _described(collective: Collective) -> str:
    shapes = " ".join("x".join(map(str, shape)) for shape in collective.shapes[:4])
    return (
        f"{collective.kind} of {shapes}, {collective.num_bytes / 2**20:,.1f} MiB, "
        f"{collective.times} times"
    )


def main(config: ml_collections.ConfigDict, name: str, image_size: int, crop_size: int) -> None:
    """Print the report; arguments as of `dry_run`.

    Raises:
        UserError: the step does not fit.
    """
    report = dry_run(config, name, image_size, crop_size)
    print(report)
    if not report.fits:
        raise UserError(f"--topology={name}: the step does not fit, see above")
