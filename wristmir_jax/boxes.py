"""Import region boxes and bone outlines of other tools, or export boxes to COCO.

Reads COCO JSON, YOLO, CVAT, Pascal VOC, outlines or masks of whole bones, and our own boxes.jsonl.

Examples:
  python -m wristmir_jax.boxes --input=coco.json --labels=radius_end:distal_radius \
      --images=films --output=boxes.jsonl
  python -m wristmir_jax.boxes --input=bone_polygons.json --output=boxes.jsonl
  python -m wristmir_jax.boxes --input=boxes.jsonl --images=films --export=coco --output=coco.json
"""

from absl import flags

from wristmir_jax import cli
from wristmir_jax.errors import UserError

_FORMATS = ("auto", "coco", "yolo", "cvat", "voc", "bone_polygons", "bone_masks", "boxes")

_INPUT = flags.DEFINE_string("input", None, "File or folder with the boxes or outlines.")
_OUTPUT = flags.DEFINE_string("output", None, "File to write: JSONL, or JSON with --export=coco.")
_FORMAT = flags.DEFINE_enum("format", "auto", _FORMATS, "Of --input; boxes = boxes.jsonl.")
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder with the films: their names and sizes (YOLO and --export=coco need it)."
)
_LABELS = flags.DEFINE_list(
    "labels",
    [],
    "What the labels of --input mean: LABEL:region, or with outlines LABEL:bone (radius, ulna, "
    "radius_epiphysis, ulna_epiphysis, hand). Labels that are such names map by themselves.",
)
_NAMES = flags.DEFINE_list("names", [], "Names of the classes that YOLO numbers, from 0.")
_OUTLINES = flags.DEFINE_bool(
    "outlines",
    None,
    "The labels are of whole bones: derive the regions from their outlines. By default only for "
    "bone_polygons and bone_masks.",
)
_EXPORT = flags.DEFINE_enum("export", "boxes", ["boxes", "coco"], "What to write.")


def main() -> None:
    source, output = _INPUT.value, _OUTPUT.value
    if not source:
        raise UserError("--input is missing: give a file or folder of boxes or outlines")
    if not output:
        raise UserError("--output is missing: give a file to write")
    from wristmir_jax.data.box_formats.convert import convert

    account = convert(
        source,
        output,
        source_format=_FORMAT.value,
        images=_IMAGES.value,
        labels=_LABELS.value,
        names=_NAMES.value,
        outlines=_OUTLINES.value,
        export=_EXPORT.value,
    )
    print("\n".join(account.lines()))


if __name__ == "__main__":
    cli.run(main)
