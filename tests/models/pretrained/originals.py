"""Tiny random models of the original classes, saved and read by the original libraries."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.torchvision_operators import define_torchvision_operators

define_torchvision_operators()

import open_clip  # noqa: E402
import timm  # noqa: E402
import transformers  # noqa: E402
from open_clip.push_to_hf_hub import save_for_hf as save_open_clip  # noqa: E402
from timm.models import save_for_hf as save_timm  # noqa: E402

# A different one for each channel, so that none can be mistaken for another.
MEAN, STD = (0.53, 0.41, 0.36), (0.25, 0.31, 0.28)
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
TEXT = {**SIZES, "intermediate_size": 96, "vocab_size": 50, "max_position_embeddings": 12}
NO_TOKENS = {"bos_token_id": None, "eos_token_id": 49, "pad_token_id": 1}
END_ID = 49


@dataclasses.dataclass(frozen=True)
class Original:
    """A model of another library.

    Attributes:
        save: writes one with random weights into a folder.
        features: (folder, input) -> what the library that reads the folder gives. The input are
            pixels (B, 3, H, W), already standardised, or tokens (T, L).
        mean, std: that the pixels are standardised with.
        image_size: pixels.
    """

    save: Callable[[Path], None]
    features: Callable[[Path, np.ndarray], np.ndarray]
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    image_size: int = 32


def randomise(model: torch.nn.Module) -> None:
    """No parameter stays at zero or one, where a mistake would not show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 if parameter.ndim < 2 else parameter.shape[-1] ** -0.5
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))


def of_transformers(
    class_name: str, config: Any, features: Callable[[Any, torch.Tensor], torch.Tensor]
) -> Original:
    make = getattr(transformers, class_name)

    def save(folder: Path) -> None:
        model = make(config)
        randomise(model)
        model.save_pretrained(folder)
        statistics = {"image_mean": MEAN, "image_std": STD, "do_normalize": True}
        (folder / "preprocessor_config.json").write_text(json.dumps(statistics))

    def of_folder(folder: Path, inputs: np.ndarray) -> np.ndarray:
        model = make.from_pretrained(folder).eval()
        with torch.no_grad():
            return features(model, torch.from_numpy(inputs)).numpy()

    return Original(save, of_folder)


def of_timm(architecture: str, class_token_of_two: bool = False, **arguments: Any) -> Original:
    arguments = {"img_size": 32, "depth": 2, "embed_dim": 64, "num_heads": 4} | arguments

    def save(folder: Path) -> None:
        model = timm.create_model(architecture, **arguments)
        randomise(model)
        save_timm(
            model, str(folder), safe_serialization=True, data_config={"mean": MEAN, "std": STD}
        )

    def of_folder(folder: Path, inputs: np.ndarray) -> np.ndarray:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        with torch.no_grad():
            tokens = model.forward_features(torch.from_numpy(inputs))
            # timm averages the two tokens of a distilled model.
            pooled = tokens[:, 0] if class_token_of_two else model.forward_head(tokens, True)
            return pooled.numpy()

    return Original(save, of_folder, image_size=arguments["img_size"])


def of_open_clip(tower: str) -> Original:
    """BiomedCLIP's layout; timm has no smaller architecture to name than its tiny one."""

    def save(folder: Path) -> None:
        bert = transformers.BertConfig(**{**TEXT, "hidden_size": 64, "intermediate_size": 96})
        bert.save_pretrained(folder / "bert")
        config = {
            "embed_dim": 24,
            "vision_cfg": {
                "timm_model_name": "vit_tiny_patch16_224",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": 224,
            },
            "text_cfg": {
                "hf_model_name": str(folder / "bert"),
                "hf_model_pretrained": False,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 12,
            },
        }
        model = open_clip.CustomTextCLIP(**config)
        randomise(model)
        open_clip.set_model_preprocess_cfg(model, {"mean": MEAN, "std": STD})
        tokenizer = transformers.BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1})
        save_open_clip(model, tokenizer, config, str(folder), safe_serialization=True)

    def of_folder(folder: Path, inputs: np.ndarray) -> np.ndarray:
        model = open_clip.create_model(f"local-dir:{folder}").eval()
        encode = model.encode_image if tower == "image" else model.encode_text
        with torch.no_grad():
            return encode(torch.from_numpy(inputs)).numpy()

    return Original(save, of_folder, image_size=224)


