"""Which family of checkpoints a folder holds."""

from collections.abc import Callable

from etils import epath

from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained import bert, clip, open_clip, timm, vit
from wristmir_jax.models.pretrained.folder import (
    OPEN_CLIP_CONFIG_FILE,
    CheckpointFolder,
    open_folder,
)
from wristmir_jax.models.pretrained.layout import Layout

_CLIP = clip.CLIP_TYPES + clip.SIGLIP_TYPES
_VISION = {
    **dict.fromkeys(vit.MODEL_TYPES, vit.vision_layout),
    **dict.fromkeys(_CLIP, clip.vision_layout),
}
_TEXT = {
    **dict.fromkeys(bert.MODEL_TYPES, bert.text_layout),
    **dict.fromkeys(_CLIP, clip.text_layout),
}


def vision_layout(path: epath.PathLike) -> tuple[CheckpointFolder, Layout]:
    """The folder and where its image tower lies.

    Raises:
        UserError: a folder, family or architecture that is not known.
    """
    folder = open_folder(path)
    if "architecture" in folder.config and "model_type" not in folder.config:
        return folder, timm.vision_layout(folder)
    return folder, _choose(folder, "image", _VISION, open_clip.vision_layout)(folder)


def text_layout(path: epath.PathLike) -> tuple[CheckpointFolder, Layout]:
    """The folder and where its text tower lies.

    Raises:
        UserError: a folder, family or architecture that is not known.
    """
    folder = open_folder(path)
    return folder, _choose(folder, "text", _TEXT, open_clip.text_layout)(folder)


def _choose(
    folder: CheckpointFolder,
    tower: str,
    known: dict[str, Callable[[CheckpointFolder], Layout]],
    of_open_clip: Callable[[CheckpointFolder], Layout],
) -> Callable[[CheckpointFolder], Layout]:
    if folder.config_file == OPEN_CLIP_CONFIG_FILE:
        return of_open_clip
    model_type = folder.config.get("model_type")
    where = folder.path / folder.config_file
    if model_type in ("siglip2", "siglip2_vision_model", "siglip2_text_model"):
        raise UserError(
            f"{where}: model_type={model_type} is the NaFlex variant of SigLIP 2, another "
            "architecture; take a checkpoint of one fixed size, whose model_type is siglip"
        )
    if model_type not in known:
        also = " and timm's vit_, deit_ and deit3_" if tower == "image" else ""
        raise UserError(
            f"{where}: model_type={model_type} has no {tower} tower that is known; known are "
            f"{', '.join(known)}{also}, and open_clip's layout of BiomedCLIP"
        )
    return known[model_type]
