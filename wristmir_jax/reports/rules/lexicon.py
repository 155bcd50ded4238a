"""The words of reports, and what they mean.

A concept has a kind, such as FRACTURE, and a value, such as the type of fracture. Phrases are found
word by word, the longest first; hyphens count as spaces, and words are first replaced by the form
that phrases are written in.
"""

import functools
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Concept(NamedTuple):
    kind: str
    value: str = ""


# Kinds. A bone's value is a key of `summary.REGIONS_OF_BONE` or "other"; other values are those of
# `Findings`, or free.
BONE, PART, FRACTURE, ABNORMALITY = "bone", "part", "fracture", "abnormality"
NEGATION, ABSENT, HEDGE, NORMAL, RESTRICTION = "not", "absent", "hedge", "normal", "restriction"
SUBJECT, TYPE, DISPLACEMENT, GRADE, ANGULATION = "subject", "type", "displaced", "grade", "angled"
DIRECTION, APEX, HEALING, CAST, HARDWARE = "direction", "apex", "healing", "cast", "hardware"
OSTEOPENIA, MINERAL, SWELLING, PHYSIS, PHYSIS_STATE = "thin", "mineral", "swollen", "plate", "fused"
VIEW, VIEWS, SIDE, BOTH_SIDES, FOLLOW_UP, PAST = "view", "views", "side", "sides", "again", "past"
REMOVED, ADVICE, UNREPORTED, COMPARISON_VIEW, UNIT = "gone", "advice", "unread", "compare", "unit"
EXAM, OTHER_PART, SHAFT_WIDTH, ORDINAL, POSITION = "exam", "elsewhere", "width", "nth", "position"
RESOLVED, CONTRAST, EXCEPT, NUMBER, WORD, MARK = "over", "but", "except", "number", "word", "mark"
SIDE_CORRECTION, LOCATION, LOW, UNSIDED = "slip", "where", "low", "unsided"
SYMMETRIC, SALTER_GRADE = "symmetric", "salter"

# What joins or parts phrases, and the mark that each is read as.
_MARKS = {
    **{"to": "to", "and": "and", "/": "and", "or": "or", "with": "with", "as": "as"},
    **{",": ",", "\u2013": ",", "\u2014": ",", "~": ",", "including": ","},
    **{"(": "(", ")": ")", ":": ":"},
}


@functools.cache
def tables() -> dict[str, Any]:
    """`lexicon.json`: forms of words, phrases by kind and value, and what dictation garbles."""
    return json.loads(Path(__file__).with_name("lexicon.json").read_text())


def word_list(name: str) -> frozenset[str]:
    """Words of `lexicon.json` that are listed for one purpose."""
    return frozenset(tables()["words"][name].split())


@functools.cache
def _forms() -> dict[str, str]:
    """Forms of a word -> the form that phrases are written in."""
    return {form: word for word, forms in tables()["forms"].items() for form in forms.split()}


def _phrases() -> Iterator[tuple[str, Concept]]:
    for kind, values in tables()["phrases"].items():
        for value, phrases in values.items():
            for phrase in phrases:
                yield phrase, Concept(kind, value)
    yield from _salter_harris()
    yield from _not_excluded()


def _not_excluded() -> Iterator[tuple[str, Concept]]:
    """Every way to say that something cannot be excluded."""
    adverbs = (
        *("completely", "fully", "wholly", "absolutely", "altogether", "easily", "safely"),
        *("confidently", "definitively", "definitely", "reliably", "certainly"),
    )
    for lead, be, adverb, verb in itertools.product(
        ("cannot", "can not", "can't", "could not", "couldn't", "not"),
        ("", "be "),
        ("", *(f"{adverb} " for adverb in adverbs)),
        ("exclude", "ruled out", "rule out", "discounted", "discount", "dismissed"),
    ):
        yield f"{lead} {be}{adverb}{verb}", Concept(HEDGE)


def _salter_harris() -> Iterator[tuple[str, Concept]]:
    """Every way to write a grade of Salter and Harris (1963, J Bone Joint Surg Am 45:587)."""
    names = (
        "salter harris",
        "salter",
        "sh",
        "s h",
        "salter and harris",
        "s/h",
        "salterharris",
        "salter harris fracture",
        "salter harris injury",
        "salt a harris",
        "salt her harris",
    )
    nouns = (
        "physis fracture",
        "physis injury",
        "growth plate fracture",
        "growth plate injury",
        "epiphysis fracture",
        "epiphysis injury",
        "salter harris fracture",
        "salter fracture",
        "salter harris injury",
        "salter injury",
    )
    grades = (
        ("1", "i one"),
        ("2", "ii two too to"),
        ("3", "iii three"),
        ("4", "iv four for"),
        ("5", "v five"),
    )
    for grade, spelled in grades:
        concept = Concept(FRACTURE, f"salter_harris_{grade}")
        for number in (grade, *spelled.split()):
            sure = number not in ("to", "too", "for")
            for name, between, noun in itertools.product(
                names, ("", "type ", "grade ", "class "), ("", " fracture", " injury")
            ):
                if sure or between or noun:
                    yield f"{name} {between}{number}{noun}", concept
            yield f"type {number} of salter and harris", concept
            if number.isalpha() and set(number) <= set("iv"):
                yield f"sh{number}", concept
            if sure:
                yield f"type {number}", Concept(SALTER_GRADE, concept.value)
                yield f"grade {number}", Concept(SALTER_GRADE, concept.value)
            for noun in nouns:
                yield f"type {number} {noun}", concept
                yield f"grade {number} {noun}", concept