def _class_token(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return model(pixels).last_hidden_state[:, 0]


def _pooled(model: Any, inputs: torch.Tensor) -> torch.Tensor:
    return model(inputs).pooler_output


def _image_features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    return model.get_image_features(pixels).pooler_output


def _text_features(model: Any, token: torch.Tensor) -> torch.Tensor:
    return model.get_text_features(token).pooler_output


def _first_token(model: Any, token: torch.Tensor) -> torch.Tensor:
    mask = (token != 0).long()
    return getattr(model, "bert", model)(token, attention_mask=mask).last_hidden_state[:, 0]


def _bert(class_name: str) -> Original:
    return of_transformers(class_name, transformers.BertConfig(**TEXT), _first_token)


def _clip(eos_token_id: int, features: Any, class_name: str = "CLIPModel") -> Original:
    text = TEXT | NO_TOKENS | {"eos_token_id": eos_token_id}
    vision = {**VISION, "intermediate_size": 128}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    if class_name != "CLIPModel":
        config = config.vision_config
    return of_transformers(class_name, config, features)


def _siglip(features: Any, class_name: str = "SiglipModel") -> Original:
    vision = {**VISION, "intermediate_size": 96}
    text = TEXT | NO_TOKENS | {"projection_size": 24}
    config = transformers.SiglipConfig(text_config=text, vision_config=vision)
    if class_name != "SiglipModel":
        config = config.vision_config
    return of_transformers(class_name, config, features)


def _vit(class_name: str = "ViTModel", num_channels: int = 3) -> Original:
    config = transformers.ViTConfig(**VISION, intermediate_size=96, num_channels=num_channels)

    def features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
        return _class_token(getattr(model, "vit", model), pixels[:, :num_channels])

    return of_transformers(class_name, config, features)


IMAGE = {
    "vit": _vit(),
    "vit_of_one_channel": _vit(num_channels=1),
    "vit_classifier": _vit("ViTForImageClassification"),
    "deit": of_transformers(
        "DeiTModel", transformers.DeiTConfig(**VISION, intermediate_size=96), _class_token
    ),
    "dinov2": of_transformers("Dinov2Model", transformers.Dinov2Config(**VISION), _class_token),
    "dinov2_with_registers": of_transformers(
        "Dinov2WithRegistersModel",
        transformers.Dinov2WithRegistersConfig(**VISION, num_register_tokens=3),
        _class_token,
    ),
    "clip": _clip(END_ID, _image_features),
    "clip_image_tower": _clip(END_ID, _pooled, "CLIPVisionModel"),
    "siglip": _siglip(_image_features),
    "siglip_image_tower": _siglip(_pooled, "SiglipVisionModel"),
    "timm_vit": of_timm("vit_base_patch16_224", patch_size=8),
    "timm_deit_distilled": of_timm("deit_tiny_distilled_patch16_224", class_token_of_two=True),
    "timm_deit3": of_timm("deit3_small_patch16_224"),
    "timm_siglip": of_timm("vit_base_patch32_siglip_256", img_size=64),
    "timm_siglip_mean": of_timm("vit_base_patch16_siglip_gap_224"),
    "timm_clip": of_timm("vit_base_patch16_clip_quickgelu_224"),
    "timm_dinov2_registers": of_timm("vit_small_patch14_reg4_dinov2", img_size=42),
    "biomedclip": of_open_clip("image"),
}
TEXTS = {
    "clip": _clip(END_ID, _text_features),
    "clip_older_config": _clip(2, _text_features),
    "siglip": _siglip(_text_features),
    "bert": _bert("BertModel"),
    "bert_with_head": _bert("BertForMaskedLM"),
    "biomedclip": of_open_clip("text"),
}
