"""How fast a recipe trains: prints one JSON object on its last line.

Exams a second, where the time of a step goes (waiting for input, the host, the devices), the share
of the device's peak that the model's products reach (MFU), and the memory of the loss by batch.
With --peer=torch the same step in PyTorch runs in turns with ours; `ratio` is our rate over its.

python -m tools.bench.train_step --config=configs/demo.py --config.dataset=runs/demo/dataset
XLA_PYTHON_CLIENT_MEM_FRACTION=.4 python -m tools.bench.train_step \\
    --config=tools/bench/vit_b16.py --config.batch_size=256 --peer=torch

Without a data set, batches are random, made on the host for every step, half of their captions
distinct.
"""

import itertools
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import app, flags
from ml_collections import config_flags
from tqdm import tqdm

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.learning import config as configs
from wristmir_jax.learning.pairs import PairLabels
from wristmir_jax.learning.programs import jit_step
from wristmir_jax.learning.sharding import make_mesh, place_batch
from wristmir_jax.learning.state import plan_state
from wristmir_jax.learning.step import make_train_step
from wristmir_jax.learning.tiled_loss import tiled_loss
from wristmir_jax.models import flops

_CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe.", lock_config=True)
_PEER = flags.DEFINE_enum("peer", "none", ["none", "torch"], "Measured in the same run.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps a round.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds, ours and the peer's in turns.", lower_bound=1)
_DISTINCT = flags.DEFINE_float("distinct", 0.5, "Share of distinct captions in random batches.")
_LOSS_PAIRS = flags.DEFINE_list("loss_pairs", ["8192", "16384", "32768"], "Of the loss's memory.")

Batch = dict[str, np.ndarray]
# bfloat16 products a second of one device at its peak, from the makers' data sheets.
_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "TPU v4": 275e12}
_LOSS_DIM, _LOSS_TILE = 512, 1024


def measure(
    config: ml_collections.ConfigDict, peer: str, steps: int, rounds: int, distinct: float
) -> dict[str, Any]:
    """Rates and times of the step of `config`."""
    shapes, batches = _batches(config, distinct)
    configs.check_batch_size(config, jax.device_count())
    ours = _Ours(config, shapes)
    runners: dict[str, _Ours | _Torch] = {"ours": ours}
    if peer == "torch":
        runners["torch"] = _Torch(config, shapes)
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    # Every shape of text is compiled before the clock starts.
    seen = [next(batches) for _ in range(2 * steps)]
    for name, runner in runners.items():
        for batch in tqdm(seen, f"compile and warm up {name}", unit="step"):
            runner.warm_up(batch)
    for _ in tqdm(range(rounds), "measure", unit="round"):
        for name, runner in runners.items():
            seconds[name].append(runner.timed(batches, steps))
    device = jax.devices()[0]
    step_seconds = statistics.median(seconds["ours"]) / steps
    model_flops = flops.train_step(
        config,
        image_size=shapes["image_size"],
        crop_size=shapes["crop_size"],
        num_regions=shapes["num_regions"],
        texts=_texts(seen),
    )
    result = {
        "benchmark": "train_step",
        "device": device.device_kind,
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "batch_size": config.batch_size,
        "dtype": config.model.dtype,
        "exams_per_second": config.batch_size / step_seconds,
        "step_seconds": step_seconds,
        "spread": [round(value / steps, 5) for value in sorted(seconds["ours"])],
        "split": ours.split(batches, steps),
        "model_teraflops_a_step": model_flops / 1e12,
    }
    result |= _share_of_peak(model_flops / step_seconds / jax.device_count(), config)
    if "torch" in seconds:
        theirs = statistics.median(seconds["torch"]) / steps
        pairs = zip(seconds["torch"], seconds["ours"], strict=True)
        result |= {
            "torch_exams_per_second": config.batch_size / theirs,
            "torch_spread": [round(value / steps, 5) for value in sorted(seconds["torch"])],
            "ratio": statistics.median(torch / own for torch, own in pairs),
        }
    return result


