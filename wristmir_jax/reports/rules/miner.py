"""The miner by rules: sections, sides and parts of the body, then statements and their summary."""

import contextlib
import dataclasses
import functools
import gc
import itertools
import re
from collections.abc import Iterator, Sequence

from wristmir_jax.reports.findings import DETAILED_STATUSES
from wristmir_jax.reports.mining import (
    INSEPARABLE_SIDES,
    UNSUPPORTED_LANGUAGE,
    Mined,
    Rejection,
    Report,
)
from wristmir_jax.reports.rules import lexicon as words
from wristmir_jax.reports.rules import text as texts
from wristmir_jax.reports.rules.items import ORDERS, Item, item_of, items_of
from wristmir_jax.reports.rules.summary import (
    FLAG_KINDS,
    REGIONS_OF_BONE,
    Reading,
    Sentence,
    Summary,
    mentions,
    read_flags,
)
from wristmir_jax.workers import ordered_map

# Small words that each language cannot do without, and that English does not have.
_FOREIGN = words.word_list("foreign")
_ENGLISH = words.word_list("english")
_WORD = re.compile(r"[^\W\d_]+")
_FOREIGN_ASCII = frozenset(word.encode() for word in _FOREIGN if word.isascii())
_LETTERS = bytes(code if chr(code).isalpha() else ord(" ") for code in range(128)).ljust(256)


def is_english(low: str) -> bool:
    """Whether a text in lower case may be taken for English."""
    # Nearly all reports are done here, without a count of their words; bytes are cut the fastest.
    if low.isascii() and _FOREIGN_ASCII.isdisjoint(low.encode().translate(_LETTERS).split()):
        return True
    found = _WORD.findall(low)
    foreign = sum(word in _FOREIGN for word in found)
    english = sum(word in _ENGLISH for word in found)
    marked = sum(not word.isascii() for word in found)
    return foreign + marked < 2 or english >= foreign + marked


# Of the rules, so that answers of others are not taken for theirs; raise it with every change.
VERSION = 7
IDENTITY = f"rules {VERSION}"


def in_batches(
    batches: Iterator[list[Report]], num_workers: int
) -> Iterator[list[tuple[Report, list[Mined] | Rejection]]]:
    """Mine batches on worker processes."""
    yield from ordered_map(_mine_batch, batches, num_workers, chunk_size=1)


def _mine_batch(batch: list[Report]) -> list[tuple[Report, list[Mined] | Rejection]]:
    return list(zip(batch, RulesMiner()(batch), strict=True))


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Reading leaves no cycles behind, but many objects: looking for garbage would take a twentieth
    of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


# Reports that are read side by side.
_TOGETHER = 64


class RulesMiner:
    """Reads English reports by rules; see GUIDELINE.md."""

    def __call__(self, reports: Sequence[Report]) -> list[list[Mined] | Rejection]:
        with _without_collection():
            groups = [
                _read(reports[start : start + _TOGETHER])
                for start in range(0, len(reports), _TOGETHER)
            ]
        return list(itertools.chain.from_iterable(groups))

    def read(self, report: Report) -> list[Mined] | Rejection:
        """Findings of each side of one report."""
        return self([report])[0]


def _read(reports: Sequence[Report]) -> list[list[Mined] | Rejection]:
    """Findings of each side of some reports.

    All are taken through one step before the next: a processor that stays with a few functions is a
    tenth faster than one that runs through all of them for every report.
    """
    lows = [texts.lowered(report.text) for report in reports]
    english = [is_english(low) for low in lows]
    spoken = [_spoken(low) if known else [] for low, known in zip(lows, english, strict=True)]
    read = [[(section, list(map(_reading_of, told))) for section, told in s] for s in spoken]
    sentences = [_sentences(low, parts) for low, parts in zip(lows, read, strict=True)]
    for sentence in itertools.chain.from_iterable(sentences):
        sentence.state()
    sides = [_sides(s, report.laterality) for s, report in zip(sentences, reports, strict=True)]
    mixed = [
        (len(two) == 2 and _inseparable(s)) or _of_one_of_two(s)
        for s, two in zip(sentences, sides, strict=True)
    ]
    wrists = [_shows_wrist(s) for s in sentences]
    follow_ups = [_is_follow_up(s) for s in sentences]
    summaries = [
        [_summarise(side, s, wrist, follow_up, len(named) == 2) for side in named]
        for s, named, wrist, follow_up in zip(sentences, sides, wrists, follow_ups, strict=True)
    ]
    return [
        Rejection(report.exam_id, INSEPARABLE_SIDES if known else UNSUPPORTED_LANGUAGE)
        if inseparable or not known
        else [summary.findings(report.exam_id) for summary in told]
        for report, known, inseparable, told in zip(reports, english, mixed, summaries, strict=True)
    ]


