"""Find the bone regions on radiographs -> boxes.jsonl, which `prepare --boxes` reads.

Examples:
  python -m wristmir_jax.localize --input=wrists/ --output=boxes.jsonl --preview=look/
"""

from absl import flags

from wristmir_jax import cli
from wristmir_jax.errors import UserError

_INPUT = flags.DEFINE_string(
    "input", None, "Folder of PNG and JPEG files, one such file, or a manifest with image_path."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSONL to write, a line a radiograph.")
_LOCALIZER = flags.DEFINE_string(
    "localizer", "package", "package, or the file of another localiser, or the folder of its run."
)
_PREVIEW = flags.DEFINE_string(
    "preview", None, "Folder for a picture of each radiograph with its boxes and crops."
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 0, "Processes that decode films; 0 = all cores.", lower_bound=0
)


def main() -> None:
    if not _INPUT.value:
        raise UserError("--input is missing: give a folder of radiographs")
    if not _OUTPUT.value:
        raise UserError("--output is missing: give a file such as boxes.jsonl")
    from wristmir_jax.localizing.films import localize
    from wristmir_jax.localizing.opening import open_localizer
    from wristmir_jax.workers import available_cores

    account = localize(
        _INPUT.value,
        _OUTPUT.value,
        open_localizer(_LOCALIZER.value),
        preview=_PREVIEW.value,
        num_workers=_NUM_WORKERS.value or available_cores(),
    )
    print("\n".join(account.lines()))


if __name__ == "__main__":
    cli.run(main)
