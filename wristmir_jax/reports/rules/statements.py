"""What the sentences of a report assert, deny and suspect, bone by bone."""

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from wristmir_jax.reports.findings import DETAILED_STATUSES
from wristmir_jax.reports.rules import lexicon as words
from wristmir_jax.reports.rules.details import DETAILED_KINDS, details_of
from wristmir_jax.reports.rules.items import DENYING, Item
from wristmir_jax.reports.rules.text import Tokens


@dataclasses.dataclass(slots=True)
class Chunk:
    """What stands between two connectives, and the kinds of it."""

    joined: str
    items: list[Item] = dataclasses.field(default_factory=list)
    strong: bool = False
    excepted: bool = False
    kinds: set[str] = dataclasses.field(default_factory=set)

    def add(self, item: Item) -> None:
        self.items.append(item)
        self.kinds.add(item.kind)

    def extend(self, items: Iterable[Item]) -> None:
        for item in items:
            self.add(item)

    def put_before(self, items: Sequence[Item]) -> None:
        self.items[:0] = items
        self.kinds.update(item.kind for item in items)

    def has_any(self, kinds: Collection[str]) -> bool:
        return not self.kinds.isdisjoint(kinds)

    def of(self, kind: str) -> list[Item]:
        if kind not in self.kinds:
            return []
        return [item for item in self.items if item.kind == kind]


@dataclasses.dataclass(slots=True)
class Statement:
    """One predicate about some bones.

    Attributes:
        status: of `Findings`; or details, of a fracture that is asserted elsewhere.
        bones: keys of `summary.REGIONS_OF_BONE`, names of other bones, or none for all.
        restriction: new or other, where a denial is of new or other fractures only.
        items: what is said of it.
        start, end: tokens of its sentence.
        others: whether it is of the bones that nobody named.
        kind: of the section, once it is `placed`.
        part: of its bones, where that is the shaft.
    """

    status: str
    bones: list[str]
    items: list[Item]
    start: int
    end: int
    restriction: str = ""
    others: bool = False
    kind: int = 0
    part: str = ""
    _tokens: Tokens | None = None
    _source: "Statement | None" = None
    _details: dict[str, Any] | None = dataclasses.field(default=None, init=False)

    def placed(self, kind: int, tokens: Tokens) -> "Statement":
        """The statement where its sentence has these tokens, in a section of this kind."""
        return Statement(
            self.status,
            self.bones,
            self.items,
            self.start,
            self.end,
            self.restriction,
            self.others,
            kind,
            self.part,
            tokens,
            self,
        )

    @property
    def place(self) -> tuple[int, int]:
        """Characters [start, end) of the report; of a statement that is `placed`."""
        if self._tokens is None:
            raise ValueError("the statement has no place yet")
        return self._tokens.place(self.start, self.end)

    @property
    def details(self) -> dict[str, Any]:
        """Fields of `RegionFindings` that it names; to be asked once its sentence has been read."""
        if self._source is not None:
            return self._source.details
        if self._details is None:
            self._details = details_of(self.items)
        return self._details

    @property
    def types(self) -> list[str]:
        return [item.value for item in self.items if item.kind == words.FRACTURE and item.value]


_CUTTING = frozenset({words.MARK, words.CONTRAST, words.EXCEPT})


def chunks_of(items: Sequence[Item]) -> list[Chunk]:
    """A sentence cut at its connectives."""
    measures = _NOWHERE
    if "(" in [item.value for item in items]:
        items = _without_earlier(items)
        measures = _parentheses_of_measures(items)
    now = Chunk("", strong=True)
    chunks = [now]
    for position, item in enumerate(items):
        if position in measures:
            continue
        kind = item.kind
        if kind not in _CUTTING:
            if kind in _TURNING and _turns(items, position, now):
                now = Chunk("but", strong=True)
                chunks.append(now)
            now.items.append(item)
            now.kinds.add(kind)
            continue
        if kind != words.MARK:
            if kind == words.EXCEPT or not _is_parenthetical(items, position):
                chunks.append(Chunk("but", strong=True, excepted=kind == words.EXCEPT))
        elif item.value == "to":
            now.add(item)
        elif item.value == ":":
            if now.has_any(_TITLED) and not _is_heading(now):
                chunks.append(Chunk("but", strong=True))
        elif item.value in ("and", "or") and _joins_numbers(items, position):
            now.add(dataclasses.replace(item, value="to"))
        elif item.value != "as":
            _cut(chunks, item.value)
        now = chunks[-1]
    return _with_shared_bones([chunk for chunk in chunks if chunk.items])