def _summarise(
    side: str,
    sentences: Sequence[Sentence],
    wrist: bool,
    follow_up: bool,
    two_sided: bool,
) -> Summary:
    summary = Summary(side, follow_up, wrist)
    for sentence in sentences:
        elsewhere = sentence.side not in ("", "both", side) and (
            two_sided or sentence.side == "compared"
        )
        if elsewhere and (sentence.own or sentence.side == "compared"):
            continue
        seen = not elsewhere or (sentence.kind == texts.HEADER and sentence.side != "compared")
        if seen and words.VIEW in sentence.concepts:
            _read_views(summary, sentence, wrist)
        if sentence.kind == texts.IGNORED:
            continue
        flagged = not elsewhere and not sentence.concepts.isdisjoint(FLAG_KINDS)
        if flagged and not (sentence.part == "elsewhere" and wrist):
            read_flags(summary, sentence)
        if sentence.kind == texts.ADDENDUM and (mistaken := _mistaken_bone(sentence)):
            summary.rename(*mistaken)
        for statement in sentence.statements:
            if elsewhere and not (statement.restriction == "other" and not statement.bones):
                continue
            repeated = two_sided and not sentence.side and statement.status in DETAILED_STATUSES
            if repeated and words.SYMMETRIC not in sentence.concepts:
                continue
            if sentence.part == "elsewhere" and statement.status != "fracture":
                continue
            summary.add(statement)
    return summary


def _mistaken_bone(sentence: Sentence) -> tuple[str, str] | None:
    """The region that an addendum says was named by mistake, and the one that was meant."""
    items = sentence.items
    named = [
        (position, REGIONS_OF_BONE[item.value][0])
        for position, item in enumerate(items)
        if item.kind == words.BONE and len(REGIONS_OF_BONE.get(item.value, ())) == 1
    ]
    for (first, a), (second, b) in itertools.pairwise(named):
        between = items[first + 1 : second]
        if a == b or any(item.kind in _PREDICATES for item in between):
            continue
        if any(item.kind == words.SIDE_CORRECTION for item in between):
            return a, b
        if any(item.kind == words.NEGATION for item in between):
            return b, a
    return None


# Behind the name of a view: "oblique fracture" and "oblique wire" tell of no view.
_SEEN = frozenset({words.FRACTURE, words.HARDWARE})


def _read_views(summary: Summary, sentence: Sentence, wrist: bool) -> None:
    concepts = sentence.concepts
    if words.COMPARISON_VIEW in concepts or sentence.kind == texts.IGNORED:
        return
    if sentence.part == "elsewhere" and wrist:
        return
    named = [
        item
        for item, following in itertools.zip_longest(sentence.items, sentence.items[1:])
        if item.kind == words.VIEW and not (following and following.kind in _SEEN)
    ]
    if not named:
        return
    around = words.VIEWS in concepts or words.EXAM in concepts
    before = {item.kind for item in sentence.items[: sentence.items.index(named[0])]}
    titled = not before & {words.FRACTURE, words.NORMAL, words.ABNORMALITY, words.SUBJECT}
    denied = {
        item.value
        for previous, item in itertools.pairwise(sentence.items)
        if item.kind == words.VIEW and previous.kind == words.NEGATION
    }
    summary.views -= denied
    if around or len(named) > 1 or sentence.kind <= texts.HEADER or titled:
        summary.views.update({item.value for item in named} - denied)


def _spoken(low: str) -> list[tuple[texts.Section, list[texts.Tokens]]]:
    """Sentences of a text, by section."""
    return [(part, texts.sentences(low, part.start, part.end)) for part in texts.sections(low)]


