"""Score embeddings: recall both ways, fracture probes, region search, with a report to look at.

Example:
  python -m wristmir_jax.evaluate --embeddings=runs/demo/embeddings --output=runs/demo
"""

from absl import flags

from wristmir_jax import cli
from wristmir_jax.benchmark.evaluation import METRICS_FILE, REPORT_FILE, evaluate
from wristmir_jax.benchmark.summary import table

_EMBEDDINGS = flags.DEFINE_string(
    "embeddings", None, "Folder that `embed --split=all` wrote.", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", None, f"Folder for {METRICS_FILE} and {REPORT_FILE}.", required=True
)
_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Where the embedded data set lies now, if it moved (for the report's pictures).",
)
_RESAMPLES = flags.DEFINE_integer(
    "resamples", 1000, "Of the patient-level bootstrap.", lower_bound=100
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap.", lower_bound=0)


def main() -> None:
    metrics = evaluate(
        _EMBEDDINGS.value,
        _OUTPUT.value,
        dataset=_DATASET.value,
        resamples=_RESAMPLES.value,
        seed=_SEED.value,
    )
    print(table(metrics))
    print(f"report: {_OUTPUT.value.rstrip('/')}/{REPORT_FILE}")


if __name__ == "__main__":
    cli.run(main)