_TURNING = frozenset({words.NEGATION, words.NORMAL})


def _turns(items: Sequence[Item], position: int, chunk: Chunk) -> bool:
    """Whether a fracture is told of one bone, and from here on that another has none: "fracture of
    the radius without ulnar fracture", "fracture of the ulna sparing its styloid"."""
    if (
        not (words.FRACTURE in chunk.kinds and words.BONE in chunk.kinds)
        or words.NEGATION in chunk.kinds
    ):
        return False
    if items[position].kind == words.NORMAL:
        return items[position].words == ("sparing",)
    if items[position].words[0] == "there":
        return True
    if items[position].words != ("without",):
        return False
    following = items[position + 1 : position + 6]
    told = [item.kind for item in itertools.takewhile(lambda i: i.kind != words.MARK, following)]
    return words.BONE in told and words.FRACTURE in told


def _is_heading(chunk: Chunk) -> bool:
    """Whether a chunk is nothing but "fractures", as before a list."""
    return len(chunk.items) == 1 and words.FRACTURE in chunk.kinds


_NOWHERE: frozenset[int] = frozenset()


def _parentheses_of_measures(items: Sequence[Item]) -> Collection[int]:
    """Places of parentheses around nothing but a measure: "angulated (18-22 degrees)"."""
    found: set[int] = set()
    opened = None
    for position, item in enumerate(items):
        if item.kind == words.MARK and item.value == "(":
            opened = position
        elif item.kind == words.MARK and item.value == ")":
            if opened is not None and position - opened > 1:
                found |= {opened, position}
            opened = None
        elif item.kind not in _MEASURING and item.value != "to":
            opened = None
    return found


_MEASURING = frozenset({words.NUMBER, words.UNIT, words.DIRECTION})
_OF_ONCE = frozenset({words.NUMBER, words.UNIT, words.PAST, words.FOLLOW_UP})


def _without_earlier(items: Sequence[Item]) -> Sequence[Item]:
    """Without what was measured earlier, in parentheses: "12 (previously 31) degrees"."""
    kept: list[Item] = []
    opened = None
    for item in items:
        kept.append(item)
        if item.kind != words.MARK:
            continue
        if item.value == "(":
            opened = len(kept) - 1
        elif item.value == ")" and opened is not None:
            kinds = {inner.kind for inner in kept[opened + 1 : -1]}
            if words.NUMBER in kinds and words.PAST in kinds and kinds <= _OF_ONCE:
                del kept[opened:]
            opened = None
    return kept


def _cut(chunks: list[Chunk], connective: str) -> None:
    """Begin a new chunk, or say better how the last one, still empty, hangs on."""
    now = chunks[-1]
    if now.items:
        chunks.append(Chunk(connective))
    elif not now.strong and connective not in (",", ")"):
        # ", and": the word says more than the comma.
        now.joined = connective


def _with_shared_bones(chunks: list[Chunk]) -> list[Chunk]:
    """ "Third and fourth metacarpals": the number gets its bone too, and a bone its shaft."""
    for chunk, following in itertools.pairwise(chunks):
        numbered = words.ORDINAL in chunk.kinds and words.BONE not in chunk.kinds
        if numbered and words.ORDINAL in following.kinds:
            chunk.extend(following.of(words.BONE))
        if words.PART in following.kinds and _shares_shaft(chunk, following):
            chunk.extend(following.of(words.PART)[:1])
    return chunks


def _shares_shaft(chunk: Chunk, following: Chunk) -> bool:
    """Whether "radial and ulnar shafts" are spoken of."""
    return (
        following.joined == "and"
        and len(following.items) > 1
        and following.items[1].kind == words.PART
        and following.items[1].value == "shaft"
        and chunk.items[-1].kind == following.items[0].kind == words.BONE
        and words.PART not in chunk.kinds
    )