def _sentences(
    low: str, parts: Sequence[tuple[texts.Section, Sequence[tuple[texts.Tokens, Reading]]]]
) -> list[Sentence]:
    """All sentences with the section, side and part of the body that they stand under.

    Args:
        low: the text.
        parts: of it, with what their sentences mean.
    """
    found: list[Sentence] = []
    first = ""
    for section, told in parts:
        side = part = ""
        end, before = section.start, None
        for tokens, reading in told:
            items, source = reading.items, tokens
            if ";" not in low[end : tokens.start]:
                before = reading, tokens
            elif before is not None and words.BONE not in reading.concepts:
                heading = _heading(before[0].items) if words.SIDE in reading.concepts else []
                if heading:
                    items = [*heading, *_moved(items, len(before[1].words))]
                    source = dataclasses.replace(tokens, before=before[1])
            end = tokens.end
            sentence = Sentence(section.kind, items, reading, source)
            if _is_order(sentence):
                continue
            part = _part(tokens.words, not found or section.kind == texts.HEADER) or part
            first = first or part
            if part == "elsewhere" and first == "wrist" and ":" in tokens.words[:4]:
                part = _part(tokens.words, title=False) or first
            if part == "elsewhere" and any(i.value == "styloid" for i in items):
                part = "wrist"
            sentence.part = part
            if sentence.concepts.isdisjoint(_ASIDE):
                sentence.side = side
                found.append(sentence)
            else:
                pieces, side = _sided(sentence, side)
                found.extend(pieces)
    _set_comparisons_aside(found)
    _swap_sides(found)
    return found


# Sentences whose meaning is remembered, of some 3 KB each.
_REMEMBERED = 16_384


@functools.lru_cache(maxsize=_REMEMBERED)
def _reading(spoken: tuple[str, ...]) -> Reading:
    """What the tokens of a sentence mean."""
    items = items_of(spoken)
    if _tells_of_both(spoken):
        items.append(Item(words.SYMMETRIC, "", (), len(spoken) - 1, len(spoken)))
    return Reading(items)


def _reading_of(tokens: texts.Tokens) -> tuple[texts.Tokens, Reading]:
    return tokens, _reading(tuple(tokens.words))


def forget() -> None:
    """Empty what is remembered of the sentences of earlier reports, though not how words are
    spelled: for measuring."""
    _reading.cache_clear()
    item_of.cache_clear()


def _moved(items: Sequence[Item], by: int) -> list[Item]:
    """Items behind `by` tokens more."""
    return [dataclasses.replace(i, start=i.start + by, end=i.end + by) for i in items]


def _with_exception(sentence: Sentence, side: str) -> list[Sentence]:
    """ "Both wrists are normal, except for ... on the right": what is said of both, and of one."""
    items = sentence.items
    place = next(p for p, item in enumerate(items) if item.kind == words.EXCEPT)
    both = [item for item in items[:place] if item.kind != words.BOTH_SIDES]
    return [
        dataclasses.replace(sentence, items=both, side="", own=False),
        dataclasses.replace(sentence, items=items[place + 1 :], side=side),
    ]


def _tells_of_both(spoken: Sequence[str]) -> bool:
    """Whether one sentence asserts fractures of both wrists: "bilateral fractures of"."""
    if "fractures" not in spoken:
        return False
    last = max((place for place, word in enumerate(spoken) if word == ":"), default=-1)
    told = spoken[last + 1 :]
    return "fractures" in told and not _OF_BOTH.isdisjoint(told)


_OF_BOTH = frozenset({"both", "bilateral", "bilaterally"})


def _set_comparisons_aside(sentences: Sequence[Sentence]) -> None:
    """What is said elsewhere of a side that was taken for comparison is not of the exam either."""
    taken = _compared(sentences)
    if len(taken) != 1:
        return
    for sentence in sentences:
        if sentence.side in taken:
            sentence.side = "compared"


_BARE = frozenset({words.SIDE, words.MARK})
_ASIDE = frozenset({words.SIDE, words.BOTH_SIDES, words.COMPARISON_VIEW})


