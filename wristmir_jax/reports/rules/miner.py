"""The miner by rules: sections, sides and parts of the body, then statements and their summary."""

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
from wristmir_jax.reports.rules.statements import ORDERS, Item, items_of, reported, statements_of
from wristmir_jax.reports.rules.summary import Sentence, Summary, mentions, read_flags
from wristmir_jax.reports.rules.text import Token
from wristmir_jax.workers import ordered_map

# Small words that each language cannot do without, and that English does not have.
_FOREIGN = words.word_list("foreign")
_ENGLISH = words.word_list("english")
_WORD = re.compile(r"[^\W\d_]+")


def is_english(low: str) -> bool:
    """Whether a text in lower case may be taken for English."""
    found = _WORD.findall(low)
    foreign = sum(word in _FOREIGN for word in found)
    english = sum(word in _ENGLISH for word in found)
    marked = sum(not word.isascii() for word in found)
    return foreign + marked < 2 or english >= foreign + marked


# Of the rules, so that answers of others are not taken for theirs; raise it with every change.
VERSION = 1
IDENTITY = f"rules {VERSION}"


def in_batches(
    batches: Iterator[list[Report]], num_workers: int
) -> Iterator[list[tuple[Report, list[Mined] | Rejection]]]:
    """Mine batches on worker processes."""
    yield from ordered_map(_mine_batch, batches, num_workers)


def _mine_batch(batch: list[Report]) -> list[tuple[Report, list[Mined] | Rejection]]:
    return list(zip(batch, RulesMiner()(batch), strict=True))


class RulesMiner:
    """Reads English reports by rules; see GUIDELINE.md."""

    def __call__(self, reports: Sequence[Report]) -> list[list[Mined] | Rejection]:
        return [self.read(report) for report in reports]

    def read(self, report: Report) -> list[Mined] | Rejection:
        """Findings of each side of one report."""
        low = texts.lowered(report.text)
        if not is_english(low):
            return Rejection(report.exam_id, UNSUPPORTED_LANGUAGE)
        sentences = _sentences(low)
        sides = _sides(sentences, report.laterality)
        if len(sides) == 2 and _inseparable(sentences):
            return Rejection(report.exam_id, INSEPARABLE_SIDES)
        wrist = _shows_wrist(sentences)
        follow_up = _is_follow_up(sentences)
        return [
            _summarise(
                report.exam_id, side, sentences, wrist, follow_up, len(sides) == 2
            ).findings()
            for side in sides
        ]


def _summarise(
    exam_id: str,
    side: str,
    sentences: Sequence[Sentence],
    wrist: bool,
    follow_up: bool,
    two_sided: bool,
) -> Summary:
    summary = Summary(exam_id, side, follow_up, wrist)
    for sentence in sentences:
        elsewhere = sentence.side not in ("", "both", side) and (
            two_sided or sentence.side == "compared"
        )
        if elsewhere and (sentence.own or sentence.side == "compared"):
            continue
        if not elsewhere:
            _read_views(summary, sentence, wrist)
        if sentence.kind == texts.IGNORED:
            continue
        kept = reported(sentence.items)
        if not elsewhere and not (sentence.part == "elsewhere" and wrist):
            read_flags(summary, sentence.kind, kept)
        if sentence.kind < texts.BODY:
            continue
        for statement in statements_of(kept):
            if elsewhere and not (statement.restriction == "other" and not statement.bones):
                continue
            repeated = two_sided and not sentence.side and statement.status in DETAILED_STATUSES
            if repeated and not _is_symmetric(sentence):
                continue
            statement.kind = sentence.kind
            if sentence.part == "elsewhere" and statement.status != "fracture":
                continue
            summary.add(statement)
    return summary


def _is_symmetric(sentence: Sentence) -> bool:
    return any(item.kind == words.SYMMETRIC for item in sentence.items)


def _read_views(summary: Summary, sentence: Sentence, wrist: bool) -> None:
    if sentence.kind == texts.IGNORED or (sentence.part == "elsewhere" and wrist):
        return
    named = [item for item in sentence.items if item.kind == words.VIEW]
    if any(item.kind == words.COMPARISON_VIEW for item in sentence.items):
        return
    around = any(item.kind in (words.VIEWS, words.EXAM) for item in sentence.items)
    first = next((p for p, item in enumerate(sentence.items) if item.kind == words.VIEW), 0)
    before = {item.kind for item in sentence.items[:first]}
    titled = not before & {words.FRACTURE, words.NORMAL, words.ABNORMALITY, words.SUBJECT}
    if named and (around or len(named) > 1 or sentence.kind <= texts.HEADER or titled):
        summary.views.update(item.value for item in named)


