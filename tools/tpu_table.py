"""What recipes take on TPU slices that are not there: prints Markdown tables.

Each step is compiled ahead of time, at the first number of micro-batches that fits; so are the
loss alone at two batch sizes, the exact search and the reranking.

Small arrays of the loss stay in the memory on the chip, which the compiler does not count, so its
temporaries start at nothing and grow faster than the batch until nothing fits there. What holds
throughout is their size in vectors for each pair of a device, which a matrix of logits would make
grow with the batch.

python -m tools.tpu_table --configs=configs/wristmir.py --topologies=v5e:8x8,v4:4x4x8 \
  --batch_size=16384 --micro_batches=2,8 --set=loss.tile=1024 --set=mesh.fsdp=8@v5e:8x8
"""

import ast
import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from absl import app, flags
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from wristmir_jax.errors import EXIT_BAD_INPUT, UserError
from wristmir_jax.learning.dry_run import Memory, Report, by_kind, dry_run
from wristmir_jax.learning.pairs import PairLabels
from wristmir_jax.learning.sharding import BATCH_SPEC, make_mesh
from wristmir_jax.learning.tiled_loss import tiled_loss
from wristmir_jax.learning.topology import Topology, topology
from wristmir_jax.retrieval import coarse
from wristmir_jax.retrieval.rerank import Gallery, QueryArrays, rerank