def _sided(sentence: Sentence, side: str) -> tuple[list[Sentence], str]:
    """Pieces of a sentence with their sides, and the side that the following ones stand under.

    Args:
        sentence: without a side.
        side: that it stands under.
    """
    if words.SIDE in sentence.concepts and not _REFERRING.isdisjoint(sentence.concepts):
        kept = _without_reference(_without_aside(sentence.items), side)
        if len(kept) < len(sentence.items):
            sentence = dataclasses.replace(sentence, items=kept)
    items, concepts = sentence.items, sentence.concepts
    sentence.side = side
    if concepts.isdisjoint(_ASIDE):
        return [sentence], side
    own = sentence.sides
    sentence.own = bool(own)
    if len(own) > 1:
        pieces = _by_side(sentence)
        bare = any(piece.concepts <= _BARE for piece in pieces)
        if not bare:
            return pieces, side
        sentence.side, side = "both", ""
    elif words.COMPARISON_VIEW in concepts:
        sentence.side = "compared"
    elif own and words.BOTH_SIDES in concepts and words.EXCEPT in concepts:
        return _with_exception(sentence, next(iter(own))), ""
    elif own:
        named = next(iter(own))
        if named != "other":
            side = named
        elif side:
            side = _OTHER_SIDE.get(side, "compared")
        # The other side of one that nobody named is spoken of in this sentence alone.
        sentence.side = side or "compared"
    elif words.BOTH_SIDES in concepts:
        title = _title_of_both(items)
        if title:
            before = dataclasses.replace(sentence, items=items[:title], side="both")
            return [before, dataclasses.replace(sentence, items=items[title + 1 :], side="")], ""
        sentence.side, side = "both", ""
    return [sentence], side


# What a sentence must speak of to set another side beside its own.
_REFERRING = frozenset({words.PAST, words.COMPARISON_VIEW})


def _without_aside(items: list[Item]) -> list[Item]:
    """Without a remark in parentheses on views for comparison: "(right side for comparison)"."""
    opened = None
    for position, item in enumerate(items):
        if item.kind != words.MARK:
            continue
        if item.value == "(":
            opened = position
        elif item.value == ")" and opened is not None:
            if any(i.kind == words.COMPARISON_VIEW for i in items[opened:position]):
                return [*items[:opened], *items[position + 1 :]]
            opened = None
    return items


_COMPARING = frozenset(
    {"compare", "relative", "than", "symmetrical", "symmetric", "identical", "same", "matches"}
)


def _without_reference(items: list[Item], side: str) -> list[Item]:
    """Without "compared with the (normal) other side": it tells no side, and nothing of it.

    Args:
        items: of a sentence.
        side: that it stands under.
    """
    for position, item in enumerate(items):
        if item.kind != words.PAST or _COMPARING.isdisjoint(item.words):
            continue
        near = items[position + 1 : position + 4]
        place = next((p for p, i in enumerate(near) if i.kind == words.SIDE), None)
        if place is None:
            continue
        others = {i.value for i in items if i.kind == words.SIDE} - {near[place].value}
        told = near[place].value == "other" or others or side not in ("", near[place].value)
        if told or any(i.kind == words.NORMAL for i in near[:place]):
            end = position + 2 + place
            while end < len(items) and items[end].value in ("wrist", ","):
                end += 1
            # "Which is normal."
            end += end < len(items) and items[end].kind == words.NORMAL
            return [*items[:position], *items[end:]]
    return items


def _title_of_both(items: Sequence[Item]) -> int:
    """Where a title such as "both wrists:" ends, or 0."""
    for position, item in enumerate(items):
        if item.kind == words.MARK and item.value == ":":
            return position if any(i.kind == words.BOTH_SIDES for i in items[:position]) else 0
        if item.kind in (words.FRACTURE, words.NORMAL, words.ABNORMALITY):
            return 0
    return 0


_PREDICATES = frozenset({words.FRACTURE, words.NORMAL, words.ABNORMALITY})


def _by_side(sentence: Sentence) -> list[Sentence]:
    """A sentence that names both sides, cut before each."""
    items = sentence.items
    pieces: list[Sentence] = []
    side = ""
    breaks = [0]
    places = [position for position, item in enumerate(items) if item.kind == words.SIDE]
    for a, b in itertools.pairwise(places):
        marks = [
            p
            for p in range(a + 1, b)
            if items[p].kind in (words.MARK, words.CONTRAST) or items[p].words == ("nor",)
        ]
        breaks.append(marks[-1] if marks else b)
    breaks.append(len(items))
    for start, end in itertools.pairwise(breaks):
        now = items[start:end]
        sides = [item.value for item in now if item.kind == words.SIDE]
        side = sides[0] if sides else side
        if any(item.kind == words.COMPARISON_VIEW for item in now):
            side = "compared"
        elif sides and pieces:
            now = [*_bones_said_once(pieces[-1].items, now), *now]
        joined = False
        while now and now[0].kind == words.MARK:
            joined |= now.pop(0).value == "and"
        joined |= bool(now) and now[0].words == ("nor",)
        if joined and pieces and _PREDICATES.isdisjoint(i.kind for i in now):
            # "Fractures of the left radius and the right ulna": one word is said of both.
            told = [i for i in pieces[-1].items if i.kind in _PREDICATES]
            bone = any(i.kind == words.BONE or i.words == ("nor",) for i in now)
            now = [*(told if bone and len(told) == 1 else []), *now]
        if now:
            pieces.append(dataclasses.replace(sentence, items=now, side=side))
    return pieces


