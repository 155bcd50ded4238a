"""The training step of a recipe in PyTorch, as a reader of open_clip would write it.

Towers of the same shapes (`transformers` where it has them), every caption encoded where it occurs,
a dense loss, fused AdamW, torch.compile, autocast in bfloat16 where the recipe computes in it.
"""

import contextlib
import math
import sys
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from wristmir_jax.models.specs import TextSpec, VisionSpec
from wristmir_jax.reports.findings import STATUSES

# A torchvision that does not fit the installed torch fails to import, and transformers with it,
# which needs none of it here.
try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    sys.modules["torchvision"] = None  # pyright: ignore[reportArgumentType]

from transformers import BertConfig, BertModel, ViTConfig, ViTModel

Batch = dict[str, torch.Tensor]
_AS_THEY_ARE = ("image", "crops", "mirrored", "region_status", "global_group", "region_group")


class Step:
    """One training step after another.

    Args:
        config: of the recipe.
        image_size, crop_size, num_regions, vocab_size: of its data set.
        compiled: through torch.compile.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        *,
        image_size: int,
        crop_size: int,
        num_regions: int,
        vocab_size: int,
        compiled: bool = True,
    ):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        torch.set_float32_matmul_precision("high")
        self._config = config
        model = _DualEncoder(config, image_size, crop_size, num_regions, vocab_size)
        self._model = model.to(self.device)
        self._average = {name: p.detach().clone() for name, p in self._model.named_parameters()}
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(),
            lr=config.optimizer.learning_rate,
            betas=(0.9, config.optimizer.beta2),
            weight_decay=config.optimizer.weight_decay,
            fused=True,
        )
        self._loss: Callable[[Batch], torch.Tensor] = self._batch_loss
        if compiled:
            self._loss = torch.compile(self._batch_loss)

    def place(self, batch: dict[str, np.ndarray]) -> Batch:
        """A batch of `data.pipeline` on the device, captions where they occur."""
        placed = {
            key: torch.from_numpy(np.ascontiguousarray(batch[key]))
            for key in (
                "image",
                "crops",
                "mirrored",
                "region_status",
                "global_group",
                "region_group",
            )
        }
        for level in ("global", "region"):
            token, index = batch[f"{level}_token"], batch[f"{level}_text_index"]
            pad = self._config.model.text_tower.pad_id
            tokens = np.where((index >= 0)[..., None], token[np.maximum(index, 0)], pad)
            placed[f"{level}_token"] = torch.from_numpy(tokens.astype(np.int64))
            placed[f"{level}_valid"] = torch.from_numpy(index >= 0)
        return {key: value.to(self.device, non_blocking=True) for key, value in placed.items()}

    def __call__(self, batch: Batch) -> torch.Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._config.optimizer.clip_norm)
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                list(self._average.values()),
                list(self._model.parameters()),
                1 - self._config.optimizer.ema_decay,
            )
        return loss.detach()

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _batch_loss(self, batch: Batch) -> torch.Tensor:
        config = self._config
        half = config.model.dtype == "bfloat16"
        autocast: Any = (
            torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext()
        )
        B, R, C, _ = batch["crops"].shape
        films = _augmented(_in_tower_frame(batch["image"], batch["mirrored"]), config.augment)
        crops = _in_tower_frame(
            batch["crops"].reshape(B * R, C, C), batch["mirrored"].repeat_interleave(R)
        )
        crops = _augmented(crops, config.augment)
        with autocast:
            film, crop, global_text, region_text = self._model(
                films,
                crops,
                batch["global_token"],
                batch["region_token"],
            )
        scale = self._model.log_scale.exp().clamp(max=100)
        status = batch["region_status"]
        global_loss = _contrastive(
            film, global_text, batch["global_group"], batch["global_valid"], status, scale[0]
        )
        region_losses = [
            _contrastive(
                crop[:, r],
                region_text[:, r],
                batch["region_group"][:, r],
                batch["region_valid"][:, r],
                status[:, r : r + 1],
                scale[1],
            )
            for r in range(R)
        ]
        region_loss = torch.stack(region_losses).mean() if region_losses else film.sum() * 0
        return config.loss.global_weight * global_loss + config.loss.region_weight * region_loss


class _DualEncoder(nn.Module):
    def __init__(
        self,
        config: ml_collections.ConfigDict,
        image_size: int,
        crop_size: int,
        num_regions: int,
        vocab_size: int,
    ):
        super().__init__()
        model, kinds = config.model, max(num_regions, 1)
        self.global_tower = _vision_tower(model.global_tower, image_size, 1)
        self.local_tower = _vision_tower(model.local_tower, crop_size, kinds)
        length = max(model.global_text_length, model.region_text_length)
        self.text_tower = _TextTower(TextSpec.of(model.text_tower), vocab_size, length)
        dim = model.embedding_dim

        def head(features: int) -> nn.Module:
            norm = nn.BatchNorm1d(features, affine=False)
            return nn.Sequential(norm, nn.Linear(features, dim))

        self.global_head = head(self.global_tower.out_features)
        self.local_heads = nn.ModuleList(
            [head(self.local_tower.out_features) for _ in range(num_regions)]
        )
        self.global_text_head = head(self.text_tower.out_features)
        self.region_text_heads = nn.ModuleList(
            [head(self.text_tower.out_features) for _ in range(num_regions)]
        )
        self.log_scale = nn.Parameter(torch.full((2,), math.log(model.initial_scale)))

    def forward(
        self,
        films: torch.Tensor,
        crops: torch.Tensor,
        global_token: torch.Tensor,
        region_token: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        B, R, L = region_token.shape
        kind = torch.arange(R, device=films.device).repeat(B)
        film = self.global_head(self.global_tower(films, torch.zeros_like(kind[:1]).expand(B)))
        local = self.local_tower(crops, kind).reshape(B, R, -1)
        crop = torch.stack([head(local[:, r]) for r, head in enumerate(self.local_heads)], 1)
        global_text = self.global_text_head(self.text_tower(global_token))
        text = self.text_tower(region_token.reshape(B * R, L)).reshape(B, R, -1)
        region_text = torch.stack(
            [head(text[:, r]) for r, head in enumerate(self.region_text_heads)], 1
        )
        return tuple(F.normalize(x.float(), dim=-1) for x in (film, crop, global_text, region_text))


def _vision_tower(config: ml_collections.ConfigDict, size: int, kinds: int) -> Any:
    if config.kind == "vit":
        return _ViT(VisionSpec.of(config), size, kinds)
    return _ConvTower(config, kinds)


class _ViT(nn.Module):
    def __init__(self, spec: VisionSpec, image_size: int, kinds: int):
        super().__init__()
        self.out_features = spec.width
        settings = ViTConfig(
            hidden_size=spec.width,
            num_hidden_layers=spec.depth,
            num_attention_heads=spec.num_heads,
            intermediate_size=spec.hidden,
            hidden_act="gelu_pytorch_tanh",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            image_size=image_size,
            patch_size=spec.patch_size,
            num_channels=1,
        )
        self.vit = ViTModel(settings, add_pooling_layer=False)
        self.kind = nn.Embedding(kinds, spec.width)

    def forward(self, image: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        tokens = self.vit(image[:, None]).last_hidden_state
        return tokens.mean(dim=1) + self.kind(kind)


class _TextTower(nn.Module):
    def __init__(self, spec: TextSpec, vocab_size: int, max_length: int):
        super().__init__()
        self.out_features, self.pad_id = spec.width, spec.pad_id
        self.bert = BertModel(
            BertConfig(
                vocab_size=vocab_size,
                hidden_size=spec.width,
                num_hidden_layers=spec.depth,
                num_attention_heads=spec.num_heads,
                intermediate_size=spec.hidden,
                hidden_act="gelu_pytorch_tanh",
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                max_position_embeddings=max_length,
            ),
            add_pooling_layer=False,
        )

    def forward(self, token: torch.Tensor) -> torch.Tensor:
        valid = token != self.pad_id
        # A row of padding alone would attend to nothing.
        valid = valid | ~valid.any(dim=1, keepdim=True)
        hidden = self.bert(token, attention_mask=valid.long()).last_hidden_state
        weight = valid[..., None].to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)


class _ConvTower(nn.Module):
    def __init__(self, config: ml_collections.ConfigDict, kinds: int):
        super().__init__()
        widths, stride = tuple(config.widths), config.stem_stride
        self.out_features = 2 * widths[-1]
        self.stem = nn.Conv2d(1, widths[0], stride + 2, stride, padding=1)
        self.kind = nn.Parameter(torch.zeros(kinds, 2, widths[0]))
        blocks, features = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(config.blocks_per_stage):
                blocks.append(_Block(features, width, 2 if stage > 0 and block == 0 else 1))
                features = width
        self.blocks = nn.Sequential(*blocks)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, image: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        x = self.stem(image[:, None].contiguous(memory_format=torch.channels_last))
        gain = self.kind[kind][..., None, None]
        x = self.blocks(F.relu(x * (1 + gain[:, 0]) + gain[:, 1]))
        return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)


class _Block(nn.Module):
    def __init__(self, features_in: int, features: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(features_in, features, 3, stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(8, features)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, features)
        changes = stride > 1 or features_in != features
        self.shortcut = nn.Conv2d(features_in, features, 1, bias=False) if changes else None
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


def _in_tower_frame(pixels: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    pixels = pixels.float() / 255
    return torch.where(mirrored[:, None, None], pixels.flip(-1), pixels)


def _augmented(pixels: torch.Tensor, config: ml_collections.ConfigDict) -> torch.Tensor:
    """As `learning.augment.augment`, and normalised for the towers."""
    B, H, W = pixels.shape
    draw = torch.rand(7, B, device=pixels.device) * 2 - 1
    angle = math.radians(config.rotation_degrees) * draw[0]
    scale = torch.exp(math.log1p(config.scale) * draw[1])
    cos, sin = angle.cos() / scale, angle.sin() / scale
    shift = 2 * config.shift * draw[2:4]
    affine = torch.stack(
        [torch.stack([cos, sin, shift[0]], -1), torch.stack([-sin, cos, shift[1]], -1)], 1
    )
    grid = F.affine_grid(affine, [B, 1, H, W], align_corners=False)
    pixels = F.grid_sample(pixels[:, None], grid, align_corners=False)[:, 0]
    gamma, contrast, brightness = draw[4:, :, None, None]
    pixels = pixels.clamp(min=1e-4) ** torch.exp(math.log1p(config.gamma) * gamma)
    pixels = (pixels - 0.5) * (1 + config.contrast * contrast) + 0.5
    pixels = pixels + config.brightness * brightness
    pixels = pixels + config.noise * torch.randn_like(pixels)
    return (pixels.clamp(0, 1) - 0.5) / 0.25


def _contrastive(
    image: torch.Tensor,
    text: torch.Tensor,
    group: torch.Tensor,
    valid: torch.Tensor,
    status: torch.Tensor,
    scale: torch.Tensor,
) -> torch.Tensor:
    """As `learning.loss.contrastive_loss` by softmax, for one kind."""
    comparable = valid[:, None] & valid[None]
    positive = comparable & (group[:, None] == group[None]).all(-1)
    fracture, none, uncertain = (
        status == STATUSES.index(name) for name in ("fracture", "no_fracture", "uncertain")
    )

    def meet(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        shared = (a[:, None] & b[None]).any(-1)
        return shared | shared.T

    ambiguous = meet(uncertain, fracture) & ~meet(fracture, none)
    candidate = comparable & (positive | ~ambiguous)
    log_size = positive.sum(1).clamp(min=1).float().log()
    logits = scale * image @ text.T
    lowest = torch.finfo(logits.dtype).min

    def direction(logits: torch.Tensor) -> torch.Tensor:
        weighted = logits - log_size
        rows = torch.logsumexp(weighted.masked_fill(~candidate, lowest), 1)
        rows = rows - torch.logsumexp(weighted.masked_fill(~positive, lowest), 1)
        return torch.where(valid, rows, 0).sum() / valid.sum().clamp(min=1)

    return (direction(logits) + direction(logits.T)) / 2
