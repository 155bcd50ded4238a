"""A tiny Gemma3 with random weights in Hugging Face layout, and the chat template of the real one.

The template is that of google/gemma-3-4b-it, which MedGemma shares.
"""

from pathlib import Path

import tokenizers
import torch

from tests.torchvision_operators import define_torchvision_operators
from wristmir_jax.reports.language_models import prompt

define_torchvision_operators()

import transformers  # noqa: E402

MARKS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>")
_PAD, _EOS, _BOS, _UNK, _TURN, _END_OF_TURN, _IMAGE = range(len(MARKS))
_TEMPLATE = Path(__file__).with_name("gemma3_chat_template.jinja")


def save(folder: Path, seed: int = 0) -> Path:
    """Write model and tokenizer into a folder."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.Gemma3Config(
        text_config={
            **tower,
            "vocab_size": len(tokenizer) + 9,
            "intermediate_size": 64,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "sliding_window": 512,
            "layer_types": ["sliding_attention", "full_attention"],
            "max_position_embeddings": 32768,
            "bos_token_id": _BOS,
            "eos_token_id": _EOS,
            "pad_token_id": _PAD,
        },
        vision_config={**tower, "intermediate_size": 64, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        boi_token_index=_IMAGE,
        eos_token_id=[_EOS, _END_OF_TURN],
        # Small weights would give all tokens the same chance, and ties.
        initializer_range=0.5,
    )
    torch.manual_seed(seed)
    model = transformers.Gemma3ForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=[_EOS, _END_OF_TURN], pad_token_id=_PAD, bos_token_id=_BOS
    )
    model.save_pretrained(folder)
    return folder


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Of few tokens, in the manner of Gemma's: pieces with blanks as marks, and single bytes."""
    model = tokenizers.Tokenizer(
        tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    model.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    model.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("\u2581", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[*MARKS, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    told = [prompt.instructions(), *(text for pair in prompt.examples() for text in pair)]
    model.train_from_iterator(told, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    tokenizer.chat_template = _TEMPLATE.read_text().removesuffix("\n")
    return tokenizer
