"""Writes a tower of a trained run in the layout of the checkpoint that it started from.

python tools/export_tower.py --workdir=runs/wristmir --tower=global_tower \
  --like=checkpoints/medsiglip --output=runs/wristmir/global_tower

Its parameters are those that `embed` uses. transformers, timm or open_clip then load it as they
load `--like`. An image tower expects what ours sees: grey films in three equal channels, right
wrists mirrored to left.
"""

import numpy as np
from absl import flags
from etils import epath

from wristmir_jax import cli
from wristmir_jax.errors import UserError
from wristmir_jax.learning import workdir as workdirs
from wristmir_jax.learning.inference import load_embedder
from wristmir_jax.models.pretrained.export import export_text, export_vision
from wristmir_jax.models.specs import TextSpec, VisionSpec

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_TOWER = flags.DEFINE_enum(
    "tower", None, ("global_tower", "local_tower", "text_tower"), "Which one.", required=True
)
_LIKE = flags.DEFINE_string("like", None, "Checkpoint whose layout it takes.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The new folder.", required=True)
_REGION = flags.DEFINE_string(
    "region", None, "Bone that the local tower will see; the first of the run unless given."
)


def kind_of(workdir: epath.Path, tower: str, region: str | None) -> int:
    """Number of the region that the local tower is to be told it sees; 0 for the global one.

    Raises:
        UserError: the run knows no such region, or the tower is told none.
    """
    regions = workdirs.read_dataset_info(workdir).regions if tower == "local_tower" else ()
    if region is not None and region not in regions:
        known = ", ".join(regions) or "none"
        raise UserError(f"--region={region} is not known: --tower={tower} knows {known}")
    return regions.index(region) if region else 0


def main() -> None:
    workdir, tower = epath.Path(_WORKDIR.value), _TOWER.value
    config = workdirs.read_config(workdir)
    key, recipe = f"config.model.{tower}", config.model[tower]
    if recipe.get("kind") == "convolutional":
        raise UserError(f"{key}.kind=convolutional: only transformers can be exported")
    kind = kind_of(workdir, tower, _REGION.value)
    parameters = {
        name.removeprefix(f"{tower}/"): np.asarray(value)
        for name, value in load_embedder(workdir).params.items()
        if name.startswith(f"{tower}/")
    }
    common = {"ignore": tuple(config.pretrained.ignore), "key": key}
    places = (_LIKE.value, _OUTPUT.value)
    if tower == "text_tower":
        export_text(parameters, TextSpec.of(recipe), *places, **common)
    else:
        export_vision(parameters, VisionSpec.of(recipe), *places, kind=kind, **common)
    print(f"wrote {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