class _Ours:
    """The step as `learning.loop` runs it: one is dispatched before the last is waited for."""

    def __init__(self, config: ml_collections.ConfigDict, shapes: dict[str, int]):
        self._mesh = make_mesh(config.mesh.fsdp)
        graph, plan, init = plan_state(config, self._mesh, **shapes)
        self._state = init()
        self._step = jit_step(make_train_step(graph, config, self._mesh), plan, self._mesh)

    def warm_up(self, batch: Batch) -> None:
        self._state, metrics = self._step(self._state, place_batch(batch, self._mesh))
        jax.block_until_ready(metrics)

    def timed(self, batches: Iterator[Batch], steps: int) -> float:
        """Seconds of `steps` steps behind one whose input nothing hides."""
        run = self._run(batches, steps + 1)
        jax.device_get(next(run))
        begin = time.perf_counter()
        for metrics in run:
            jax.device_get(metrics)
        jax.block_until_ready(self._state)
        return time.perf_counter() - begin

    def _run(self, batches: Iterator[Batch], steps: int) -> Iterator[Any]:
        previous = None
        for batch in itertools.islice(batches, steps):
            self._state, metrics = self._step(self._state, place_batch(batch, self._mesh))
            if previous is not None:
                yield previous
            previous = metrics
        yield previous

    def split(self, batches: Iterator[Batch], steps: int) -> dict[str, float]:
        """Shares of the time: the devices at work, or waiting for input or for the host.

        What the host does while a step runs costs the devices nothing.
        """
        spent = {"input": 0.0, "host": 0.0, "device": 0.0}
        running: Any = next(self._run(batches, 1))
        begin = time.perf_counter()

        def add(kind: str) -> None:
            nonlocal begin
            now = time.perf_counter()
            spent[kind if running["loss"].is_ready() else "device"] += now - begin
            begin = now

        for _ in range(steps):
            batch = place_batch(next(batches), self._mesh)
            add("input")
            self._state, metrics = self._step(self._state, batch)
            add("host")
            jax.block_until_ready(running)
            spent["device"] += time.perf_counter() - begin
            running, begin = metrics, time.perf_counter()
        jax.block_until_ready(running)
        spent["device"] += time.perf_counter() - begin
        return {name: value / sum(spent.values()) for name, value in spent.items()}


class _Torch:
    def __init__(self, config: ml_collections.ConfigDict, shapes: dict[str, Any]):
        from tools.bench.torch_peer import Step

        self._step = Step(config, **shapes)

    def warm_up(self, batch: Batch) -> None:
        self._step(self._step.place(batch))
        self._step.synchronize()

    def timed(self, batches: Iterator[Batch], steps: int) -> float:
        """As of ours."""
        self._step(self._step.place(next(batches)))
        batch = self._step.place(next(batches))
        self._step.synchronize()
        begin = time.perf_counter()
        self._step(batch)
        for following in itertools.islice(batches, steps - 1):
            self._step(self._step.place(following))
        self._step.synchronize()
        return time.perf_counter() - begin


