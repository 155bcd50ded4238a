"""Reports cut into sections, sentences and words, each with its place in the text."""

import dataclasses
import re
from collections.abc import Iterator
from typing import NamedTuple

from wristmir_jax.reports.rules import lexicon

# What sections are for; the higher decides.
IGNORED, HEADER, BODY, IMPRESSION, ADDENDUM = range(5)

_KINDS = {"ignored": IGNORED, "header": HEADER, "body": BODY, "impression": IMPRESSION}
_TITLES = {
    title: _KINDS.get(kind, ADDENDUM)
    for kind, titles in lexicon.tables()["titles"].items()
    for title in titles
}
_TITLE = re.compile(
    r"(?:^|(?<=[\n.;!?)]))[ \t*>#_\-]*("
    + "|".join(sorted(map(re.escape, _TITLES), key=len, reverse=True))
    + r"|addendum[^:\n]{0,40})"
    # A number, a date, or a remark in parentheses.
    + r"(?:\s*\#?\s*\d{1,2})?[ \t]*"
    + r"(?:\([^)\n]{0,60}\)|(?:dated|of|from|by)?[ \t]*[\d/.\-]{4,12})?"
    + r"[ \t*_]*(?::|\s-\s|\s\u2013\s|(?=\n)|$)"
)


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report: characters [start, end) of its text without the title."""

    kind: int
    start: int
    end: int
    title: str = ""


def lowered(text: str) -> str:
    """The text in lower case, every character in its place."""
    low = text.lower()
    if len(low) != len(text):
        low = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    return low.replace("\r", "\n").replace("\u00a0", " ").replace("\u2019", "'")


def sections(low: str) -> list[Section]:
    """Of a text in lower case. What stands before all titles is a header where findings have a
    title, else it is the body."""
    found = list(_TITLE.finditer(low))
    titled = any(_kind(match[1]) == BODY for match in found)
    first = found[0].start(1) if found else len(low)
    kind = HEADER if titled else BODY
    parts = [Section(kind, 0, first)] if low[:first].strip() else []
    for match, following in zip(found, [*found[1:], None], strict=False):
        end = len(low) if following is None else following.start(1)
        parts.append(Section(_kind(match[1]), match.end(), end, match[1]))
    return list(_without_run_ons(low, parts, titled))


def _kind(title: str) -> int:
    return _TITLES.get(title, ADDENDUM)


# An untitled report often begins behind the history without saying so: on the next line, or where
# the examination is named.
_LINE_END = re.compile(
    r"\n|\.(?=\s+(?:left|right|[lr]t|xr|x-?rays?|radiographs?|[ap]a|ap|both|bilateral|views)\b)"
)
_FIRST_SENTENCE = re.compile(r"\.(?=\s)|\n")


def _without_run_ons(low: str, parts: list[Section], titled: bool) -> Iterator[Section]:
    """A history ends with its line, and what is said of the technique with its sentence, where no
    findings have a title."""
    for part in parts:
        if titled or part.kind > HEADER or not part.title:
            yield part
            continue
        brief = part.kind == HEADER or part.title.startswith(("compar", "prior", "previous"))
        ending = _FIRST_SENTENCE if brief else _LINE_END
        content = re.compile(r"\S").search(low, part.start, part.end)
        gap = ending.search(low, content.start() if content else part.end, part.end)
        if gap is None:
            yield part
            continue
        yield dataclasses.replace(part, end=gap.start())
        if low[gap.end() : part.end].strip():
            yield Section(BODY, gap.end(), part.end)


class Token(NamedTuple):
    """A word, number or mark; its place is that in the report."""

    word: str
    start: int
    end: int


_TOKEN = re.compile(
    r"w/o\b|w/|\d+/\d+(?:/\d+)?|\d+(?:st|nd|rd|th)\b|\d+(?:\.\d+)?|[^\W\d_]+(?:'[a-z]+)?|[#?%\u00b0.;:,()\[\]/\u2013\u2014+&!~<>=]|-|\n\s*"
)
# A full stop behind these ends no sentence.
_ABBREVIATIONS = lexicon.word_list("abbreviations")
_BREAKS = frozenset(".;!")


def sentences(low: str, start: int, end: int) -> list[list[Token]]:
    """Tokens of the sentences between two places of a text in lower case."""
    found: list[list[Token]] = []
    now: list[Token] = []
    line_start = start
    for match in _TOKEN.finditer(low, start, end):
        word = match[0]
        if word[0] == "\n":
            breaks = _line_breaks(low, line_start, match.start(), match.end(), now)
            line_start = match.end()
            if breaks and now:
                found.append(now)
                now = []
            continue
        if word in _BREAKS:
            if word == "." and now and _goes_on(low, now[-1], match.end(), end):
                continue
            if now:
                found.append(now)
                now = []
            continue
        now.append(Token(word, match.start(), match.end()))
    if now:
        found.append(now)
    return found


def _goes_on(low: str, before: Token, position: int, end: int) -> bool:
    """Whether a full stop ends an abbreviation or stands within a number or word."""
    if position < end and not low[position].isspace():
        # "fracture.Mild" is a slip of the hand, "a.p." is not.
        return len(before.word) <= 2
    if before.word.isdigit() and before.start > 0 and low[before.start - 1] in "\n":
        return True  # A numbered line.
    return before.word in _ABBREVIATIONS


def _line_breaks(
    low: str, line_start: int, position: int, following: int, now: list[Token]
) -> bool:
    """Whether a sentence ends where a line does."""
    if low.count("\n", position, following) > 1:
        return True
    line = low[line_start:position].rstrip()
    if not line or line[-1] in ".:;!":
        return True
    rest = low[following : following + 4]
    if rest[:1] in "-*\u2022>" or re.match(r"\d{1,2}[.)]", rest):
        return True
    # A line that was wrapped is full; a short one was ended on purpose.
    return not now or (len(line) < 45 and line[-1] not in ",(" and now[-1].word not in _JOINING)


_JOINING = lexicon.word_list("joining")
