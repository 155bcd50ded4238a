"""Reports cut into sections, sentences and words, each with its place in the text."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
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
# Titles stand at the beginning of a text and behind these; they are looked for nowhere else, and
# only where two letters promise one.
_BEFORE_TITLE = re.compile(
    r"[\n.;!?)](?=[ \t*>#_\-\[]*(?:"
    + "|".join(sorted({re.escape(title[:2]) for title in (*_TITLES, "addendum")}))
    + "))"
)
_TITLE = re.compile(
    r"[ \t*>#_\-\[]*("
    + "|".join(sorted(map(re.escape, _TITLES), key=len, reverse=True))
    + r"|addendum[^:\n]{0,40})"
    # A number, a date, or a remark in parentheses.
    + r"(?:\s*\#?\s*\d{1,2})?[ \t]*"
    + r"(?P<remark>\([^)\n]{0,60}\)|(?:dated|of|from|by)?[ \t]*[\d/.\-]{4,12})?"
    + r"[ \t*_]*(?::|\]|\s-\s|\s\u2013\s|(?<=\*)[ \t]|(?<=addendum)\.|(?=\n)|$)"
)


class Section(NamedTuple):
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
    low = low.replace("\r", "\n").replace("\u00a0", " ").replace("\u2019", "'")
    # What a program wrote, or is to read, is no sentence.
    return _BRACES.sub(lambda found: ".".ljust(len(found[0])), low) if "{" in low else low


_BRACES = re.compile(r"\{[^\n]*\}|\{")


def sections(low: str) -> list[Section]:
    """Of a text in lower case. What stands before all titles is a header where findings have a
    title, else it is the body."""
    found = _titles(low)
    if not found:
        return [Section(BODY, 0, len(low))]
    first = found[0].start(1)
    parts: list[Section] = []
    for match, following in zip(found, [*found[1:], None], strict=False):
        end = len(low) if following is None else following.start(1)
        if match["remark"] and _SIDE.search(match["remark"]):
            parts.append(Section(HEADER, *match.span("remark")))
        parts.append(Section(_kind(match[1]), match.end(), end, match[1]))
    # "Radiology report" may be a title of all that follows, and not of findings.
    titled = any(part.kind == BODY and low[part.start : part.end].strip() for part in parts)
    if low[:first].strip():
        parts.insert(0, Section(HEADER if titled else BODY, 0, first))
    return list(_without_paragraphs(low, parts) if titled else _without_run_ons(low, parts))


def _without_paragraphs(low: str, parts: list[Section]) -> Iterator[Section]:
    """What names the examination ends with its paragraph."""
    for part in parts:
        gap = _PARAGRAPH_END.search(low, part.start, part.end) if part.kind == HEADER else None
        if gap is None or not part.title or not low[part.start : gap.start()].strip():
            yield part
            continue
        yield part._replace(end=gap.start())
        if low[gap.end() : part.end].strip():
            yield Section(BODY, gap.end(), part.end)


_PARAGRAPH_END = re.compile(r"\n[ \t]*\n")


def _titles(low: str) -> list[re.Match[str]]:
    """Titles of sections with what belongs to them, one behind the other."""
    found: list[re.Match[str]] = []
    free = 0
    for place in (0, *map(re.Match.end, _BEFORE_TITLE.finditer(low))):
        title = _TITLE.match(low, place) if place >= free else None
        if title:
            found.append(title)
            free = title.end()
    return found


def _kind(title: str) -> int:
    return _TITLES.get(title, ADDENDUM)


_SIDE = re.compile(r"\b(?:left|right|lt|rt|l|r)\b")
# An untitled report often begins behind the history without saying so: on the next line, or where
# the examination is named.
_LINE_END = re.compile(
    r"\n|\.(?=\s+(?:left|right|[lr]t|xr|x-?rays?|radiographs?|[ap]a|ap|both|bilateral|views)\b)"
)
_FIRST_SENTENCE = re.compile(r"[.?](?=\s)|\n")
_CONTENT = re.compile(r"\S")
# Of a text, characters: too few to report on anything.
_SHORT = 60


def _without_run_ons(low: str, parts: list[Section]) -> Iterator[Section]:
    """A history ends with its line, and what is said of the technique with its sentence, where no
    findings have a title."""
    told = sum(part.end - part.start for part in parts if part.kind >= BODY)
    for part in parts:
        if part.kind > HEADER or not part.title:
            yield part
            continue
        # Where all of the report is one paragraph, its history is the first sentence of it.
        alone = (
            part is parts[-1] and told < _SHORT and "\n" not in low[part.start : part.end].strip()
        )
        brief = (
            alone or part.kind == HEADER or part.title.startswith(("compar", "prior", "previous"))
        )
        ending = _FIRST_SENTENCE if brief else _LINE_END
        content = _CONTENT.search(low, part.start, part.end)
        gap = ending.search(low, content.start() if content else part.end, part.end)
        if gap is None:
            yield part
            continue
        yield part._replace(end=gap.start())
        if low[gap.end() : part.end].strip():
            yield Section(BODY, gap.end(), part.end)


@dataclasses.dataclass(slots=True)
class Tokens:
    """Words, numbers and marks of a sentence, which are found between two characters of a text in
    lower case, behind those of another sentence where it goes on with that."""

    words: list[str]
    text: str
    start: int
    end: int
    before: "Tokens | None" = None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Characters [start, end) of tokens [start, end), counted from the first of the sentence
        before.

        They are looked for once more, since of most tokens nobody asks: between two of them there
        is nothing of which one could be made.
        """
        offset = 0
        if self.before is not None:
            offset = len(self.before.words)
            if end <= offset:
                return self.before.place(start, end)
            if start < offset:
                first = self.before.place(start, offset)
                return first[0], self.place(offset, end)[1]
        find, behind, places = self.text.index, self.start, []
        for word in self.words[: end - offset]:
            place = find(word, behind)
            behind = place + len(word)
            places.append(place)
        return places[start - offset], behind


