"""The concepts that the words of a sentence stand for."""

import dataclasses
from collections.abc import Sequence

from wristmir_jax.reports.rules import lexicon as words
from wristmir_jax.reports.rules.lexicon import Concept, Node
from wristmir_jax.reports.rules.text import Tokens


@dataclasses.dataclass(slots=True)
class Item:
    """A concept where it stands; `words` are its canonical words."""

    kind: str
    value: str
    words: tuple[str, ...]
    start: int
    end: int


def items_of(tokens: Tokens) -> list[Item]:
    """Concepts, numbers and marks of a sentence; words without a meaning are left out."""
    tokens = _spelled(tokens)
    spelled, places = tokens.words, tokens.places
    beginnings = words.phrase_trie().following
    found: list[Item] = []
    position = 0
    while position < len(spelled):
        word = spelled[position]
        node = beginnings.get(word)
        concept, end = _longest(node, spelled, position) if node else (None, position + 1)
        if concept is not None:
            spoken = tuple(spelled[position:end])
            place = (places[position][0], places[end - 1][1])
            found.append(Item(concept.kind, concept.value, spoken, *place))
            if concept.kind == words.BOTH_SIDES and spoken[-1] in ("radius", "ulna"):
                _name_both(found, spoken)
        elif word[0].isdigit():
            found.append(Item(words.NUMBER, word, (word,), *places[position]))
        position = end
    return found


def _longest(node: Node, spelled: list[str], position: int) -> tuple[Concept | None, int]:
    """What the longest phrase from a position on means, and where it ends.

    Args:
        node: of the word there.
        spelled: words of a sentence.
        position: of the first word of the phrase.
    """
    following: Node | None = node
    concept, end = None, position + 1
    while following is not None:
        position += 1
        if following.concept is not None:
            concept, end = following.concept, position
        following = following.following.get(spelled[position]) if position < len(spelled) else None
    return concept, end


def _name_both(found: list[Item], spoken: tuple[str, ...]) -> None:
    """ "Both radii" name a bone too, and "neither radius" denies."""
    start, end = found[-1].start, found[-1].end
    if spoken[0] == "neither":
        found.append(Item(words.NEGATION, "", spoken[:1], start, end))
    found.append(Item(words.BONE, spoken[-1], spoken[1:], start, end))


def _spelled(tokens: Tokens) -> Tokens:
    """Words as phrases are written, each with the place of the token that it comes from."""
    found = Tokens()
    known, before = True, ""
    for position, (word, place) in enumerate(zip(tokens.words, tokens.places, strict=True)):
        if word == "-":
            if _between_numbers(tokens.words, position):
                found.add("to", place)
                before = word
            continue
        spelling = words.spelling(word)
        if not (known and spelling.known) and found.words and _is_torn(before, word):
            found.words.pop()
            place = (found.places.pop()[0], place[1])  # noqa: PLW2901
            word = before + word  # noqa: PLW2901
            spelling = words.spelling(word)
        known, before = spelling.known, word
        for written in spelling.words:
            found.add(written, place)
    return found


def _is_torn(first: str, second: str) -> bool:
    """Whether dictation has torn a word in two."""
    long = len(first) + len(second) >= 7
    return long and second.isalpha() and first + second in words.vocabulary()


def _between_numbers(tokens: Sequence[str], position: int) -> bool:
    return (
        0 < position < len(tokens) - 1
        and tokens[position - 1][0].isdigit()
        and tokens[position + 1][0].isdigit()
    )


def reported(items: list[Item]) -> list[Item]:
    """Without what the writer was told, asks for, or advises."""
    kept: list[Item] = []
    for item in items:
        if item.kind == words.UNREPORTED:
            return [] if item.words[0] in ORDERS else kept
        if item.kind == words.ADVICE:
            return kept
        kept.append(item)
    return kept


ORDERS = words.word_list("orders")
