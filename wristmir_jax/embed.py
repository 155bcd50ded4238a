"""Export the embeddings of a prepared data set with a trained model."""

from absl import flags

from wristmir_jax import cli
from wristmir_jax.errors import UserError

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.")
_DATASET = flags.DEFINE_string("dataset", None, "Data set that `prepare` wrote.")
_SPLIT = flags.DEFINE_string("split", "all", "train, validation, test or all.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the embeddings to.")


def main() -> None:
    for flag in (_WORKDIR, _DATASET, _OUTPUT):
        if not flag.value:
            raise UserError(f"--{flag.name} is missing: {flag.help}")
    from wristmir_jax.learning.inference import load_embedder
    from wristmir_jax.retrieval.export import export_embeddings

    embedder = load_embedder(_WORKDIR.value)
    metadata = export_embeddings(embedder, _DATASET.value, _OUTPUT.value, _SPLIT.value)
    print(f"embeddings of model {metadata.model_fingerprint} are in {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