_LEADING = frozenset(
    {
        words.HEALING,
        words.DISPLACEMENT,
        words.TYPE,
        words.GRADE,
        words.HEDGE,
        words.ANGULATION,
    }
)
_ADJECTIVES = _LEADING | {
    words.NEGATION,
    words.RESTRICTION,
    words.SIDE,
    words.WORD,
    words.DIRECTION,
    words.PART,
    words.FOLLOW_UP,
    words.LOCATION,
    words.PAST,
    words.ABSENT,
}
# Behind these, a colon begins anew.
_TITLED = (words.FRACTURE, words.NORMAL, words.ABNORMALITY, words.VIEW, words.VIEWS, words.EXAM)


def _is_parenthetical(items: Sequence[Item], position: int) -> bool:
    """Whether a "however" stands between two commas."""
    beside = (*items[max(0, position - 1) : position], *items[position + 1 : position + 2])
    return len(beside) == 2 and all(item.value == "," for item in beside)


def _joins_numbers(items: Sequence[Item], position: int) -> bool:
    return (
        0 < position < len(items) - 2
        and items[position - 1].kind == words.NUMBER
        and items[position + 1].kind == words.NUMBER
    )


def other_name(items: Sequence[Item]) -> str:
    """Of a bone that is no region: with its number, and its finger."""
    spoken = [
        " ".join(item.words)
        for item in items
        if item.kind in (words.ORDINAL, words.LOCATION)
        or (item.kind == words.PART and item.value != "distal")
        or (item.kind == words.BONE and item.value == "other")
    ]
    return " ".join(spoken).replace("radius", "radial")


def bones_of(chunk: Chunk) -> list[str]:
    """Keys and names of the bones of a chunk."""
    if words.BONE not in chunk.kinds:
        return []
    named = [item for item in chunk.items if item.kind == words.BONE]
    parts = {item.value for item in chunk.of(words.PART)}
    shaft = "shaft" in parts or "proximal" in parts
    distal = "distal" in parts or words.PHYSIS in chunk.kinds
    found: list[str] = []
    for item in named:
        bone = item.value
        if bone == "other":
            continue
        if bone == "both":
            bone = "distal both" if distal and not shaft else "both"
        if shaft and bone in ("radius", "ulna"):
            bone = f"{bone} shaft"
        elif shaft and bone in ("both", "distal both"):
            bone = "both shafts"
        found.append(bone)
    if len(found) < len(named) and (name := other_name(chunk.items)):
        found.append(f"other:{name}")
    # "Fracture of the styloid process of the distal ulna" is of the styloid alone.
    two = len(found) > 1 and "styloid" in found and "ulna" in found
    if two and len(chunk.of(words.FRACTURE)) < 2:
        pair = [item for item in named if item.value in ("styloid", "ulna")]
        if all(not _apart(chunk.items, a, b) for a, b in itertools.pairwise(pair)):
            found.remove("ulna")
    return found


def _apart(items: list[Item], a: Item, b: Item) -> bool:
    between = items[items.index(a) + 1 : items.index(b)]
    # "Styloid fracture of the ulna."
    return bool(between) and not (
        a.value == "styloid" and len(between) == 1 and between[0].kind == words.FRACTURE
    )


# A suspicion that is called so is none any more.
_REFUTING = frozenset({"confirmed", "supported", "ruled"})
_TAKING_BACK = frozenset(
    {words.NEGATION, words.ABSENT, words.BONE, words.PART, words.SIDE, words.WORD}
)


def _is_dislocated(chunk: Chunk) -> bool:
    """Whether a joint is spoken of: what is dislocated is not broken for that."""
    return any("dislocation" in item.words for item in chunk.of(words.SUBJECT))


def _names_shaft(bones: list[str]) -> bool:
    # A loop, since there is seldom more than one.
    for bone in bones:  # noqa: SIM110
        if bone.endswith(" shaft"):
            return True
    return False