def _bones_said_once(before: Sequence[Item], now: Sequence[Item]) -> list[Item]:
    """Bones that a piece shares with that before it: "radius: buckle fracture on the left,
    greenstick fracture on the right"."""
    if any(i.kind == words.BONE for i in now):
        return []
    heading = _heading(before)
    if heading:
        return heading
    side = next(p for p, item in enumerate(now) if item.kind == words.SIDE)
    if _PREDICATES.isdisjoint(i.kind for i in now[:side]):
        return []
    told = next((p for p, item in enumerate(before) if item.kind in _PREDICATES), 0)
    if any(item.kind == words.SIDE for item in before[:told]):
        return []
    return [item for item in before[:told] if item.kind in _HEADINGS]


_HEADINGS = frozenset({words.BONE, words.PART, words.SUBJECT, words.PHYSIS, words.MINERAL})


def _heading(items: Sequence[Item]) -> list[Item]:
    """What a sentence is about that begins with it and a colon: "distal radius: left intact"."""
    for position, item in enumerate(items):
        if item.kind == words.MARK and item.value == ":":
            return [i for i in items[:position] if i.kind in _HEADINGS]
        if item.kind not in _HEADINGS and item.kind not in (words.BOTH_SIDES, words.FRACTURE):
            break
    return []


_OTHER_SIDE = {"left": "right", "right": "left"}


def _is_order(sentence: Sentence) -> bool:
    """Whether somebody tries to tell a machine what to find."""
    return words.UNREPORTED in sentence.concepts and any(
        item.kind == words.UNREPORTED and item.words[0] in ORDERS for item in sentence.items
    )


_PARTS = {
    **dict.fromkeys(
        [
            "elbow",
            "ankle",
            "knee",
            "chest",
            "abdomen",
            "hip",
            "pelvis",
            "foot",
            "shoulder",
            "humerus",
            "tibia",
            "femur",
            "spine",
            "clavicle",
            "leg",
            "toe",
            "skull",
            "cspine",
            "finger",
            "thumb",
        ],
        "elsewhere",
    ),
    **dict.fromkeys(["wrist", "wrists", "forearm"], "wrist"),
    "hand": "hand",
}
_TITLES = frozenset(_PARTS)


def _part(spoken: Sequence[str], title: bool) -> str:
    """The part of the body that a sentence begins with as a title ("Elbow: ...")."""
    beginning = spoken[: 9 if title else 5]
    if _TITLES.isdisjoint(beginning):
        return ""
    named = [
        _PARTS[word]
        for word, following in itertools.zip_longest(beginning, spoken[1 : len(beginning) + 1])
        # A thumb spica shows no thumb.
        if word in _PARTS and following != "spica"
    ]
    if not named:
        return ""
    if "wrist" in named:
        return "wrist"
    return named[0] if title or len(spoken) <= 4 or ":" in spoken[:6] else ""


def _sides(sentences: Sequence[Sentence], known: str) -> list[str]:
    """Sides that the report is on: one, or left and right."""
    only = _only_side(sentences)
    if only:
        return [only]
    corrected = _corrected_side(sentences)
    if corrected:
        return [corrected]
    sided = [s for s in sentences if s.side in _OTHER_SIDE]
    read = [s for s in sided if s.kind >= texts.BODY]
    here = [s for s in sentences if s.side and s.kind >= texts.BODY and s.part != "elsewhere"]
    if here:
        read = [s for s in here if s.side in _OTHER_SIDE]
    stated = [s.side for s in read if not s.concepts.isdisjoint(_TELLING)]
    titled = [s.side for s in sided if s.kind == texts.HEADER]
    if _is_two_sided(sentences, stated, titled):
        return ["left", "right"]
    named = [s.side for s in read]
    told = [s.side for s in sided if s.kind == texts.IGNORED]
    compared = {_OTHER_SIDE[side] for side in _compared(sentences)}
    beside = list(compared) if len(compared) == 1 else []
    for pool in (stated, named, titled, [known] if known != "unknown" else [], told, beside):
        if pool:
            # Of sides named as often, the later counts: what follows corrects.
            return [max(reversed(pool), key=pool.count)]
    return [""]


