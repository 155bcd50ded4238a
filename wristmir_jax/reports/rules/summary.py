"""The findings of a report from its statements."""

import dataclasses
import functools
import operator
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.reports.findings import DETAILED_STATUSES, Findings, RegionFindings
from wristmir_jax.reports.mining import Evidence, Mined
from wristmir_jax.reports.rules import lexicon as words
from wristmir_jax.reports.rules import text as texts
from wristmir_jax.reports.rules.items import DENYING, UNTOLD, Item, reported
from wristmir_jax.reports.rules.statements import STATED, Statement, statements_of

RADIUS, ULNA, STYLOID = REGION_NAMES
# Bones of the lexicon -> regions that a statement about them speaks of.
REGIONS_OF_BONE: dict[str, tuple[str, ...]] = {
    "radius": (RADIUS,),
    "ulna": (ULNA,),
    "styloid": (STYLOID,),
    "distal both": (RADIUS, ULNA),
}
# Of those that are whole wrists, a denial speaks of all regions.
_WHOLE = {"wrist", "bones", "others", "forearm"}
_SHAFTS = {
    "radius shaft": ("radial shaft",),
    "ulna shaft": ("ulnar shaft",),
    "both shafts": ("radial shaft", "ulnar shaft"),
}


class Reading:
    """What the words of a sentence mean, wherever it stands: departments say the same again and
    again.

    Attributes:
        items: of the sentence.
        concepts: kinds of its items: all that most questions are about.
        statements: that it makes, once somebody has asked for them.
    """

    __slots__ = ("concepts", "items", "statements")

    def __init__(self, items: list[Item]):
        self.items = items
        self.concepts = {item.kind for item in items}
        self.statements: list[Statement] | None = None


@dataclasses.dataclass(slots=True)
class Sentence:
    """A sentence with what it stands under; `own` is whether it names a side itself.

    `reading` is of its words, but its items may be a part of those, or more; its `tokens` may
    go on with those of another.
    """

    kind: int
    items: list[Item]
    reading: Reading
    tokens: texts.Tokens
    side: str = ""
    part: str = ""
    own: bool = False

    concepts: set[str] = dataclasses.field(init=False)
    statements: Sequence[Statement] = dataclasses.field(default=(), init=False)

    def __post_init__(self) -> None:
        whole = self.items is self.reading.items
        self.concepts = self.reading.concepts if whole else {item.kind for item in self.items}

    @property
    def sides(self) -> set[str]:
        """That it names itself."""
        return {item.value for item in self.items if item.kind == words.SIDE}

    @property
    def kept(self) -> list[Item]:
        """Its items without what the writer was told, asks for, or advises."""
        return self.items if self.concepts.isdisjoint(UNTOLD) else reported(self.items)

    def state(self) -> None:
        """Find the statements that it makes of a wrist, which headers and histories do not."""
        if self.kind < texts.BODY or self.concepts.isdisjoint(STATED):
            return
        whole = self.items is self.reading.items
        read = self.reading.statements if whole else None
        if read is None:
            read = statements_of(self.kept)
            if whole:
                self.reading.statements = read
        self.statements = [s.placed(self.kind, self.tokens) for s in read]


def mentions(statement: Statement) -> tuple[list[str], list[str]]:
    """Regions, and names of other bones, that a statement is about."""
    regions: list[str] = []
    names: list[str] = []
    for bone in statement.bones:
        for region in REGIONS_OF_BONE.get(bone, ()):
            if region not in regions:
                regions.append(region)
        if bone == "both":
            if statement.status == "no_fracture":
                regions.extend((RADIUS, ULNA))
            else:
                names.extend(("radial shaft", "ulnar shaft"))
        names.extend(_SHAFTS.get(bone, ()))
        if bone.startswith("other:"):
            names.append(bone.removeprefix("other:"))
    return regions, names


