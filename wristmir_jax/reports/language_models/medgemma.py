"""The miner that runs MedGemma itself, through transformers and PyTorch.

Sellergren et al. 2025, "MedGemma Technical Report", arXiv:2507.05201. Decoding is greedy and held
to the JSON schema token by token (llguidance), so that every answer that ends can be read.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from wristmir_jax.errors import UserError
from wristmir_jax.reports.language_models import prompt
from wristmir_jax.reports.language_models.replies import CUT_OFF, SCHEMA, mined_from
from wristmir_jax.reports.mining import Mined, Rejection, Report

TOO_LONG = "the report is too long for the memory of the device"

# Config's `model_type` -> the transformers class: MedGemma with and without its image tower.
_CLASSES = {
    "gemma3": "Gemma3ForConditionalGeneration",
    "gemma3_text": "Gemma3ForCausalLM",
}
_HOW_TO_GET = (
    "accept the terms at https://huggingface.co/google/medgemma-4b-it, run "
    "`hf download google/medgemma-4b-it --local-dir=FOLDER` and set --model=FOLDER"
)


class MedGemma:
    """MedGemma on one device.

    Args:
        model: a folder in Hugging Face layout, or a name on the hub.
        revision: of a name on the hub.
        device: of PyTorch, such as cuda:0; by default a GPU where there is one.
        batch_size: reports at a time.
        max_tokens: of an answer.

    Raises:
        UserError: an extra is not installed, or there are no such weights.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str = "",
        device: str = "",
        batch_size: int = 8,
        max_tokens: int = 2048,
    ):
        try:
            import llguidance
            import torch
            import transformers

            classes = {kind: getattr(transformers, name) for kind, name in _CLASSES.items()}
        except ImportError:
            raise UserError(
                "--miner=medgemma needs torch, transformers and llguidance, in versions that go "
                "together: pip install 'wristmir_jax[mine]'"
            ) from None
        self._torch, self._llguidance = torch, llguidance
        try:
            self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            torch.zeros(1, device=self._device)
        except (RuntimeError, AssertionError):
            raise UserError(
                f"--device={device}: PyTorch has no such device here; give cuda:0, mps or cpu"
            ) from None
        self._batch_size, self._max_tokens = batch_size, max_tokens
        try:
            config = transformers.AutoConfig.from_pretrained(model, revision=revision or None)
            if config.model_type not in classes:
                raise UserError(
                    f"--model={model} is of the kind {config.model_type}, which is no MedGemma: "
                    f"{_HOW_TO_GET}"
                )
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                model, revision=revision or None, padding_side="left"
            )
            self._network = classes[config.model_type].from_pretrained(
                model,
                revision=revision or None,
                # Half precision is slow on CPUs, and few of them need it for want of memory.
                dtype=torch.float32 if self._device.type == "cpu" else torch.bfloat16,
                use_safetensors=True,
            )
        except (OSError, ValueError, SafetensorError):
            raise UserError(
                f"--model={model}: no weights in safetensors can be read there; {_HOW_TO_GET}"
            ) from None
        self._network.to(self._device).eval()
        self.identity = f"medgemma {_name(model, config)} prompt {prompt.version()}"
        ends = self._network.generation_config.eos_token_id
        self._ends = ends if isinstance(ends, list) else [ends]
        self._vocabulary = config.get_text_config().vocab_size
        self._settings = transformers.GenerationConfig(
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._tokenizer.pad_token_id,
        )

    @functools.cached_property
    def _matcher(self) -> Any:
        """At the beginning of an answer."""
        from llguidance.hf import from_tokenizer

        matcher = self._llguidance.LLMatcher
        tokenizer = from_tokenizer(self._tokenizer, n_vocab=self._vocabulary, eos_token=self._ends)
        grammar = matcher.grammar_from_json_schema(SCHEMA, overrides={"whitespace_flexible": False})
        return matcher(tokenizer, grammar)

    def answers(self, reports: list[Report]) -> list[str | None]:
        """What the model writes about reports, all at a time; None where it was cut off."""
        import transformers

        texts = [
            self._tokenizer.apply_chat_template(
                prompt.messages(report), tokenize=False, add_generation_prompt=True
            )
            for report in reports
        ]
        # The template has written the mark of the beginning.
        inputs = self._tokenizer(
            texts, add_special_tokens=False, padding=True, return_tensors="pt"
        ).to(self._device)
        mask = _SchemaMask([self._matcher.deep_copy() for _ in reports], self._vocabulary)
        with self._torch.inference_mode():
            tokens = self._network.generate(
                **inputs,
                generation_config=self._settings,
                logits_processor=transformers.LogitsProcessorList([mask]),
            )
        written = tokens[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._until_the_end(tokens) for tokens in written]

    def _until_the_end(self, tokens: list[int]) -> str | None:
        for place, token in enumerate(tokens):
            if token in self._ends:
                return self._tokenizer.decode(tokens[:place])
        return None

    def __call__(self, reports: Sequence[Report]) -> list[list[Mined] | Rejection]:
        found: list[list[Mined] | Rejection] = []
        for first in range(0, len(reports), self._batch_size):
            chosen = list(reports[first : first + self._batch_size])
            found.extend(self._mined(chosen))
        return found

    def _mined(self, reports: list[Report]) -> list[list[Mined] | Rejection]:
        """Answers of one batch; in halves where the memory of the device is too small for it."""
        try:
            answers = self.answers(reports)
        except self._torch.OutOfMemoryError:
            if len(reports) == 1:
                return [Rejection(reports[0].exam_id, TOO_LONG, again=True)]
            half = len(reports) // 2
            return [*self._mined(reports[:half]), *self._mined(reports[half:])]
        cut_off = CUT_OFF.format(self._max_tokens)
        return [
            Rejection(report.exam_id, cut_off, again=True)
            if answer is None
            else mined_from(answer, report)
            for report, answer in zip(reports, answers, strict=True)
        ]

    def in_batches(
        self, batches: Iterator[list[Report]]
    ) -> Iterator[list[tuple[Report, list[Mined] | Rejection]]]:
        """Mine batches; reports of like length go together, so that little is padded."""
        for batch in batches:
            ordered = sorted(batch, key=lambda report: len(report.text))
            for first in range(0, len(ordered), self._batch_size):
                chosen = ordered[first : first + self._batch_size]
                yield list(zip(chosen, self(chosen), strict=True))


