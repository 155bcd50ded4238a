"""Export the embeddings of a prepared data set with a trained model."""

from absl import flags

from wristmir_jax import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.", required=True)
_DATASET = flags.DEFINE_string("dataset", None, "Data set that `prepare` wrote.", required=True)
_SPLIT = flags.DEFINE_string("split", "all", "train, validation, test or all.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the embeddings to.", required=True)


def main() -> None:
    from wristmir_jax.learning.inference import load_embedder
    from wristmir_jax.retrieval.export import export_embeddings

    embedder = load_embedder(_WORKDIR.value)
    metadata = export_embeddings(embedder, _DATASET.value, _OUTPUT.value, _SPLIT.value)
    print(f"embeddings of model {metadata.model_fingerprint} are in {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