def _sentences(low: str) -> list[Sentence]:
    """All sentences with the section, side and part of the body that they stand under."""
    found: list[Sentence] = []
    for section in texts.sections(low):
        side = part = ""
        for tokens in texts.sentences(low, section.start, section.end):
            items = items_of(tokens)
            if _is_order(items) or "{" in low[tokens[0].start - 2 : tokens[-1].end]:
                continue
            part = _part(tokens, title=not found or section.kind == texts.HEADER) or part
            pieces, side = _sided(items, side)
            own = bool(_own_sides(items))
            found.extend(Sentence(section.kind, *piece, part, own=own) for piece in pieces)
    _set_comparisons_aside(found)
    return found


def _set_comparisons_aside(sentences: Sequence[Sentence]) -> None:
    """What is said elsewhere of a side that was taken for comparison is not of the exam either."""
    taken = {
        item.value
        for sentence in sentences
        if sentence.side == "compared"
        for item in sentence.items
        if item.kind == words.SIDE and item.value in _OTHER_SIDE
    }
    if len(taken) != 1:
        return
    for sentence in sentences:
        if sentence.side in taken:
            sentence.side = "compared"


def _sided(items: list[Item], side: str) -> tuple[list[tuple[list[Item], str]], str]:
    """Pieces of a sentence with their sides, and the side that the following ones stand under.

    Args:
        items: of the sentence.
        side: that it stands under.
    """
    own = _own_sides(items)
    if len(own) > 1:
        pieces = _by_side(items)
        bare = any(all(i.kind in (words.SIDE, words.MARK) for i in piece) for piece, _ in pieces)
        return ([(items, "both")], "") if bare else (pieces, side)
    if _compares(items):
        return [(items, "compared")], side
    if own:
        named = next(iter(own))
        here = _OTHER_SIDE.get(side, "compared") if named == "other" else named
        return [(items, here)], here
    if any(item.kind == words.BOTH_SIDES for item in items):
        title = _title_of_both(items)
        if title:
            return [(items[:title], "both"), (items[title + 1 :], "")], ""
        return [(items, "both")], ""
    return [(items, side)], side


def _title_of_both(items: Sequence[Item]) -> int:
    """Where a title such as "both wrists:" ends, or 0."""
    for position, item in enumerate(items):
        if item.kind == words.MARK and item.value == ":":
            return position if any(i.kind == words.BOTH_SIDES for i in items[:position]) else 0
        if item.kind in (words.FRACTURE, words.NORMAL, words.ABNORMALITY):
            return 0
    return 0


def _own_sides(items: Sequence[Item]) -> set[str]:
    return {item.value for item in items if item.kind == words.SIDE}


def _by_side(items: Sequence[Item]) -> list[tuple[list[Item], str]]:
    """A sentence that names both sides, cut before each."""
    pieces: list[tuple[list[Item], str]] = []
    side = ""
    breaks = [0]
    places = [position for position, item in enumerate(items) if item.kind == words.SIDE]
    for a, b in itertools.pairwise(places):
        marks = [p for p in range(a + 1, b) if items[p].kind in (words.MARK, words.CONTRAST)]
        breaks.append(marks[-1] if marks else b)
    breaks.append(len(items))
    for start, end in itertools.pairwise(breaks):
        now = list(items[start:end])
        sides = [item.value for item in now if item.kind == words.SIDE]
        side = sides[0] if sides else side
        side = "compared" if _compares(now) else side
        while now and now[0].kind == words.MARK:
            now.pop(0)
        if now:
            pieces.append((now, side))
    return pieces


_OTHER_SIDE = {"left": "right", "right": "left"}


def _is_order(items: Sequence[Item]) -> bool:
    """Whether somebody tries to tell a machine what to find."""
    return any(item.kind == words.UNREPORTED and item.words[0] in ORDERS for item in items)


def _compares(items: Sequence[Item]) -> bool:
    """Whether a sentence is on the other wrist, which was taken for comparison."""
    return any(item.kind == words.COMPARISON_VIEW for item in items)


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


def _part(tokens: Sequence[Token], title: bool) -> str:
    """The part of the body that a sentence begins with as a title ("Elbow: ...")."""
    named = [_PARTS[token.word] for token in tokens[: 9 if title else 5] if token.word in _PARTS]
    marks = [position for position, token in enumerate(tokens[:6]) if token.word == ":"]
    if not named:
        return ""
    if "wrist" in named:
        return "wrist"
    if marks or title or len(tokens) <= 4:
        return named[0]
    return ""