class Summary:
    """Collects what is said of one side, and decides where statements disagree."""

    def __init__(self, side: str, follow_up: bool, wrist: bool):
        self._side, self._follow_up, self._wrist = side, follow_up, wrist
        self._explicit: defaultdict[str, list[Statement]] = defaultdict(list)
        self._details: defaultdict[str, list[Statement]] = defaultdict(list)
        self._whole: list[Statement] = []
        self._others: dict[str, Statement] = {}
        self._focus: list[str] = []
        self._angled: list[str] = []
        self._topic: list[str] = []
        self._implied: dict[str, Statement] = {}
        self.flags: dict[str, tuple[float, Any]] = {}
        self.views: set[str] = set()

    def add(self, statement: Statement) -> None:
        regions, names = mentions(statement)
        if statement.bones == ["both"] and all(self._explicit[r] for r in (RADIUS, ULNA)):
            # "Periosteal reaction of both bones", of which distal fractures were named.
            regions, names = [RADIUS, ULNA], []
        if statement.status == "details":
            self._add_details(statement, regions, names)
        elif statement.status in DETAILED_STATUSES:
            self._add_positive(statement, regions, names)
        else:
            self._add_denial(statement, regions, names)

    def _add_denial(self, statement: Statement, regions: list[str], names: list[str]) -> None:
        for name in names:
            known = self._others.get(name)
            if known is not None and known.kind < statement.kind:
                del self._others[name]
        for region in regions:
            self._explicit[region].append(statement)
        whole = not statement.bones or not _WHOLE.isdisjoint(statement.bones)
        if whole and not names and not regions:
            self._whole.append(statement)

    def _add_positive(self, statement: Statement, regions: list[str], names: list[str]) -> None:
        if statement.status == "fracture":
            for name in names:
                self._others.setdefault(name, statement)
        if not regions and not names:
            if statement.bones in ([], ["wrist"]) and "other" in statement.types:
                regions = [RADIUS]
            elif statement.bones in ([], ["bones"], ["wrist"]) and (self._focus or self._topic):
                shaft = any(i.kind == words.PART and i.value == "shaft" for i in statement.items)
                # Where only other bones are broken, "boxer's fracture" is of them.
                if shaft or (self._others and not any(self._explicit.values())):
                    return
                regions = self._focus or self._topic
                here = any("here" in item.words for item in statement.items)
                if statement.status == "uncertain" and not statement.types and not here:
                    return
        for region in regions:
            self._explicit[region].append(statement)
            self._details[region].append(statement)
        if regions or names:
            self._focus = regions
            self._angled = [region for region in regions if region != STYLOID] or self._angled

    def _add_details(self, statement: Statement, regions: list[str], names: list[str]) -> None:
        if names and not regions:
            return
        if regions and not self._focus:
            self._topic = regions
        targets = regions or self._corrected(statement) or self._focus or self._topic
        if statement.items[0].words[:1] == ("neither",) and not regions:
            targets = list(self._details)
        if not regions and STYLOID in targets and _is_angled(statement):
            # A styloid does not tilt.
            targets = self._angled
        for region in targets:
            self._details[region].append(statement)
        if regions and _is_deformed(statement):
            for region in regions:
                self._implied.setdefault(region, statement)

    def _corrected(self, statement: Statement) -> list[str]:
        """Regions of which an addendum names again what the report has named."""
        if statement.kind != texts.ADDENDUM:
            return []
        fields = statement.details.keys()
        return [
            region
            for region, told in self._details.items()
            if any(not fields.isdisjoint(s.details) for s in told)
        ]

    def rename(self, wrong: str, right: str) -> None:
        """Take the fracture of one region for one of another: an addendum says so.

        Where only the other one has a fracture, nothing was named by mistake.
        """
        broken, other = (
            any(s.status in DETAILED_STATUSES for s in self._explicit[region])
            for region in (wrong, right)
        )
        if other or not broken:
            return
        for told in (self._explicit, self._details):
            told[right], told[wrong] = told[wrong], []

    def _decide(self, region: str, covering: Sequence[Statement]) -> tuple[str, Statement | None]:
        """Status of a region, and the statement that it rests on.

        Args:
            region: its name.
            covering: denials that speak of bones that nobody named.
        """
        stated = self._explicit[region]
        if stated:
            added = [s for s in stated if s.kind == texts.ADDENDUM]
            basis = added[-1] if added else min(stated, key=_rank)
            if basis.status in DETAILED_STATUSES and self._is_overruled(region, basis):
                return "no_fracture", None
            return basis.status, basis
        implied = self._implied.get(region)
        if implied and not any(not s.others and not s.restriction for s in covering):
            return "fracture", implied
        return ("no_fracture" if covering else "not_mentioned"), None

    def _is_overruled(self, region: str, basis: Statement) -> bool:
        """Whether a later section denies all fractures."""
        above = [s for s in self._whole if s.kind > basis.kind and not s.others]
        if any(s.kind == texts.ADDENDUM and not s.restriction for s in above):
            return True
        if not above or self._follow_up or self._is_healed(region):
            return False
        return basis.status == "uncertain" or not above[-1].restriction

    def _is_healed(self, region: str) -> bool:
        return any(
            item.kind == words.HEALING and item.value != "acute"
            for statement in self._details[region]
            for item in statement.items
        )

    def _covers(self, statement: Statement) -> bool:
        """Whether a denial of everything speaks of bones that nobody named."""
        if statement.restriction == "kind":
            return False
        if statement.restriction == "line":
            return not any(
                s.status in DETAILED_STATUSES for given in self._explicit.values() for s in given
            )
        return statement.restriction not in ("new", "additional") or not self._follow_up

    def findings(self, exam_id: str) -> Mined:
        regions: dict[str, RegionFindings] = {}
        evidence: list[Evidence] = []
        covering = [statement for statement in self._whole if self._covers(statement)]
        for region in REGION_NAMES:
            status, basis = "not_mentioned", None
            if self._wrist:
                status, basis = self._decide(region, covering)
            if status in DETAILED_STATUSES:
                regions[region] = _region(status, **self._fields(region))
                if basis is not None:
                    evidence.append(Evidence(f"regions.{region}.status", *basis.place))
            else:
                regions[region] = _region(status)
        for statement in self._others.values():
            evidence.append(Evidence("other_fractures", *statement.place))
        flags = {name: value for name, (_, value) in self.flags.items()}
        findings = Findings(
            exam_id=exam_id,
            laterality=self._side or "unknown",  # pyright: ignore[reportArgumentType]
            views=tuple(sorted(self.views)),  # pyright: ignore[reportArgumentType]
            regions=regions,
            other_fractures=tuple(self._others),
            **flags,
        )
        return Mined(findings, tuple(evidence))

    def _fields(self, region: str) -> dict[str, Any]:
        """Details of a fracture; those of later sections replace the others."""
        fields: dict[str, Any] = {}
        for statement in sorted(self._details[region], key=_SECTION):
            found = dict(statement.details)
            if not fields:
                fields = found
                continue
            if found.get("displacement") == "unspecified" and fields.get("displacement"):
                del found["displacement"]
            if found.get("fracture_type") == "incomplete" and "fracture_type" in fields:
                # What was named before says which incomplete fracture it is.
                del found["fracture_type"]
            bowed = found.get("fracture_type") == "plastic_deformation"
            if bowed and fields.get("fracture_type") == "incomplete":
                found["fracture_type"] = "greenstick"
            vague = found.get("fracture_type") == "salter_harris_unspecified"
            if vague and str(fields.get("fracture_type", "")).startswith("salter"):
                del found["fracture_type"]
            fields |= found
        return fields

    def flag(self, name: str, kind: float, value: Any) -> None:
        """Set an exam-level field, where nothing that counts more has set it."""
        known = self.flags.get(name)
        if known is None or kind > known[0] or (kind == known[0] and value is True):
            self.flags[name] = (kind, value)