_CONFIGS = flags.DEFINE_list("configs", [], "Recipes.")
_TOPOLOGIES = flags.DEFINE_list("topologies", ["v5e:8x8"], "As of `train --topology`.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16_384, "Exams of a global batch.")
_MICRO_BATCHES = flags.DEFINE_list(
    "micro_batches", ["8"], "Of which the first number that fits is taken."
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels of films.")
_CROP_SIZE = flags.DEFINE_integer("crop_size", 128, "Pixels of crops.")
_SET = flags.DEFINE_multi_string(
    "set", [], "key=value of all recipes, such as loss.tile=1024; key=value@TOPOLOGY only there."
)
_LOSS_DIM = flags.DEFINE_integer("loss_dim", 512, "Of the vectors of the loss alone.")
_LOSS_TILE = flags.DEFINE_integer("loss_tile", 1024, "Tile of the loss alone.")
_LOSS_PAIRS = flags.DEFINE_integer("loss_pairs", 2**19, "Of the loss alone, and twice as many.")
_TABLES = flags.DEFINE_multi_enum(
    "table", ["steps", "loss", "search"], ["steps", "loss", "search"], "Which to make; repeatable."
)
_IMAGES = flags.DEFINE_integer("images", 100_000, "Of the index that is searched, two an exam.")

_MIB, _GIB = 2**20, 2**30
# Of a search: queries at a time, images of each, candidates by their global vectors, answers.
_QUERIES, _IMAGES_A_QUERY, _POOL, _CAPACITY, _TOP_K = 8, 4, 8192, 1024, 16


def read_config(path: str, settings: Sequence[str] = ()) -> ml_collections.ConfigDict:
    """The recipe in a file, with `key=value` settings.

    Raises:
        UserError: no such file or key.
    """
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise UserError(f"--configs={path}: no such recipe")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config().lock()
    for setting in settings:
        key, _, value = setting.partition("=")
        with contextlib.suppress(SyntaxError, ValueError):  # A plain word.
            value = ast.literal_eval(value)
        try:
            config.update_from_flattened_dict({key: value})
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"--set={setting}: {path} has no such key, or of another type") from (
                error
            )
    return config


def first_that_fits(
    config: ml_collections.ConfigDict, name: str, micro_batches: Sequence[int]
) -> Report:
    """The step at the first number of micro-batches that fits, or at the last one.

    Raises:
        UserError: bad config or topology.
    """
    report = None
    for number in micro_batches:
        config.micro_batches = number
        report = dry_run(config, name, _IMAGE_SIZE.value, _CROP_SIZE.value)
        if report.fits:
            break
    if report is None:
        raise UserError("--micro_batches is empty: give numbers, such as 1,4,16")
    return report


def step_row(name: str, fsdp: int, report: Report) -> list[str]:
    """Cells of a step: see `STEP_COLUMNS`."""
    peak = f"{report.memory.peak / _GIB:.2f}" if report.memory else "does not compile"
    if report.chip is not None:
        peak += f" of {report.chip.memory_gib:.2f}" + ("" if report.fits else ", DOES NOT FIT")
    bounds = report.bounds()
    limit = max(bounds, key=lambda name: bounds[name], default="")
    rate = f"{report.batch_size / bounds[limit]:,.0f} ({limit})" if limit else ""
    sent = sorted(by_kind(report.collectives).items())
    collectives = ", ".join(
        f"{kind} {executed}: {total / _MIB:,.0f} MiB" for kind, (_, executed, total) in sent
    )
    unexpected = str(len(report.unexpected)) if report.memory else ""
    return [
        *(name, report.name, str(report.num_devices), f"{report.batch_size:,}"),
        *(str(report.micro_batches), str(fsdp), peak, rate, collectives, unexpected),
    ]


STEP_COLUMNS = (
    *("config", "topology", "devices", "global batch", "micro-batches", "fsdp"),
    *("peak GiB a device", "exams/s at most", "collectives: executed, sent a device", "unexpected"),
)


def loss_temporaries(target: Topology, num_pairs: int, dim: int, tile: int) -> int:
    """Temporary bytes a device of the tiled loss alone, with its gradient.

    Args:
        target: to compile for.
        num_pairs: over all devices.
        dim: of the vectors.
        tile: of the loss.
    """
    mesh = make_mesh(1, target.devices)
    split, whole = NamedSharding(mesh, BATCH_SPEC), NamedSharding(mesh, P())

    def array(*shape: int, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct((num_pairs, 1, *shape), dtype, sharding=split)

    labels = PairLabels(array(2, dtype=jnp.int32), array(dtype=bool), array(3, dtype=jnp.int32))
    scale = jax.ShapeDtypeStruct((), jnp.float32, sharding=whole)

    def loss(image: jax.Array, text: jax.Array, labels: PairLabels, scale: jax.Array) -> jax.Array:
        return tiled_loss(image, text, labels, scale, mesh=mesh, tile=tile)

    step = jax.jit(
        jax.value_and_grad(loss, (0, 1, 3)), out_shardings=(whole, (split, split, whole))
    )
    executable = step.lower(array(dim), array(dim), labels, scale).compile()
    return Memory.of(executable).temporary


def compile_exact_search(target: Topology, num_images: int, dim: int) -> Memory:
    """Of the exact search of all images for a batch of queries, on one device."""
    array = _on(target.devices[0])
    lowered = coarse._exact_top_k.lower(
        array(num_images, dim),
        array(_QUERIES, dim),
        k=_CAPACITY,
        block=min(coarse._BLOCK_SCORES // _QUERIES, num_images),
    )
    return Memory.of(lowered.compile())


def compile_rerank(target: Topology, num_images: int, dim: int, num_regions: int = 3) -> Memory:
    """Of the reranking of a pool of exams by a region, on one device."""
    array = _on(target.devices[0])
    asked = (_QUERIES, _IMAGES_A_QUERY)
    gallery = Gallery(
        array(num_images, dim),
        array(num_regions, num_images, dim),
        array(num_regions, num_images, dtype=jnp.bool_),
    )
    query = QueryArrays(
        array(*asked, dim),
        array(*asked, dtype=jnp.bool_),
        array(*asked, dim),
        array(*asked, dtype=jnp.bool_),
    )
    lowered = rerank.lower(
        gallery,
        array(num_images // 2, 2, dtype=jnp.int32),
        query,
        array(_QUERIES, _POOL, dtype=jnp.int32),
        array(_QUERIES),
        array(dtype=jnp.int32),
        array(),
        array(dtype=jnp.int32),
        capacity=_CAPACITY,
        top_k=_TOP_K,
        with_region=True,
    )
    return Memory.of(lowered.compile())


def _on(device: Any) -> Any:
    sharding = SingleDeviceSharding(device)

    def array(*shape: int, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    return array


def table(columns: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    """Lines of a Markdown table, each as soon as its row is there."""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def step_rows(
    paths: Sequence[str], names: Sequence[str], micro_batches: Sequence[int]
) -> Iterator[list[str]]:
    """A row for each recipe on each topology."""
    for path in paths:
        for name in names:
            settings = [f"batch_size={_BATCH_SIZE.value}", *_settings_for(name)]
            config = read_config(path, settings)
            report = first_that_fits(config, name, micro_batches)
            yield step_row(Path(path).stem, config.mesh.fsdp, report)


def _settings_for(name: str) -> list[str]:
    parts = [setting.partition("@") for setting in _SET.value]
    return [setting for setting, _, only in parts if only in ("", name)]


def loss_rows(names: Sequence[str], num_pairs: int, dim: int, tile: int) -> Iterator[list[str]]:
    """Temporaries of the loss at `num_pairs` and at twice as many."""
    for name in names:
        target = topology(name)
        for pairs in (num_pairs, 2 * num_pairs):
            num_bytes = loss_temporaries(target, pairs, dim, tile)
            rows = pairs / len(target.devices)
            dense = f"{rows * pairs * 4 / _MIB:,.0f}"
            vectors = f"{num_bytes / (rows * dim * 4):.1f}"
            yield [name, f"{pairs:,}", f"{num_bytes / _MIB:,.1f}", vectors, dense]


def search_rows(names: Sequence[str], num_images: int, dim: int) -> Iterator[list[str]]:
    """Memory of the exact search and of the reranking on one device."""
    for name in names:
        target = topology(name)
        for what, compiled in (("exact search", compile_exact_search), ("rerank", compile_rerank)):
            memory = compiled(target, num_images, dim)
            yield [name, what, f"{num_images:,}", f"{memory.peak / _GIB:.2f}"]


def main(_: list[str]) -> None:
    names = _TOPOLOGIES.value
    dim = _LOSS_DIM.value
    micro_batches = [int(number) for number in _MICRO_BATCHES.value]
    tables = {
        "steps": (STEP_COLUMNS, step_rows(_CONFIGS.value, names, micro_batches)),
        "loss": (
            ("topology", "pairs", "loss MiB a device", "vectors a pair", "MiB of dense logits"),
            loss_rows(names, _LOSS_PAIRS.value, dim, _LOSS_TILE.value),
        ),
        "search": (
            ("topology", "program", "images", "peak GiB of one device"),
            search_rows(names, _IMAGES.value, dim),
        ),
    }
    try:
        for columns, rows in (tables[name] for name in _TABLES.value):
            for line in table(columns, rows):
                print(line, flush=True)
            print()
    except UserError as error:
        raise SystemExit(_told(error)) from error


def _told(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    app.run(main)