class _Reader:
    """Statements of a sentence, chunk by chunk."""

    __slots__ = (
        *("statements", "_pending", "_current", "_denied", "_denied_all", "_hedged"),
        *("_last_bones", "_about_bones"),
    )

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self._pending: list[Chunk] = []
        self._current: Statement | None = None
        self._denied = False
        self._denied_all = False
        self._hedged = False
        self._last_bones: list[str] = []
        self._about_bones = True

    def read(self, chunks: list[Chunk]) -> list[Statement]:
        for chunk, following in zip(chunks, [*chunks[1:], None], strict=False):
            if chunk.strong:
                if self._pending:
                    self._flush()
                self._current, self._denied, self._hedged = None, False, False
                self._about_bones = True
            if following is not None and self._leads_on(chunk, following):
                following.put_before(chunk.items)
                following.strong, following.joined = chunk.strong, chunk.joined
                continue
            bones = bones_of(chunk)
            if words.NEGATION in chunk.kinds:
                self._denied_all |= any("following" in i.words for i in chunk.of(words.NEGATION))
            self._take(chunk, bones, following)
            self._last_bones = bones or self._last_bones
            self._hedged = words.HEDGE in chunk.kinds
            for item in reversed(chunk.items):
                if item.kind in _SUBJECTS:
                    self._about_bones = item.kind in _BONES
                    break
        if self._pending:
            self._flush()
        return self.statements

    def _leads_on(self, chunk: Chunk, following: Chunk) -> bool:
        """Whether a chunk is the first of several adjectives of what follows."""
        if words.FRACTURE not in following.kinds:
            return False
        if chunk.joined == "(" and following.joined == ")" and self._current is None:
            return words.BONE not in chunk.kinds
        return (
            not following.strong
            and following.joined in (",", "and")
            and (chunk.strong or (chunk.joined == "with" and not self._tells_of_another(following)))
            and not self._pending
            and chunk.kinds <= _ADJECTIVES
            and chunk.has_any(_LEADING)
        )

    def _tells_of_another(self, chunk: Chunk) -> bool:
        """Whether a fracture was named, and the chunk is about another one."""
        return self._current is not None and words.BONE in chunk.kinds

    def _soften(self, chunk: Chunk) -> None:
        """What was only described is suspected, once its name is."""
        current = self._current
        if current is None or current.status != "fracture" or words.FRACTURE not in chunk.kinds:
            return
        if not any(i.kind == words.FRACTURE and "fracture" in i.words for i in current.items):
            current.status = "uncertain"

    def _flush(self) -> None:
        """Bones of which nothing was said but, it may be, details."""
        for before, chunk in zip([None, *self._pending], self._pending, strict=False):
            if before is not None:
                _share_angle(before, chunk)
            self._add("details", bones_of(chunk), chunk)
        self._pending = []

    def _add(self, status: str, bones: list[str], chunk: Chunk) -> Statement:
        start, end = chunk.items[0].start, chunk.items[-1].end
        if self._pending:
            # Items stand in the order of the report.
            start = self._pending[0].items[0].start
            end = max(self._pending[-1].items[-1].end, end)
        statement = Statement(status, list(bones), list(chunk.items), start, end)
        self.statements.append(statement)
        return statement

    def _take(self, chunk: Chunk, bones: list[str], following: Chunk | None) -> None:
        predicate = self._predicate(chunk, bones)
        if predicate is None:
            if self._denied:
                self._deny_too(chunk)
            if words.NEGATION in chunk.kinds or any(
                item.words[:1] in DENYING for item in chunk.of(words.DISPLACEMENT)
            ):
                self._denied = True
            if words.SUBJECT in chunk.kinds and _is_dislocated(chunk):
                return
            if self._takes_back(chunk, bones):
                self._add("no_fracture", bones, chunk)
            elif bones:
                self._take_bones(chunk, bones, following)
            else:
                self._take_details(chunk)
            return
        if chunk.joined == "(" and self._current is not None and not bones:
            self._take_aside(chunk, predicate)
            return
        if chunk.joined == "with" and bones:
            self._flush()
        if predicate == "fracture" and self._hedged and chunk.joined == "(":
            predicate = "uncertain"
        if predicate == "no_fracture" and not bones and self._is_other_kind(chunk):
            return
        if not bones and not self._pending and self._goes_on(chunk, predicate):
            return
        self._state(chunk, bones, predicate)

    def _takes_back(self, chunk: Chunk, bones: list[str]) -> bool:
        """Whether what was just said of one bone is denied of another: "not the radius"."""
        return (
            bool(bones)
            and bool(self.statements)
            and self.statements[-1].status in DETAILED_STATUSES
            and (words.NEGATION in chunk.kinds or words.ABSENT in chunk.kinds)
            and chunk.kinds <= _TAKING_BACK
        )

    def _deny_too(self, chunk: Chunk) -> None:
        """A list that is denied is denied to its end."""
        listed = chunk.joined == "or" or (chunk.joined == "," and chunk.kinds == {words.HEALING})
        if listed and words.NEGATION not in chunk.kinds:
            first = chunk.items[0]
            chunk.put_before([Item(words.NEGATION, "", (), first.start, first.start)])

    def _take_aside(self, chunk: Chunk, predicate: str) -> None:
        """A predicate in parentheses is about the bone before them."""
        if predicate == "no_fracture":
            return
        if self._hedged or predicate == "uncertain":
            self._soften(chunk)
        self._add("details", self._last_bones, chunk)

    def _is_other_kind(self, chunk: Chunk) -> bool:
        """Whether "not a buckle" says only which kind the fracture just named is not."""
        current = self._current
        named = chunk.of(words.FRACTURE)
        return (
            current is not None
            and current.status == "fracture"
            and chunk.joined == ","
            and bool(named)
            and all(item.value and "fracture" not in item.words for item in named)
        )

    def _goes_on(self, chunk: Chunk, predicate: str) -> bool:
        """Whether a predicate without a bone is of the fracture just named; then it is taken."""
        if predicate == "uncertain" and chunk.joined == ",":
            self._soften(chunk)
        current = self._current
        if current is None or not self._same_again(chunk, predicate):
            return False
        current.items.extend(chunk.items)
        current.end = max(item.end for item in chunk.items)
        return True

    def _state(self, chunk: Chunk, bones: list[str], predicate: str) -> None:
        pending: list[str] = []
        if self._pending:
            pending = [bone for part in self._pending for bone in bones_of(part)]
        current = self._current
        after_shaft = current is not None and current.part == "shaft" and chunk.joined == "and"
        shaft = after_shaft or _names_shaft(pending)
        if shaft and words.PART not in chunk.kinds and "distal" not in _spoken(chunk):
            bones = [f"{b} shaft" if b in ("radius", "ulna") else b for b in bones]
        if shaft_here := _names_shaft(bones):
            pending = [f"{b} shaft" if b in ("radius", "ulna") else b for b in pending]
        if not bones and not pending:
            bones = self._bones_before(chunk, predicate)
            shaft_here = _names_shaft(bones)
        statement = self._add(predicate, pending + bones, chunk)
        for part in self._pending:
            statement.items = part.items + statement.items
            if predicate == "fracture" and words.HEDGE in part.kinds:
                # "The ulna has, conceivably, a torus."
                statement.status = "uncertain"
        self._pending = []
        if shaft_here and not pending:
            statement.part = "shaft"
        if predicate == "fracture" and current is not None and chunk.joined == "and":
            _share_healing(current, statement)
        limits = _limits(statement.items)
        if predicate == "no_fracture":
            line = any("line" in item.words for item in chunk.of(words.FRACTURE))
            statement.restriction = "line" if line else _restriction(statement.items, limits)
            vague = set(statement.bones) <= {"forearm", "bones"}
            if vague and (statement.types or words.PART in chunk.kinds):
                statement.restriction = "kind"
        if not chunk.excepted:
            statement.others = "others" in statement.bones or "other" in limits
        self._current = statement

    def _bones_before(self, chunk: Chunk, predicate: str) -> list[str]:
        """Bones named before in the sentence, which a predicate without any is about."""
        limits = _limits(chunk.items) if predicate == "no_fracture" else []
        restricted = "other" in limits or (
            predicate == "no_fracture" and _restriction(chunk.items, limits)
        )
        whole = restricted or chunk.excepted or words.EXAM in chunk.kinds
        return [] if whole else list(self._last_bones)

    def _same_again(self, chunk: Chunk, predicate: str) -> bool:
        """Whether a predicate without a bone speaks of the fracture just named."""
        current = self._current
        return (
            current is not None
            and current.status in ("fracture", "uncertain")
            and predicate == current.status
            and chunk.joined in (",", "and", "with", "(", ")")
            and not chunk.strong
        )

    def _predicate(self, chunk: Chunk, bones: list[str]) -> str | None:
        """Status that the chunk states, or None."""
        if words.FRACTURE in chunk.kinds:
            return self._of_fractures(chunk, bones)
        if words.NORMAL in chunk.kinds and self._speaks_of_bones(chunk):
            normal = chunk.of(words.NORMAL)[0]
            before = any(item.end <= normal.start for item in chunk.of(words.NEGATION))
            self._denied = False
            return None if before else "no_fracture"
        if words.ABNORMALITY in chunk.kinds:
            return self._of_abnormalities(chunk, bones)
        healing = words.HEALING in chunk.kinds and any(
            # "Chronic stress" has nothing healed.
            item.value != "acute" and item.words not in _AGES
            for item in chunk.of(words.HEALING)
        )
        if self._denied and (chunk.joined == "or" or (chunk.joined == "," and not bones)):
            healing = False
        if healing and (bones or self._pending) and words.NEGATION not in chunk.kinds:
            return "uncertain" if words.HEDGE in chunk.kinds else "fracture"
        if bones and chunk.items[-1].words == ("equivocal",) and len(chunk.items) == 2:
            return "uncertain"
        return None

    def _of_abnormalities(self, chunk: Chunk, bones: list[str]) -> str | None:
        first = chunk.of(words.ABNORMALITY)[0]
        before = chunk.items[: chunk.items.index(first)]
        if before and before[-1].value == "tissue":
            return None
        denied = chunk.has_any(_DENIALS) or (self._denied and chunk.joined in ("or", ","))
        if denied:
            self._denied = True
            return "no_fracture"
        return "uncertain" if words.HEDGE in chunk.kinds and bones else None

    def _speaks_of_bones(self, chunk: Chunk) -> bool:
        """Whether it is bones that the chunk calls normal, today."""
        past = (*chunk.of(words.PAST), *chunk.of(words.FOLLOW_UP))
        if any("previous" in item.words for item in past):
            return False
        if self._pending and chunk.joined in ("and", ","):
            return True
        if not chunk.strong and not chunk.has_any(_SUBJECTS):
            if "other" in _limits(chunk.items):
                # "Healed fracture of the radius, otherwise normal."
                return self._about_bones
            fractured = self._current is not None and self._current.status != "no_fracture"
            return self._about_bones and not fractured
        return _normal_bones(chunk)

    def _of_fractures(self, chunk: Chunk, bones: list[str]) -> str:
        first = chunk.of(words.FRACTURE)[0]
        denials = chunk.of(words.NEGATION)
        denied = denials and any(
            item.end <= first.start and not _rather(chunk, item, first) for item in denials
        )
        absent = words.ABSENT in chunk.kinds and any(
            item.start >= first.end for item in chunk.of(words.ABSENT)
        )
        negative = words.NORMAL in chunk.kinds and any(
            "negative" in item.words and item.end <= first.start for item in chunk.of(words.NORMAL)
        )
        # "No evidence of the questioned fracture" leaves nothing to suspect, nor does "I withdraw
        # the suspicion: there is no fracture".
        hedged = words.HEDGE in chunk.kinds and any(
            not any(
                (d.end <= item.start and item.end <= first.start)
                or (item.end <= d.start and d.words[0] == "there")
                for d in denials
            )
            for item in chunk.of(words.HEDGE)
        )
        if not denials and (self._denied or self._denied_all) and not chunk.strong:
            listed = chunk.joined == "," and (self._denied_all or not bones)
            inherits = (chunk.joined == "or" or listed) and not any(
                item.kind in _OF_FRACTURES and item.end <= first.start for item in chunk.items
            )
            denied = denied or inherits
        refuted = absent and (
            words.PAST in chunk.kinds
            or any(not _REFUTING.isdisjoint(item.words) for item in chunk.of(words.ABSENT))
        )
        if hedged and not refuted:
            self._denied = False
            return "uncertain"
        if denied or absent or negative:
            self._denied = True
            return "no_fracture"
        self._denied = False
        return "fracture"

    def _take_details(self, chunk: Chunk) -> None:
        """What is said without a bone and without a predicate."""
        current = self._current
        if self._pending and not chunk.strong:
            self._pending[-1].extend(chunk.items)
            return
        if current is None:
            last = self.statements[-1] if self.statements else None
            if words.HEDGE in chunk.kinds and last and last.bones and last.status == "no_fracture":
                last.status = "uncertain"
            elif last and last.status == "details" and not last.bones and not chunk.strong:
                # "Dorsal angulation of 19, radial angulation of 6 degrees."
                last.items.extend(chunk.items)
                last.end = max(item.end for item in chunk.items)
            else:
                self._add("details", [], chunk)
            return
        if current.status == "no_fracture" and chunk.has_any(_MOVED):
            # "The volar cortex is intact, and there is no displacement."
            self._add("details", [], chunk)
            return
        current.items.extend(chunk.items)
        if current.status != "fracture":
            return
        if words.HEDGE in chunk.kinds and _hedges_before(chunk):
            current.status = "uncertain"
        if words.ABSENT in chunk.kinds and not chunk.has_any(_UNSAID):
            current.status = "no_fracture"

    def _take_bones(self, chunk: Chunk, bones: list[str], following: Chunk | None) -> None:
        """Bones without a predicate belong to that before them, or wait for the one behind."""
        current = self._current
        forward = chunk.joined == "," and _forward(following)
        backward = current is not None and (
            not current.bones or chunk.joined in ("and", "or", "(", ",")
        )
        if current is None or chunk.strong or chunk.joined == "with" or forward or not backward:
            self._pending.append(chunk)
            return
        measured = chunk.has_any(_MEASURED)
        if measured and set(bones) <= set(current.bones) and current.status != "no_fracture":
            self._add("details", bones, chunk)
        elif words.HEDGE in chunk.kinds and current.status in ("fracture", "no_fracture"):
            self._current = self._add("uncertain", bones, chunk)
        else:
            self._extend(current, chunk, bones)

    def _extend(self, current: Statement, chunk: Chunk, bones: list[str]) -> None:
        """One bone more of a list."""
        own_part = words.PART in chunk.kinds or "distal" in _spoken(chunk)
        for bone in bones:
            shaft = current.part == "shaft" and not own_part and bone in ("radius", "ulna")
            current.bones.append(f"{bone} shaft" if shaft else bone)
        current.end = max(item.end for item in chunk.items)
        current.items.extend(item for item in chunk.items if item.kind not in _NAMING)
        current.others = current.others or "others" in bones