@functools.lru_cache(maxsize=4096)
def _region(status: str, **details: Any) -> RegionFindings:
    """Findings are frozen, and what is said of regions is often the same: one does for all."""
    return RegionFindings(status=status, **details)  # pyright: ignore[reportArgumentType]


_SECTION = operator.attrgetter("kind")
_CERTAINTY = {"fracture": 0, "uncertain": 1, "no_fracture": 2}


def _rank(statement: Statement) -> tuple[int, int]:
    """Of what is said of a region: the later section decides, then the graver status."""
    return -statement.kind, _CERTAINTY[statement.status]


def _is_angled(statement: Statement) -> bool:
    return any(item.kind in (words.ANGULATION, words.APEX) for item in statement.items)


def _is_deformed(statement: Statement) -> bool:
    """Whether a bone is called displaced or angulated, which only a fracture does."""
    found = statement.details
    displaced = found.get("displacement", "none") != "none" and not any(
        # The head of the ulna is displaced where the joint is torn.
        item.kind in (words.SUBJECT, words.NORMAL) or "head" in item.words
        for item in statement.items
    )
    return displaced or "angulation_degrees" in found


FLAG_KINDS = {
    words.CAST,
    words.HARDWARE,
    words.OSTEOPENIA,
    words.MINERAL,
    words.SWELLING,
    words.SUBJECT,
    words.PHYSIS_STATE,
}