def _only_side(sentences: Sequence[Sentence]) -> str:
    """The side of which alone a report speaks that nobody has corrected, so that nothing needs to
    be weighed; most do."""
    only = ""
    for sentence in sentences:
        if sentence.kind == texts.IGNORED:
            continue
        if sentence.kind == texts.ADDENDUM or words.BOTH_SIDES in sentence.concepts:
            return ""
        if sentence.side and only not in ("", sentence.side):
            return ""
        only = sentence.side or only
    return only if only in _OTHER_SIDE else ""


def _compared(sentences: Sequence[Sentence]) -> set[str]:
    """Sides that were taken for comparison."""
    return {
        side for s in sentences if s.side == "compared" for side in s.sides if side in _OTHER_SIDE
    }


def _is_two_sided(sentences: Sequence[Sentence], stated: list[str], titled: list[str]) -> bool:
    """Whether both wrists were examined: they are named, or findings of each are."""
    both = any(
        words.BOTH_SIDES in s.concepts
        and words.COMPARISON_VIEW not in s.concepts
        and any(item.kind == words.BOTH_SIDES for item in s.kept)
        and s.kind != texts.IGNORED
        and s.side != "compared"
        and s.part != "elsewhere"
        for s in sentences
    )
    compared = _compared(sentences)
    if len(set(stated)) == 1 and compared and compared.isdisjoint(stated):
        return False
    if len(set(stated)) == 2:
        # One side in the title, two in the findings: a slip of the tongue.
        return both or len(set(titled)) != 1
    if both:
        return not stated or not titled
    return len(set(titled)) == 2 and not stated


def _corrected_side(sentences: Sequence[Sentence]) -> str:
    """The side that an addendum puts right."""
    added = [s for s in sentences if s.kind == texts.ADDENDUM]
    if not added:
        return ""
    corrections = [i.value for s in added for i in s.items if i.kind == words.SIDE_CORRECTION]
    if "swap" in corrections:
        return ""
    if not (corrections or any(map(_sets_right, added)) or _changes_side(sentences)):
        return ""
    for sentence in reversed(added):
        before = [None, *sentence.items]
        for item, previous in reversed(list(zip(sentence.items, before, strict=False))):
            if item.kind == words.SIDE and item.value in _OTHER_SIDE:
                # "Right, not left."
                if previous is not None and previous.kind == words.NEGATION:
                    return _OTHER_SIDE[item.value]
                return item.value
    return ""


def _changes_side(sentences: Sequence[Sentence]) -> bool:
    """Whether a report on one side has an addendum that knows only the other one."""
    if any(not s.concepts.isdisjoint(_OF_TWO) for s in sentences):
        return False
    added = [s for s in sentences if s.kind == texts.ADDENDUM and s.sides]
    if not all(s.concepts <= _OF_SIDE_ALONE and s.part != "elsewhere" for s in added):
        return False
    before = {side for s in sentences if s.kind != texts.ADDENDUM for side in s.sides}
    behind = {side for s in added for side in s.sides}
    return len(before) == 1 and len(behind) == 1 and before != behind


# What an addendum speaks of that does nothing but name the wrist.
_OF_SIDE_ALONE = frozenset({words.SIDE, words.BONE, words.EXAM, words.VIEWS, words.MARK})
_OF_TWO = frozenset({words.BOTH_SIDES, words.COMPARISON_VIEW})


def _sets_right(sentence: Sentence) -> bool:
    """Whether "right, not left" is said."""
    denied = [
        item.value
        for previous, item in itertools.pairwise(sentence.items)
        if item.kind == words.SIDE and previous.words == ("not",)
    ]
    return bool(denied) and not sentence.sides <= set(denied)


def _swap_sides(sentences: Sequence[Sentence]) -> None:
    """Puts right what an addendum says stands under the wrong one of two sides."""
    if not any(
        item.kind == words.SIDE_CORRECTION and item.value == "swap"
        for s in sentences
        if s.kind == texts.ADDENDUM
        for item in s.items
    ):
        return
    for sentence in sentences:
        if texts.BODY <= sentence.kind < texts.ADDENDUM:
            sentence.side = _OTHER_SIDE.get(sentence.side, sentence.side)