def _share_healing(before: Statement, statement: Statement) -> None:
    """ "Callus about the radial and ulnar fractures" is about both."""
    kinds = {item.kind for item in before.items}
    if words.FRACTURE not in kinds and not any(i.kind == words.HEALING for i in statement.items):
        statement.items[:0] = [item for item in before.items if item.kind == words.HEALING]


_ANGLED = frozenset({words.ANGULATION, words.APEX, words.DIRECTION})


def _share_angle(before: Chunk, chunk: Chunk) -> None:
    """ "Dorsal angulation of 22 degrees at the radius and 15 at the ulna" angulates both."""
    if chunk.joined not in ("and", ",") or chunk.has_any((*_ANGLED, words.DISPLACEMENT)):
        return
    if any(unit.value == "degree" for unit in chunk.of(words.UNIT)):
        chunk.put_before([item for item in before.items if item.kind in _ANGLED])


def _spoken(chunk: Chunk) -> set[str]:
    return {word for item in chunk.items for word in item.words}


def _forward(following: Chunk | None) -> bool:
    """Whether a list of bones goes on to a predicate that is still to come."""
    if following is None or following.strong:
        return False
    if words.FRACTURE in following.kinds:
        return following.joined == "," and not following.has_any((words.BONE, words.NEGATION))
    return following.joined in ("and", "or") and words.NORMAL in following.kinds


