"""Export the embeddings of a prepared data set with a trained model."""

from absl import flags

from wristmir_jax import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.", required=True)
_DATASET = flags.DEFINE_string("dataset", None, "Data set that `prepare` wrote.", required=True)
_SPLIT = flags.DEFINE_string("split", "all", "train, validation, test or all.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the embeddings to.", required=True)
_NEIGHBOURS = flags.DEFINE_integer(
    "neighbours",
    0,
    "Nearest images of other patients and captions to list for each image, for "
    "--config.loader.hard_negatives of `train`; 0 lists none.",
    lower_bound=0,
)


def main() -> None:
    from wristmir_jax.learning.inference import load_embedder
    from wristmir_jax.retrieval.export import export_embeddings
    from wristmir_jax.retrieval.neighbours import write_neighbours

    embedder = load_embedder(_WORKDIR.value)
    metadata = export_embeddings(embedder, _DATASET.value, _OUTPUT.value, _SPLIT.value)
    if _NEIGHBOURS.value:
        write_neighbours(_OUTPUT.value, _NEIGHBOURS.value)
    print(f"embeddings of model {metadata.model_fingerprint} are in {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