# What a sentence must speak of to say something of its side.
_TELLING = frozenset(
    {words.FRACTURE, words.NORMAL, words.ABNORMALITY, words.HEALING, words.BONE, words.CAST}
)


def _inseparable(sentences: Sequence[Sentence]) -> bool:
    """Whether a fracture is asserted of which nobody can tell the side.

    What an impression repeats without a side can be told from the findings that it repeats.
    """
    sided: set[str] = set()
    unsided: list[set[str]] = []
    for sentence in sentences:
        if sentence.kind < texts.BODY:
            continue
        if words.UNSIDED in sentence.concepts:
            return True
        symmetric = words.SYMMETRIC in sentence.concepts
        if sentence.part == "elsewhere" or symmetric or sentence.side == "both":
            continue
        for statement in sentence.statements:
            if statement.status not in DETAILED_STATUSES:
                continue
            regions = set(mentions(statement)[0])
            if sentence.side:
                sided |= regions or {""}
            else:
                unsided.append(regions)
    return any(not (regions <= sided if regions else sided) for regions in unsided)


_OF_SIDES = frozenset({words.SIDE, words.UNSIDED})


def _of_one_of_two(sentences: Sequence[Sentence]) -> bool:
    """Whether two wrists are told apart, but not by their sides: "the other wrist"."""
    telling = [s for s in sentences if not s.concepts.isdisjoint(_OF_SIDES)]
    if any(side in _OTHER_SIDE for sentence in telling for side in sentence.sides):
        return False
    for sentence in telling:
        if sentence.kind < texts.BODY:
            continue
        for item in sentence.items:
            if item.kind == words.UNSIDED and item.words[:2] == ("one", "of"):
                return True
        if "other" in sentence.sides and any(
            statement.status in DETAILED_STATUSES for statement in sentence.statements
        ):
            return True
    return False


_WRIST_BONES = frozenset({"radius", "ulna", "styloid", "distal both", "wrist", "both", "forearm"})


_OF_WRIST = frozenset({"wrist", "forearm", "distal both"})


def _bones_shown(sentences: Sequence[Sentence]) -> Iterator[str]:
    """Bones that sentences are about."""
    for sentence in sentences:
        if words.BONE not in sentence.concepts:
            continue
        previous = ""
        for item in sentence.items:
            # "No wrist films were sent."
            if item.kind == words.BONE and previous != words.NEGATION:
                yield item.value
            previous = item.kind


def _names_wrist(sentences: Sequence[Sentence]) -> bool:
    return any(s.part == "wrist" for s in sentences) or any(
        bone in _OF_WRIST for bone in _bones_shown(sentences)
    )


def _shows_wrist(sentences: Sequence[Sentence]) -> bool:
    """Whether a wrist was examined."""
    heads = [s for s in sentences if s.kind == texts.HEADER]
    if _names_wrist(heads):
        return True
    if any(s.part == "elsewhere" for s in heads):
        return False
    if _names_wrist(sentences):
        return True
    bones = set(_bones_shown(sentences))
    other = any(s.part == "elsewhere" for s in sentences)
    named = {w for s in sentences for i in s.items if i.kind != words.CAST for w in i.words}
    if other or named & _ELSEWHERE_BONES:
        return "styloid" in named and not other
    return bool(bones & _WRIST_BONES) or not named & _ELSEWHERE_BONES


_ELSEWHERE_BONES = words.word_list("bones_elsewhere")


_FOLLOWED = frozenset({words.CAST, words.HARDWARE, words.FOLLOW_UP, words.HEALING})
_FOLLOWING = frozenset({"follow", "followup", "reduction", "f", "fu"})


def _is_follow_up(sentences: Sequence[Sentence]) -> bool:
    """Whether an earlier injury is followed: cast, hardware, healing, reduction, comparison."""
    for sentence in sentences:
        if sentence.concepts.isdisjoint(_FOLLOWED):
            continue
        if sentence.kind == texts.IGNORED:
            if any(i.kind == words.FOLLOW_UP and i.words[0] in _FOLLOWING for i in sentence.items):
                return True
            continue
        kept = sentence.kept
        for position, item in enumerate(kept):
            followed = item.kind in _FOLLOWED and item.value != "acute"
            before = kept[max(0, position - 2) : position] if followed else []
            if followed and not any(other.kind == words.NEGATION for other in before):
                return True
    return False