_AGES = (("old",), ("chronic",), ("remote",))
# What is told of fractures, so that a denial of it is none of them.
_OF_FRACTURES = frozenset({words.DISPLACEMENT, words.ANGULATION, words.SUBJECT, words.HEALING})


def _rather(chunk: Chunk, denial: Item, fracture: Item) -> bool:
    """Whether a denial is of something that stands between it and the fracture."""
    between = [
        item for item in chunk.items if denial.end <= item.start and item.end <= fracture.start
    ]
    return any(
        item.kind in (words.SUBJECT, words.SWELLING, words.CAST, words.HARDWARE)
        or (item.kind in (words.DISPLACEMENT, words.ANGULATION) and "of" in item.words)
        for item in between
    )


def _hedges_before(chunk: Chunk) -> bool:
    return not chunk.has_any(_HEDGED)


_SUBJECTS = frozenset(
    {
        *(words.BONE, words.SUBJECT, words.PHYSIS, words.MINERAL, words.EXAM, words.OSTEOPENIA),
        *(words.SWELLING, words.ANGULATION, words.DISPLACEMENT, words.CAST, words.HARDWARE),
    }
)
# What is called normal where bones are.
_BONES = frozenset({words.BONE, words.EXAM})
_NAMING = frozenset({words.BONE, words.PART})
_DENIALS = frozenset({words.NEGATION, words.ABSENT})
# Of what an absence is, where it is not of the fracture before.
_UNSAID = frozenset({words.SUBJECT, words.PAST, words.FOLLOW_UP})
_MOVED = (words.DISPLACEMENT, words.ANGULATION, words.APEX)
_MEASURED = (words.UNIT, words.DISPLACEMENT, words.APEX, words.ANGULATION)
# What a hedge may be of, where it is not of the fracture before.
_HEDGED = (
    *(words.BONE, words.SUBJECT, words.HEALING),
    *(words.DISPLACEMENT, words.ANGULATION, words.SWELLING),
)