def _sides(sentences: Sequence[Sentence], known: str) -> list[str]:
    """Sides that the report is on: one, or left and right."""
    corrected = _corrected_side(sentences)
    if corrected:
        return [corrected]
    read = [s for s in sentences if s.kind >= texts.BODY and s.part != "elsewhere"]
    if not any(s.side for s in read):
        read = [s for s in sentences if s.kind >= texts.BODY]

    def named(group: Sequence[Sentence]) -> list[str]:
        return [s.side for s in group if s.side in _OTHER_SIDE]

    stated = named([s for s in read if _says_something(s)])
    titled = named([s for s in sentences if s.kind == texts.HEADER])
    if _is_two_sided(sentences, stated, titled):
        return ["left", "right"]
    told = named([s for s in sentences if s.kind == texts.IGNORED])
    for pool in (stated, named(read), titled, [known] if known != "unknown" else [], told):
        if pool:
            return [max(set(pool), key=pool.count)]
    return [""]


def _is_two_sided(sentences: Sequence[Sentence], stated: list[str], titled: list[str]) -> bool:
    """Whether both wrists were examined: they are named, or findings of each are."""
    both = any(
        item.kind == words.BOTH_SIDES
        for s in sentences
        if s.kind != texts.IGNORED and s.side != "compared"
        for item in s.items
    )
    if len(set(stated)) == 2:
        # One side in the title, two in the findings: a slip of the tongue.
        return both or len(set(titled)) != 1
    if both:
        return not stated or not titled
    return len(set(titled)) == 2 and not stated


def _corrected_side(sentences: Sequence[Sentence]) -> str:
    """The side that an addendum puts right."""
    for sentence in sentences:
        slip = any(item.kind == words.SIDE_CORRECTION for item in sentence.items)
        if sentence.kind == texts.ADDENDUM and slip:
            sides = [
                s.side for s in sentences if s.kind == texts.ADDENDUM and s.side in _OTHER_SIDE
            ]
            if sides:
                return sides[-1]
    return ""


def _says_something(sentence: Sentence) -> bool:
    kinds = {item.kind for item in sentence.items}
    return bool(
        kinds
        & {words.FRACTURE, words.NORMAL, words.ABNORMALITY, words.HEALING, words.BONE, words.CAST}
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
        kinds = {item.kind for item in sentence.items}
        if words.UNSIDED in kinds:
            return True
        if sentence.part == "elsewhere" or words.SYMMETRIC in kinds or sentence.side == "both":
            continue
        for statement in statements_of(reported(sentence.items)):
            if statement.status not in DETAILED_STATUSES:
                continue
            regions = set(mentions(statement)[0])
            if sentence.side:
                sided |= regions or {""}
            else:
                unsided.append(regions)
    return any(not (regions <= sided if regions else sided) for regions in unsided)


_WRIST_BONES = frozenset({"radius", "ulna", "styloid", "distal both", "wrist", "both", "forearm"})


def _shows_wrist(sentences: Sequence[Sentence]) -> bool:
    """Whether a wrist was examined."""
    heads = [s for s in sentences if s.kind <= texts.HEADER and s.kind != texts.IGNORED]
    for group in (heads, sentences):
        bones = {item.value for s in group for item in s.items if item.kind == words.BONE}
        if bones & {"wrist", "forearm", "distal both"}:
            return True
        parts = {s.part for s in group}
        if "wrist" in parts:
            return True
        if "elsewhere" in parts and group is heads:
            return False
    other = any(s.part == "elsewhere" for s in sentences)
    bones = {item.value for s in sentences for item in s.items if item.kind == words.BONE}
    named = {word for s in sentences for item in s.items for word in item.words}
    if other or named & _ELSEWHERE_BONES:
        return "styloid" in named and not other
    return bool(bones & _WRIST_BONES) or not named & _ELSEWHERE_BONES


_ELSEWHERE_BONES = words.word_list("bones_elsewhere")


def _is_follow_up(sentences: Sequence[Sentence]) -> bool:
    """Whether an earlier injury is followed: cast, hardware, healing, reduction, comparison."""
    for sentence in sentences:
        items = sentence.items if sentence.kind == texts.IGNORED else reported(sentence.items)
        for position, item in enumerate(items):
            denied = any(i.kind == words.NEGATION for i in items[max(0, position - 2) : position])
            if sentence.kind == texts.IGNORED:
                if item.kind == words.FOLLOW_UP and item.words[0] in (
                    "follow",
                    "followup",
                    "reduction",
                    "f",
                    "fu",
                ):
                    return True
                continue
            if denied:
                continue
            if item.kind in (words.CAST, words.HARDWARE, words.FOLLOW_UP):
                return True
            if item.kind == words.HEALING and item.value != "acute":
                return True
    return False