def read_flags(summary: Summary, sentence: Sentence) -> None:
    """Exam-level fields of a sentence."""
    kind, kept = sentence.kind, sentence.kept
    kinds = {item.kind for item in kept}
    gone, over = words.REMOVED in kinds, words.RESOLVED in kinds
    for position, item in enumerate(kept):
        if item.kind not in FLAG_KINDS:
            continue
        before = kept[max(0, position - 4) : position]
        denied = _denied_flag(kept, position)
        off = gone or _is_absent(kept, position)
        if item.kind == words.CAST:
            off = off or item.value == "no"
            summary.flag("cast", kind + 0.5 * off, not (denied or off))
        elif item.kind == words.HARDWARE:
            growing = "plate" in item.words and before and before[-1].kind == words.PHYSIS
            if not growing and not _is_title(kept, position):
                summary.flag("hardware", kind + 0.5 * off, not (denied or off))
        elif item.kind in (words.OSTEOPENIA, words.SWELLING):
            name = "osteopenia" if item.kind == words.OSTEOPENIA else "soft_tissue_swelling"
            summary.flag(name, kind, not (denied or over))
        elif item.kind == words.MINERAL:
            _density(summary, kind, [*before[-2:], *kept[position + 1 : position + 3]])
        elif item.kind == words.PHYSIS_STATE:
            _physis(summary, kind, kept, position, denied)
        elif item.value == "tissue" and (
            _called_normal(kept, position) or (denied and _without_fault(kept, position))
        ):
            summary.flag("soft_tissue_swelling", kind, False)


def _is_title(items: Sequence[Item], position: int) -> bool:
    """Whether hardware only stands in a title, under which a cast is spoken of."""
    following = [item.kind for item in items[position + 1 : position + 5]]
    return following[:1] == [words.MARK] and words.CAST in following


def _without_fault(items: Sequence[Item], position: int) -> bool:
    """Whether an abnormality of what stands at a position is spoken of, and nothing else."""
    return any(item.kind == words.ABNORMALITY for item in items[position + 1 : position + 2])


def _density(summary: Summary, kind: int, near: Sequence[Item]) -> None:
    """What is said of the mineralisation beside it."""
    kinds = {item.kind for item in near}
    if words.NORMAL in kinds:
        summary.flag("osteopenia", kind, False)
    elif words.LOW in kinds:
        summary.flag("osteopenia", kind, True)


def _denied_flag(items: Sequence[Item], position: int) -> bool:
    """Whether a denial stands shortly before, or at the head of the list that it is in."""
    for distance, item in enumerate(reversed(items[:position]), start=1):
        if item.kind == words.NEGATION or item.words[:1] in DENYING:
            return True
        if distance >= _NEAR and item.kind not in _LISTED:
            return False
    return False


_NEAR = 4
# What may stand between a denial and the last of what is denied: "no A, B, C or D".
_LISTED = FLAG_KINDS | {words.MARK, words.FRACTURE, words.ABNORMALITY, words.RESTRICTION}


def _is_absent(items: Sequence[Item], position: int) -> bool:
    return any(item.kind == words.ABSENT for item in items[position + 1 : position + 3])


def _called_normal(items: Sequence[Item], position: int) -> bool:
    """Whether the next thing said behind a subject, or right before it, is that it is normal."""
    before = items[max(0, position - 1) : position]
    if before and before[0].kind == words.NORMAL:
        return True
    for item in items[position + 1 : position + 5]:
        if item.kind == words.NORMAL:
            return True
        if item.kind in (words.SWELLING, words.FRACTURE, words.NEGATION):
            return False
    return False


_PLATE = frozenset({"physis", "growth"})


def _physis(
    summary: Summary, kind: int, items: Sequence[Item], position: int, denied: bool
) -> None:
    item = items[position]
    alone = any(word.startswith(("skelet", "immature", "mature")) for word in item.words)
    near = [*items[max(0, position - 4) : position], *items[position + 1 : position + 4]]
    physis = any(
        other.kind == words.PHYSIS
        or (other.kind == words.BONE and not _PLATE.isdisjoint(other.words))
        or "epiphysis" in other.words
        for other in near
    )
    if not (alone or physis) or _is_absent(items, position):
        return
    if any(other.kind == words.FRACTURE and "salter" in other.words for other in near):
        return
    value = item.value
    if denied:
        value = "open" if value == "closed" else value
        if value == "open" and item.value == "open":
            return
    summary.flag("physis", kind, value)
