"""The concepts that the words of a sentence stand for."""

import dataclasses
import functools
from collections.abc import Sequence

from wristmir_jax.reports.rules import lexicon as words
from wristmir_jax.reports.rules.lexicon import Node


@dataclasses.dataclass(slots=True)
class Item:
    """A concept where it stands: tokens [start, end) of its sentence; `words` are its canonical
    words. To be changed by nobody: sentences share theirs."""

    kind: str
    value: str
    words: tuple[str, ...]
    start: int
    end: int


def items_of(tokens: Sequence[str]) -> list[Item]:
    """Concepts, numbers and marks of a sentence; words without a meaning are left out."""
    spelled, starts, ends = _spelled(tokens)
    nodes = list(map(words.beginnings().__getitem__, spelled))
    found: list[Item] = []
    last, end = len(spelled) - 1, 0
    for position, node in enumerate(nodes):
        if node is None or position < end:
            continue
        end = position + 1
        if node.following and position < last and spelled[end] in node.following:
            node, end = _longest(node, spelled, position)  # noqa: PLW2901
        kind, start = node.kind, starts[position]
        if not kind or kind == words.NUMBER:
            word = spelled[position]
            if kind or word[0].isdigit():
                found.append(Item(words.NUMBER, word, (word,), start, ends[position]))
            continue
        if kind == words.FRACTURE and found:
            _deny(found)
        item = item_of(node, start, ends[end - 1])
        if node.words[0] == "repeat" and _was_repeated(spelled, end):
            item = dataclasses.replace(item, kind=words.FOLLOW_UP)
        found.append(item)
        if kind == words.BOTH_SIDES and node.words[-1] in ("radius", "ulna"):
            _name_both(found, node.words)
    return found


@functools.lru_cache(maxsize=65_536)
def item_of(node: Node, start: int, end: int) -> Item:
    """Of a phrase: made once for all sentences that have it at this place."""
    return Item(node.kind, node.value, node.words, start, end)


def _deny(found: list[Item]) -> None:
    """Makes "no displaced" a denial where a fracture follows: else it describes one."""
    last = found[-1]
    if last.kind == words.DISPLACEMENT and last.words[0] in ("no", "without"):
        found[-1] = dataclasses.replace(last, kind=words.NEGATION, value="")
    elif last.words == ("complete", "displaced"):
        # Complete, and displaced; but "completely displaced" where no fracture follows.
        found[-1] = dataclasses.replace(last, kind=words.TYPE, value="complete")
        found.append(
            dataclasses.replace(last, kind=words.DISPLACEMENT, value="", words=("displaced",))
        )


def _was_repeated(spelled: list[str], end: int) -> bool:
    """Whether "repeat films", which end at a place, are not asked for, but show something."""
    following = spelled[end : end + 8]
    shows = next((p for p, word in enumerate(following) if word in _SHOWING), None)
    return shows is not None and _ASKING.isdisjoint(following[:shows])


_SHOWING = words.word_list("showing")
_ASKING = words.word_list("asking")


def _longest(node: Node, spelled: list[str], position: int) -> tuple[Node, int]:
    """The node of the longest phrase from a position on, and where it ends.

    Args:
        node: of the word there, which is the answer where no phrase goes on.
        spelled: words of a sentence.
        position: of the first word of the phrase.
    """
    longest, end = node, position + 1
    for place in range(position + 1, len(spelled)):
        following = node.following.get(spelled[place])
        if following is None:
            break
        node = following
        if node.kind:
            longest, end = node, place + 1
    return longest, end


def _name_both(found: list[Item], spoken: tuple[str, ...]) -> None:
    """ "Both radii" name a bone too, and "neither radius" denies."""
    start, end = found[-1].start, found[-1].end
    if spoken[0] == "neither":
        found.append(Item(words.NEGATION, "", spoken[:1], start, end))
    found.append(Item(words.BONE, spoken[-1], spoken[1:], start, end))


def _spelled(tokens: Sequence[str]) -> tuple[list[str], Sequence[int], Sequence[int]]:
    """Words as phrases are written, and the tokens [start, end) that each comes from."""
    forms = words.known_forms()
    try:
        # So it is in most sentences.
        spelled = list(map(forms.__getitem__, tokens))
    except KeyError:
        return _repaired(tokens)
    return spelled, range(len(spelled)), range(1, len(spelled) + 1)


def _repaired(tokens: Sequence[str]) -> tuple[list[str], list[int], list[int]]:
    """Words as phrases are written: what was torn in two put together, hyphens left out."""
    forms = words.known_forms()
    spelled: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    known, before = True, ""
    for position, word in enumerate(tokens):
        start = position
        form = forms.get(word)
        if known and form is not None:
            spelled.append(form)
            starts.append(start)
            ends.append(position + 1)
            before = word
            continue
        if word == "-":
            if _between_numbers(tokens, position):
                spelled.append("to")
                starts.append(start)
                ends.append(position + 1)
                before = word
            continue
        if spelled and _is_torn(before, word):
            spelled.pop()
            ends.pop()
            start = starts.pop()
            word = before + word  # noqa: PLW2901
            form = forms[word]
        known, before = form is not None, word
        for written in words.spelling(word) if form is None else (form,):
            spelled.append(written)
            starts.append(start)
            ends.append(position + 1)
    return spelled, starts, ends


def _is_torn(first: str, second: str) -> bool:
    """Whether dictation has torn a word in two."""
    long = len(first) + len(second) >= words.SHORTEST_TORN
    return long and second.isalpha() and first + second in words.vocabulary()


def _between_numbers(tokens: Sequence[str], position: int) -> bool:
    return (
        0 < position < len(tokens) - 1
        and tokens[position - 1][0].isdigit()
        and tokens[position + 1][0].isdigit()
    )


# How phrases begin that deny.
DENYING = (("no",), ("without",))
# With these begins what is no finding.
UNTOLD = frozenset({words.UNREPORTED, words.ADVICE})


def reported(items: list[Item]) -> list[Item]:
    """Without what the writer was told, asks for, or advises."""
    kept: list[Item] = []
    for item in items:
        if item.kind == words.UNREPORTED:
            if _is_adjective(item, items):
                continue
            return [] if item.words[0] in ORDERS else kept
        if item.kind == words.ADVICE:
            if _is_condition(item, items):
                continue
            return kept
        kept.append(item)
    return kept


def _is_adjective(item: Item, items: list[Item]) -> bool:
    """Whether "the injured right wrist" names what was examined."""
    following = items[items.index(item) + 1 :]
    return (
        item.words == ("injured",)
        and bool(following)
        and following[0].kind in (words.SIDE, words.BONE)
        and any(i.kind in _STATING for i in following)
    )


_STATING = frozenset({words.FRACTURE, words.NORMAL, words.ABNORMALITY})


def _is_condition(advice: Item, items: list[Item]) -> bool:
    """Whether "if there is pain" only says when a fracture "cannot be excluded"."""
    return advice.words[0] == "if" and any(
        item.kind == words.HEDGE and "exclude" in item.words for item in items
    )


ORDERS = words.word_list("orders")
