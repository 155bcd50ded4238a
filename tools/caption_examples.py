"""Write the page of caption examples: reports, and the captions rendered from their findings.

python -m tools.caption_examples > docs/captions.md
"""

import numpy as np

from wristmir_jax import anatomy
from wristmir_jax.reports.captions import Captions, canonical_captions, phrase
from wristmir_jax.reports.language_models import prompt
from wristmir_jax.reports.language_models.replies import mined_from
from wristmir_jax.reports.mining import Rejection, Report

WORDINGS = 3

_INTRODUCTION = """\
# Captions

Made by `python -m tools.caption_examples > docs/captions.md`; a test compares it.

Captions are rendered from [findings](../wristmir_jax/reports/findings.py) alone, never from the
text of a report, so that equal findings of any source, language or miner give equal captions. Each
exam has

- a **canonical** caption of the whole wrist and one of each region: equal for equal findings and
  only for those. Its hash groups the positives of the contrastive loss, and galleries are made of
  it;
- **wordings**, drawn anew each time the exam is trained on: synonyms, spelling and order vary,
  every fact is said, nothing else is, and what is uncertain stays hedged.

A region that a report does not mention has no caption. The side is no part of a caption: films are
mirrored to one side. The reports below are made up; they are those of the miners' prompt.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [_INTRODUCTION]
    for number, (text, answer) in enumerate(prompt.examples(), 1):
        mined = mined_from(answer, Report(str(number), text))
        assert not isinstance(mined, Rejection)
        quoted = "\n".join(f"> {line}  " for line in text.splitlines())
        parts.append(f"## Example {number}\n\n{quoted}\n")
        for side in mined:
            rng = np.random.default_rng(number)
            rows = [("canonical", canonical_captions(side.findings))]
            rows += [("wording", phrase(side.findings, rng)) for _ in range(WORDINGS)]
            title = f"The {side.findings.laterality} wrist" if len(mined) > 1 else "The wrist"
            parts.append(f"{title}:\n\n{_table(rows)}\n")
    return "\n".join(parts)


def _table(rows: list[tuple[str, Captions]]) -> str:
    lines = ["| of | | caption |", "|---|---|---|"]
    lines += [f"| whole wrist | {kind} | {captions.global_caption} |" for kind, captions in rows]
    for region in anatomy.REGIONS:
        said = [(kind, captions.regions[region.name]) for kind, captions in rows]
        # A region that is only called intact has few wordings.
        shown = list(dict.fromkeys((kind, text) for kind, text in said if text))
        lines += [f"| {region.label} | {kind} | {text} |" for kind, text in shown]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
