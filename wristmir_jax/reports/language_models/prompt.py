"""What a language model is told: the guideline, examples in English and German, and the report."""

import functools
import hashlib
import json
import re
from pathlib import Path

from wristmir_jax.reports.language_models.replies import SCHEMA
from wristmir_jax.reports.mining import Report

_FOLDER = Path(__file__).parent


@functools.cache
def instructions() -> str:
    """The guideline, as it is told to a model."""
    return (_FOLDER / "instructions.md").read_text()


@functools.cache
def examples() -> list[tuple[str, str]]:
    """Reports, and the answer that is expected of each."""
    content = json.loads((_FOLDER / "examples.json").read_text())
    return [(entry["report"], _compact(entry["answer"])) for entry in content]


@functools.cache
def version() -> str:
    """Changes with the instructions, the examples and the schema: 8 hexadecimal digits."""
    told = [instructions(), *(text for pair in examples() for text in pair), _compact(SCHEMA)]
    return hashlib.blake2b("\0".join(told).encode(), digest_size=4).hexdigest()


def messages(report: Report) -> list[dict[str, str]]:
    """A conversation of user and assistant that ends with the report.

    There is no system role: not every chat template has one. What all conversations share comes
    first, so that a server reads it once.
    """
    told: list[dict[str, str]] = []
    for text, answer in examples():
        told.append({"role": "user", "content": _framed(text)})
        told.append({"role": "assistant", "content": answer})
    told.append({"role": "user", "content": _framed(report.text)})
    told[0]["content"] = f"{instructions()}\n{told[0]['content']}"
    return told


def characters() -> int:
    """Length of a prompt without its report."""
    return sum(len(message["content"]) for message in messages(Report("", "")))


# What opens a mark of a chat template or of the frame: no report may close its own frame or turn.
_MARKUP = re.compile(r"(<|\[)(?=[^\s\d=])")


def _framed(text: str) -> str:
    harmless = _MARKUP.sub(r"\1 ", text).strip()
    return f"<report>\n{harmless}\n</report>"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