def _normal_bones(chunk: Chunk) -> bool:
    """Whether what is called normal are bones, and not their alignment or the soft tissues."""
    normal = chunk.of(words.NORMAL)[0]
    following = chunk.items[chunk.items.index(normal) + 1 :]
    if following and following[0].kind == words.HEALING:
        return False
    if following and normal.words == ("satisfactory",):
        # A reduction is, or an alignment.
        return False
    subjects = [item for item in chunk.items if item.kind in _SUBJECTS]
    if not subjects:
        return True
    before = [item for item in subjects if item.end <= normal.start]
    after = [item for item in subjects if item.start >= normal.end]
    # One may lie around the other where two words were run together.
    nearest = before[-1] if before else (after or subjects)[0]
    if (
        before
        and after
        and (
            after[0].kind == words.MINERAL
            or (after[0].kind == words.BONE and before[-1].kind != words.BONE)
        )
    ):
        nearest = after[0]
    return nearest.kind in _BONES


def _limits(items: Sequence[Item]) -> list[str]:
    return [item.value for item in items if item.kind == words.RESTRICTION]


def _restriction(items: Sequence[Item], limits: list[str]) -> str:
    """What a denial is restricted to, or nothing; `limits` are those of the items."""
    if "new" in limits or any(i.kind == words.HEALING and i.value == "acute" for i in items):
        return "new"
    return "additional" if "additional" in limits else next(iter(limits), "")


# A sentence without any of these states nothing of bones.
STATED = frozenset({words.BONE, words.FRACTURE, words.NORMAL, words.ABNORMALITY, *DETAILED_KINDS})


def statements_of(items: Sequence[Item]) -> list[Statement]:
    """Of a sentence."""
    return _Reader().read(chunks_of(items))
