"""BERT and BiomedBERT as transformers saves them, sentence encoders among them."""

from typing import Any

from wristmir_jax.errors import UserError
from wristmir_jax.models.pretrained import padding
from wristmir_jax.models.pretrained.folder import CheckpointFolder
from wristmir_jax.models.pretrained.folds import TokenTypes
from wristmir_jax.models.pretrained.layout import Layout, activation, mlp_width, prefix_of, refuse
from wristmir_jax.models.pretrained.rules import Rule, linear, norm, table
from wristmir_jax.models.specs import TextSpec

MODEL_TYPES = ("bert",)

_POOLING_FILE, _POOLING_MODE = "1_Pooling/config.json", "pooling_mode_"
_ANCHOR = "embeddings.word_embeddings.weight"
_UNUSED = r"(.*\.)?(pooler\..*|position_ids|token_type_ids)|(cls|classifier|qa_outputs)\..*"


def text_layout(folder: CheckpointFolder) -> Layout:
    """The text tower, pooled as sentence-transformers' files say, else at the first token.

    Raises:
        UserError: something of the config that the towers do not have.
    """
    pooling = _sentence_pooling(folder)
    spec = TextSpec(**sizes(folder, folder.config), pooling=pooling or "first")
    prefix = prefix_of(folder, _ANCHOR, "text tower")
    # Plain BERT was trained for neither the first token nor the mean.
    free = () if pooling else ("pooling",)
    return Layout(spec, rules(prefix), (TokenTypes(),), _UNUSED, free)


def sizes(folder: CheckpointFolder, config: dict[str, Any]) -> dict[str, Any]:
    """Keys of a spec from BERT's config, with the defaults that it leaves out."""
    refuse(
        folder,
        position_embedding_type=(config.get("position_embedding_type", "absolute"), "absolute"),
        is_decoder=(config.get("is_decoder", False), False),
    )
    width = config.get("hidden_size", 768)
    return {
        "width": width,
        "depth": config.get("num_hidden_layers", 12),
        "num_heads": config.get("num_attention_heads", 12),
        "mlp_width": mlp_width(width, config.get("intermediate_size", 3072)),
        "activation": activation(folder, config.get("hidden_act", "gelu")),
        "norm_first": False,
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "input_norm": True,
        "final_norm": False,
        "pad_id": padding.pad_id(folder, config.get("pad_token_id", 0)),
    }


def rules(prefix: str) -> tuple[Rule, ...]:
    """The tensors of BERT without its pooler."""
    embeddings, layer = f"{prefix}embeddings.", f"{prefix}encoder.layer.{{layer}}."
    attention = f"{layer}attention."
    return (
        *table("token/embedding", f"{embeddings}word_embeddings.weight"),
        *table("position", f"{embeddings}position_embeddings.weight"),
        *table("token_type", f"{embeddings}token_type_embeddings.weight"),
        *norm("input_norm", f"{embeddings}LayerNorm"),
        *linear(
            "blocks/layers/attention/qkv",
            *(f"{attention}self.{name}" for name in ("query", "key", "value")),
        ),
        *linear("blocks/layers/attention/out", f"{attention}output.dense"),
        *norm("blocks/layers/norm1", f"{attention}output.LayerNorm"),
        *linear("blocks/layers/mlp/up", f"{layer}intermediate.dense"),
        *linear("blocks/layers/mlp/down", f"{layer}output.dense"),
        *norm("blocks/layers/norm2", f"{layer}output.LayerNorm"),
    )


def _sentence_pooling(folder: CheckpointFolder) -> str:
    """mean or first as sentence-transformers says; empty where it says nothing."""
    config = folder.read_json(_POOLING_FILE)
    modes = {
        key.removeprefix(_POOLING_MODE)
        for key, value in config.items()
        if key.startswith(_POOLING_MODE) and value is True
    }
    if isinstance(mode := config.get("pooling_mode"), str):
        modes.add({"cls": "cls_token", "mean": "mean_tokens"}.get(mode, mode))
    if not modes:
        return ""
    if modes not in ({"cls_token"}, {"mean_tokens"}):
        raise UserError(
            f"{folder.path / _POOLING_FILE}: pooling {', '.join(sorted(modes))} is not supported, "
            "only cls_token or mean_tokens alone"
        )
    return "first" if "cls_token" in modes else "mean"
