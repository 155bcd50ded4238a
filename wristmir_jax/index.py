"""Index embeddings for search: a folder that can be moved, with checksums.

Example:
  python -m wristmir_jax.index --embeddings=runs/demo/embeddings --output=runs/demo/index
"""

from absl import flags

from wristmir_jax import cli
from wristmir_jax.retrieval.coarse import COARSE

_EMBEDDINGS = flags.DEFINE_string("embeddings", None, "Folder that `embed` wrote.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the index.", required=True)
_COARSE = flags.DEFINE_enum(
    "coarse", COARSE[0], COARSE, "First stage: exact, or scann for collections too large for it."
)


def main() -> None:
    from wristmir_jax.retrieval.two_stage import build_index

    info = build_index(_EMBEDDINGS.value, _OUTPUT.value, _COARSE.value)
    print(
        f"index of {info.num_exams} exams ({info.num_rows} radiographs), coarse search "
        f"{info.coarse}, model {info.model_fingerprint}: {_OUTPUT.value}"
    )


if __name__ == "__main__":
    cli.run(main)