# That no token begins with a blank, and what a word of ASCII ends at, is said for speed alone.
_TOKEN = re.compile(
    r"(?! )(?:"
    r"[a-z]++(?=[ ,.\n])|w/(?:o\b)?|[^\W\d_]+(?:'[a-z]+)?"
    r"|[#?%\u00b0:,()\[\]/\u2013\u2014+&~<>=-]"
    r"|23[ru]?-?[em]/\d(?:\.\d)?|\d+(?:/\d+(?:/\d+)?|(?:st|nd|rd|th)\b|\.\d+)?)"
)
# What may end a sentence; "period" where it was dictated. A full stop between digits belongs to a
# number or a date.
_ENDING = re.compile(r"\.(?!(?<=\d\.)\d)|\n\s*|;|!|p(?<![^\W\d_]p)eriod(?!'[a-z])(?![^\W\d_])")
# A full stop behind these ends no sentence.
_ABBREVIATIONS = lexicon.word_list("abbreviations")


def sentences(low: str, start: int, end: int) -> list[Tokens]:
    """Tokens of the sentences between two places of a text in lower case."""
    found: list[Tokens] = []
    words: list[str] = []
    first = behind = line_start = start
    for match in _ENDING.finditer(low, start, end):
        place, following = match.span()
        if not words:
            first = behind
        words += _TOKEN.findall(low, behind, place)
        behind = following
        mark = low[place]
        if mark == "\n":
            line = low[line_start:place]
            line_start = following
            if not words or _goes_on_behind(line, low, place, following, words[-1]):
                continue
        elif mark == "p":
            if not _is_dictated(words):
                words.append("period")
                continue
        elif not words or (mark == "." and _abbreviates(low, words[-1], place, following, end)):
            continue
        found.append(Tokens(words, low, first, place))
        words = []
    if not words:
        first = behind
    words += _TOKEN.findall(low, behind, end)
    if words:
        found.append(Tokens(words, low, first, end))
    return found


def _is_dictated(words: Sequence[str]) -> bool:
    """Whether "period" was meant as the mark."""
    return bool(words) and words[-1] not in _BEFORE_PERIOD


_BEFORE_PERIOD = frozenset(["a", "the", "this", "that", "interval", "healing", "time", "for", "of"])


def _abbreviates(low: str, word: str, place: int, following: int, end: int) -> bool:
    """Whether a full stop ends an abbreviation or stands within a number or word.

    Args:
        low: the text.
        word: before the full stop.
        place: of the full stop.
        following: where the text goes on behind it.
        end: of the section.
    """
    if following < end and not low[following].isspace():
        # "fracture.Mild" is a slip of the hand, "a.p." is not.
        return len(word) <= 2
    if word.isdigit() and low.endswith("\n", 0, low.rindex(word, 0, place)):
        return True  # A numbered line.
    return word in _ABBREVIATIONS


_LINE_TITLE = re.compile(r"[a-z][a-z /]{0,30}:")
_LIST_MARK = re.compile(r"[-*\u2022>]|\d{1,2}[.)]")


def _goes_on_behind(line: str, low: str, end: int, following: int, word: str) -> bool:
    """Whether a sentence goes on where a line ends.

    Args:
        line: that ends.
        low: the text.
        end: of the line.
        following: where the next line begins.
        word: the last of the line.
    """
    if low.count("\n", end, following) > 1:
        return False
    line = line.rstrip()
    if not line or line[-1] in ".:;!#>]" or _LIST_MARK.match(low, following):
        return False
    if _LINE_TITLE.match(low, following):
        return False
    # A line that was wrapped is full; a short one was ended on purpose.
    return len(line) >= 45 or line[-1] in ",(" or word in _JOINING


_JOINING = lexicon.word_list("joining")