# Words that are looked up at once, those that mean nothing and numbers included.
_MOST_KNOWN = 65_536


class Node:
    """Of the trie of phrases: the words so far, those that may follow, and the kind and value of
    what they mean, if anything."""

    __slots__ = ("following", "kind", "value", "words")

    def __init__(self, words: tuple[str, ...] = ()) -> None:
        self.words = words
        self.following: dict[str, Node] = {}
        self.kind = ""
        self.value = ""


@functools.cache
def phrase_trie() -> Node:
    """The root of all phrases and marks, in canonical words."""
    root = Node()
    marks = ((mark, Concept(MARK, value)) for mark, value in _MARKS.items())
    for phrase, concept in itertools.chain(_phrases(), marks):
        node = root
        for word in map(canonical, phrase.split()):
            if word not in node.following:
                node.following[word] = Node((*node.words, word))
            node = node.following[word]
        if not node.kind:
            node.kind, node.value = concept
    return root


class _Beginnings(dict[str, Node | None]):
    """Canonical words -> the node of the phrases that begin with them, None where there is none;
    numbers that begin no phrase are read as such."""

    def __missing__(self, word: str) -> Node | None:
        node = NUMBER_NODE if word[0].isdigit() else None
        if len(self) < _MOST_KNOWN:
            self[word] = node
        return node


NUMBER_NODE = Node()
NUMBER_NODE.kind = NUMBER


@functools.cache
def beginnings() -> dict[str, Node | None]:
    """Of phrases: every word may be asked for."""
    return _Beginnings(phrase_trie().following)


def canonical(word: str) -> str:
    """The form that phrases are written in."""
    return _forms().get(word, word)


@functools.cache
def vocabulary() -> frozenset[str]:
    """Words that mean something here, in all forms."""
    words = set(_forms())
    for phrase, _ in _phrases():
        words.update(phrase.split())
    return frozenset(words)


class _KnownForms(dict[str, str]):
    """Words -> the form that phrases are written in, where that is one word whatever stands beside
    it. Raises KeyError for the others."""

    def __missing__(self, word: str) -> str:
        written = spelling(word)
        if word == "-" or len(written) != 1 or word in _torn_parts():
            raise KeyError(word)
        if len(self) < _MOST_KNOWN:
            self[word] = written[0]
        return written[0]


@functools.cache
def _torn_parts() -> frozenset[str]:
    """What dictation may leave of a word that it tears in two."""
    return frozenset(
        part
        for word in vocabulary()
        for cut in range(1, len(word) if len(word) >= SHORTEST_TORN else 0)
        for part in (word[:cut], word[cut:])
    )


# Letters of the shortest word that is put together again.
SHORTEST_TORN = 6


@functools.cache
def known_forms() -> dict[str, str]:
    """Words -> the form that phrases are written in, where that is one word whatever stands beside
    it: all words that mean something here, all marks but hyphens, and what else is asked for.

    Raises:
        KeyError: what stands beside a word must be looked at.
    """
    marks = "#?%\u00b0.:,()[]/\u2013\u2014+&~<>="
    return _KnownForms({word: spelling(word)[0] for word in (*vocabulary(), *marks)})


@functools.lru_cache(maxsize=65536)
def spelling(word: str) -> tuple[str, ...]:
    """How phrases write a word: itself in canonical form, a key word one letter away, or the two
    words that it ran together."""
    return tuple(map(canonical, _meant(word)))


# AO Pediatric Comprehensive Classification of Long Bone Fractures: bone, segment, kind.
_AO_CODE = re.compile(r"23([ru]?)-?([em])/(\d)(?:\.\d)?")
_AO_BONES = {"r": "distal radius", "u": "distal ulna", "": "distal radioulna"}


def _coded(code: re.Match[str]) -> tuple[str, ...]:
    """What an AO code says in words."""
    bone, segment, kind = code.groups()
    if segment == "e" and kind == "7":
        return ("ulna", "styloid", "fracture")
    if segment == "e":
        noun = f"salter harris {kind}" if kind in "1234" else "fracture"
    else:
        noun = {"2": "incomplete fracture", "3": "complete fracture"}.get(kind, "fracture")
    return (*_AO_BONES[bone].split(), *noun.split())


def _meant(word: str) -> tuple[str, ...]:
    code = _AO_CODE.fullmatch(word)
    if code:
        return _coded(code)
    misheard = tables()["misheard"]
    if word in misheard:
        return (misheard[word],)
    known = vocabulary()
    if word in known or len(word) < 4 or not word.isalpha():
        return (word,)
    if len(word) >= 6:
        for key in tables()["key_words"]:
            if abs(len(key) - len(word)) <= 1 and len(key) >= 5 and _one_apart(word, key):
                return (key,)
    for cut in range(3, len(word) - 2 if len(word) >= 8 else 0):
        a, b = word[:cut], word[cut:]
        if a in known and b in known and max(len(a), len(b)) > 4:
            return (a, b)
    return (word,)


def _one_apart(a: str, b: str) -> bool:
    """Whether one letter was changed, left out, added, or two neighbours swapped."""
    if len(a) == len(b):
        different = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
        if len(different) == 1:
            # The end of a word carries its number or its kind, not a slip.
            return different[0] > 0
        return (
            len(different) == 2
            and (a[different[0]] == b[different[1]] and a[different[1]] == b[different[0]])
            and different[1] - different[0] == 1
        )
    if len(a) > len(b):
        a, b = b, a
    return any(b[:i] + b[i + 1 :] == a for i in range(1, len(b)))