class _SchemaMask:
    """A logits processor of transformers: only tokens that can go on an answer by the schema."""

    def __init__(self, matchers: list[Any], vocabulary: int):
        import llguidance
        from llguidance.numpy import allocate_token_bitmask

        self._matchers = matchers
        self._executor = llguidance.LLExecutor()
        self._bits_BxW = allocate_token_bitmask(len(matchers), vocabulary)
        self._started = False

    def __call__(self, input_ids_BxL: Any, scores_BxV: Any) -> Any:
        import torch
        from llguidance.numpy import fill_next_token_bitmask_par

        if self._started:
            for matcher, token in zip(self._matchers, input_ids_BxL[:, -1].tolist(), strict=True):
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self._started = True
        rows = [(matcher, row) for row, matcher in enumerate(self._matchers)]
        fill_next_token_bitmask_par(self._executor, rows, self._bits_BxW)
        bits_BxV = np.unpackbits(self._bits_BxW.view(np.uint8), axis=1, bitorder="little")
        forbidden_BxV = torch.from_numpy(bits_BxV[:, : scores_BxV.shape[1]] == 0)
        return scores_BxV.masked_fill(forbidden_BxV.to(scores_BxV.device), -float("inf"))


def _name(model: str, config: Any) -> str:
    """Name and revision: that of the hub, or a digest of the weights in a folder."""
    folder = Path(model)
    if not folder.is_dir():
        return f"{model}@{getattr(config, '_commit_hash', None) or 'unknown'}"
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted((*folder.glob("*.safetensors"), *folder.glob("*.json"))):
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return f"{folder.resolve().name}@{digest.hexdigest()}"