def _texts(batches: list[Batch]) -> flops.Texts:
    """Of the batch with the median count of tokens."""
    (global_rows, global_length), (region_rows, region_length) = (
        sorted((batch[f"{level}_token"].shape for batch in batches), key=np.prod)[len(batches) // 2]
        for level in ("global", "region")
    )
    return flops.Texts(
        global_rows=global_rows,
        global_length=global_length,
        region_rows=region_rows,
        region_length=region_length,
    )


def _batches(
    config: ml_collections.ConfigDict, distinct: float
) -> tuple[dict[str, int], Iterator[Batch]]:
    """Shapes of the data set, and its batches, or random ones."""
    if config.dataset:
        return _of_dataset(config)
    shapes = {
        "image_size": 224,
        "crop_size": 128,
        "num_regions": len(REGION_NAMES),
        "vocab_size": config.tokenizer.vocab_size,
    }
    return shapes, _random(config, shapes, distinct)


def _of_dataset(config: ml_collections.ConfigDict) -> tuple[dict[str, int], Iterator[Batch]]:
    from wristmir_jax.data.dataset import Dataset
    from wristmir_jax.data.pipeline import RECORD_INDEX
    from wristmir_jax.learning import inputs
    from wristmir_jax.learning.record_order import record_order

    dataset = Dataset(config.dataset)
    tokenizer = inputs.make_tokenizer(config, dataset)
    order = record_order(config, dataset)
    batches = inputs.make_batches(config, dataset, order, tokenizer, 0)
    info = dataset.info
    shapes = {
        "image_size": info.image_size,
        "crop_size": info.crop_size,
        "num_regions": len(info.regions),
        "vocab_size": tokenizer.vocab_size,
    }
    return shapes, (
        {key: array for key, array in batch.items() if key != RECORD_INDEX} for batch in batches
    )


def _random(
    config: ml_collections.ConfigDict, shapes: dict[str, int], distinct: float
) -> Iterator[Batch]:
    rng = np.random.default_rng(config.seed)
    B, R = config.batch_size, shapes["num_regions"]
    shards = jax.local_device_count()
    S, C, model = shapes["image_size"], shapes["crop_size"], config.model
    pixels = {
        "image": rng.integers(0, 255, (2 * B, S, S), dtype=np.uint8),
        "crops": rng.integers(0, 255, (2 * B, R, C, C), dtype=np.uint8),
    }
    while True:
        first = int(rng.integers(B))
        batch: Batch = {key: np.array(array[first : first + B]) for key, array in pixels.items()}
        batch["mirrored"] = rng.random(B) < 0.5
        batch["region_status"] = rng.integers(0, 4, (B, R)).astype(np.uint8)
        for level, shape, length in (
            ("global", (B,), model.global_text_length),
            ("region", (B, R), model.region_text_length),
        ):
            size = int(np.prod(shape))
            rows = max(1, round(distinct * size / shards))
            index = rng.integers(0, rows, shape)
            batch[f"{level}_text_index"] = index.astype(np.int32)
            batch[f"{level}_group"] = np.stack([index, index], -1).astype(np.int32)
            token = rng.integers(1, shapes["vocab_size"], (rows * shards, length))
            batch[f"{level}_token"] = token.astype(np.int32)
        yield batch


def _share_of_peak(flops_a_second: float, config: ml_collections.ConfigDict) -> dict[str, Any]:
    kind = jax.devices()[0].device_kind
    peaks = [peak for name, peak in _PEAK_FLOPS.items() if name in kind]
    measured = _measured_peak(jnp.dtype(config.model.dtype))
    return {
        "mfu": flops_a_second / peaks[0] if peaks else None,
        "measured_peak_teraflops": measured / 1e12,
        "share_of_measured_peak": flops_a_second / measured,
    }


def _measured_peak(dtype: Any) -> float:
    """Products a second of large square matrices on one device."""
    size = 8192 if jax.default_backend() != "cpu" else 2048
    # Zeros or ones would switch fewer transistors, and run faster than data does.
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))

    def seconds() -> float:
        begin = time.perf_counter()
        jax.block_until_ready([product(a) for _ in range(5)])
        return (time.perf_counter() - begin) / 5

    return 2 * size**3 / min(seconds() for _ in range(5))


def loss_memory(num_pairs: int) -> int:
    """Temporary bytes a device of loss and gradient, by the compiler's count."""
    mesh = make_mesh()

    def array(*shape: int, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct((num_pairs, 1, *shape), dtype)

    vectors = array(_LOSS_DIM)
    labels = PairLabels(array(2, dtype=jnp.int32), array(dtype=bool), array(3, dtype=jnp.int32))

    def loss(image: jax.Array, text: jax.Array, labels: PairLabels) -> jax.Array:
        return tiled_loss(image, text, labels, jnp.float32(10), mesh=mesh, tile=_LOSS_TILE)

    lowered = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(vectors, vectors, labels)
    memory: Any = lowered.compile().memory_analysis()
    return memory.temp_size_in_bytes


def main(_: list[str]) -> None:
    if _CONFIG.value is None:
        raise app.UsageError("--config is missing: give a recipe")
    result = measure(_CONFIG.value, _PEER.value, _STEPS.value, _ROUNDS.value, _DISTINCT.value)
    result["loss_temporary_bytes"] = {pairs: loss_memory(int(pairs)) for pairs in _LOSS_PAIRS.value}
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
