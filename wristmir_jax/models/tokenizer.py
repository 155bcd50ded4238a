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
        tokenizer: of the `tokenizers` library, without padding and cutting of its own.
        pad_id: token that fills short rows.
    """

    def __init__(self, tokenizer: Tokenizer, pad_id: int = PAD_ID):
        self._tokenizer = tokenizer
        self.pad_id = pad_id

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Token ids int32 (len(texts), length); shorter texts are padded, longer ones cut before
        the special token that ends them."""
        ids_TxL = np.full((len(texts), length), self.pad_id, np.int32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts))):
            ids = encoding.ids
            if len(ids) > length:
                ends = encoding.special_tokens_mask[-1]
                ids = [*ids[: length - 1], ids[-1]] if ends else ids[:length]
            ids_TxL[row, : len(ids)] = ids
        return ids_TxL

    def to_json(self) -> str:
        return self._tokenizer.to_str()

    @classmethod
    def load(cls, folder: epath.PathLike, pad_id: int = PAD_ID) -> "CaptionTokenizer":
        """Read `tokenizer.json` (Hugging Face layout) from a folder.

        Args:
            folder: that holds it.
            pad_id: token that fills short rows, as the text tower expects it.

        Raises:
            UserError: the file is missing, is no tokenizer, or knows no such token.
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
        if tokenizer.id_to_token(pad_id) is None:
            raise UserError(
                f"{path}: has no token {pad_id}, which config.model.text_tower.pad_id names"
            )
        # Padding and cutting are ours, to fixed shapes.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(tokenizer, pad_id)


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
