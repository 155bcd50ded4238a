"""Prepare a data set: radiographs with reports' findings, codes or captions -> records on disk.

Examples:
  python -m wristmir_jax.prepare --source=phantom --num_exams=500 --output=data/phantoms
  python -m wristmir_jax.prepare --source=folder --input=wrists --findings=F.jsonl --output=data/own
"""

from absl import flags

from wristmir_jax import cli
from wristmir_jax.errors import UserError

_SOURCES = ("folder", "phantom", "fracatlas", "grazpedwri")

_SOURCE = flags.DEFINE_enum("source", None, _SOURCES, "Where radiographs and labels come from.")
_INPUT = flags.DEFINE_string(
    "input", None, "Folder of the source; for --source=folder also the manifest itself."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the data set.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the data set at --output.")
_FINDINGS = flags.DEFINE_string(
    "findings", None, "JSONL that `mine` wrote, joined by exam and side (--source=folder)."
)
_BOXES = flags.DEFINE_string(
    "boxes", None, "JSONL that `localize` wrote, joined by image; other films: see --localizer."
)
_LOCALIZER = flags.DEFINE_string(
    "localizer",
    "package",
    "What places the regions of films that come without boxes: package (the localiser of this "
    "package), prior (geometry alone), none (such films have no crops), or the path of another.",
)
_NUM_EXAMS = flags.DEFINE_integer("num_exams", 100, "Exams to render (--source=phantom).")
_DISTURBANCE = flags.DEFINE_float(
    "disturbance",
    0.0,
    "How far phantoms are from tidy films: 0 is tidy, 1 any pose, field and exposure.",
)
_EVEN_AGES = flags.DEFINE_float(
    "even_ages",
    0.0,
    "Part of the phantoms' patients, 0 to 1, whose age is any of childhood's alike; the others are "
    "as old as real patients, few of whom are below 6.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Of phantoms and of caption wordings.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 128, "Pixels a side of the whole film.")
_CROP_SIZE = flags.DEFINE_integer("crop_size", 64, "Pixels a side of a region's crop.")
_NUM_PHRASINGS = flags.DEFINE_integer("num_phrasings", 6, "Wordings of each caption.")
_VALIDATION = flags.DEFINE_float("validation_fraction", 0.1, "Of the patients.")
_TEST = flags.DEFINE_float("test_fraction", 0.2, "Of the patients.")
_SPLIT_SEED = flags.DEFINE_integer("split_seed", 0, "Another seed, another partition.")
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 0, "Processes that decode films; 0 = all cores.", lower_bound=0
)


def main() -> None:
    source_name, output = _SOURCE.value, _OUTPUT.value
    if not source_name:
        raise UserError(f"--source is missing: choose one of {', '.join(_SOURCES)}")
    if not output:
        raise UserError("--output is missing: give a folder for the data set")
    from wristmir_jax.data.prepare import prepare
    from wristmir_jax.data.sources import open_source
    from wristmir_jax.data.splits import SplitRule
    from wristmir_jax.workers import available_cores

    source = open_source(
        source_name,
        _INPUT.value,
        findings=_FINDINGS.value,
        boxes=_BOXES.value,
        num_exams=_NUM_EXAMS.value,
        seed=_SEED.value,
        image_size=_IMAGE_SIZE.value,
        disturbance=_DISTURBANCE.value,
        even_ages=_EVEN_AGES.value,
    )
    account = prepare(
        source,
        output,
        image_size=_IMAGE_SIZE.value,
        crop_size=_CROP_SIZE.value,
        num_phrasings=_NUM_PHRASINGS.value,
        split_rule=SplitRule(_VALIDATION.value, _TEST.value, _SPLIT_SEED.value),
        seed=_SEED.value,
        num_workers=_NUM_WORKERS.value or available_cores(),
        localizer=_LOCALIZER.value,
        overwrite=_OVERWRITE.value,
    )
    print("\n".join(account.lines()))


if __name__ == "__main__":
    cli.run(main)
