"""Calibrates the localiser of a run on held-out films with boxes, judges it on others, writes it.

python -m tools.export_localizer --workdir=runs/localizer --dataset=data/held_out \
  --output=wristmir_jax/models/localizer.safetensors

The confidence is fitted on the validation split of --dataset; the tables are of its test split.
With --judge_only=FILE nothing is written: the tables are of that file.
"""

import dataclasses

from absl import flags

from wristmir_jax import cli
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.errors import UserError
from wristmir_jax.learning.localizer_run import localizer_of_run
from wristmir_jax.localizing.judging import calibrated, judge, reliability, table
from wristmir_jax.localizing.localizer import Localizer
from wristmir_jax.models.localizer_file import read_localizer, write_localizer

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_DATASET = flags.DEFINE_string("dataset", None, "Held-out films with boxes.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The file to write.")
_JUDGE_ONLY = flags.DEFINE_string("judge_only", None, "Judge this file, or `package`.")
_ABOUT = flags.DEFINE_string("about", "", "How it was trained, for a person; is kept in the file.")
_MAX_FILMS = flags.DEFINE_integer("max_films", 2000, "Of each split.", lower_bound=1)


def main() -> None:
    dataset = Dataset(_DATASET.value)
    if _JUDGE_ONLY.value:
        name = _JUDGE_ONLY.value
        localizer = Localizer(read_localizer(None if name == "package" else name))
    else:
        if not _WORKDIR.value or not _OUTPUT.value:
            raise UserError("give --workdir and --output, or --judge_only")
        file = localizer_of_run(_WORKDIR.value)
        file = dataclasses.replace(file, about=_ABOUT.value or file.about)
        source = dataset.source("validation")
        indices = range(min(len(source), _MAX_FILMS.value))
        file = calibrated(file, judge(Localizer(file), source, indices))
        write_localizer(file, _OUTPUT.value)
        # As a user gets it: parameters rounded to float16.
        localizer = Localizer(read_localizer(_OUTPUT.value))
    source = dataset.source("test")
    judged = judge(localizer, source, range(min(len(source), _MAX_FILMS.value)))
    print(f"# {dataset.info.title}, {len(judged.view_N)} films, test split")
    print("\n".join([*table(judged, localizer.regions), "", *reliability(judged)]))


if __name__ == "__main__":
    cli.run(main)
