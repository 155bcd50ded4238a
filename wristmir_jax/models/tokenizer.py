"""Caption tokenizer: trained on the captions of a data set, or loaded from a folder."""

from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from wristmir_jax.errors import UserError

PAD_ID = 0
TOKENIZER_FILE = "tokenizer.json"
_SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]


class CaptionTokenizer:
    """Turns captions into fixed-length rows of token ids.

    Args:
        tokenizer: of the `tokenizers` library; its padding token must have id 0.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Token ids int32 (len(texts), length); longer texts are cut, shorter ones padded by 0."""
        ids_TxL = np.full((len(texts), length), PAD_ID, np.int32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts))):
            ids = encoding.ids[:length]
            ids_TxL[row, : len(ids)] = ids
        return ids_TxL

    def to_json(self) -> str:
        return self._tokenizer.to_str()

    @classmethod
    def from_json(cls, text: str) -> "CaptionTokenizer":
        return cls(Tokenizer.from_str(text))

    @classmethod
    def load(cls, folder: epath.PathLike) -> "CaptionTokenizer":
        """Read `tokenizer.json` (Hugging Face layout) from a folder.

        Raises:
            UserError: the file is missing, is no tokenizer, or pads with another id than 0.
        """
        path = epath.Path(folder) / TOKENIZER_FILE
        if not path.exists():
            raise UserError(f"{path} is missing: give a folder that holds a {TOKENIZER_FILE}")
        try:
            tokenizer = Tokenizer.from_str(path.read_text())
        except Exception as error:  # the library raises bare Exception
            raise UserError(
                f"{path} is not a tokenizer of the tokenizers library: {error}"
            ) from None
        if tokenizer.token_to_id("[PAD]") != PAD_ID:
            raise UserError(f"{path}: the padding token [PAD] must have id {PAD_ID}")
        # Padding and cutting are ours, to fixed shapes.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(tokenizer)


def train_tokenizer(captions: Iterable[str], vocab_size: int) -> CaptionTokenizer:
    """Train a lower-case byte-pair tokenizer (Sennrich et al. 2016, arXiv 1508.07909) on captions.

    Numbers are split into digits, so that degrees never seen in training are still read. The same
    captions give the same vocabulary in every process: the library's WordPiece trainer does not.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=_SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Sorted, so that the order in which captions were met does not change the vocabulary.
    tokenizer.train_from_iterator(sorted(set(captions)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return CaptionTokenizer(tokenizer)
