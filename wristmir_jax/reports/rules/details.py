"""Details of a fracture from the words around it."""

import itertools
from collections.abc import Sequence, Set
from typing import Any

from wristmir_jax.reports.rules import lexicon as words
from wristmir_jax.reports.rules.items import Item

_GRADES = ("minimal", "mild", "moderate", "severe")
_LIMITS_PERCENT = ((25, "mild"), (50, "moderate"), (1000, "severe"))
_LIMITS_MM = ((2, "minimal"), (4, "mild"), (7, "moderate"), (1000, "severe"))


# Kinds without which a field is not named.
_TYPED = frozenset({words.FRACTURE, words.TYPE, words.DISPLACEMENT, words.NUMBER})
_DISPLACED = frozenset({words.DISPLACEMENT, words.TYPE, words.SHAFT_WIDTH})
_ANGLED = frozenset({words.ANGULATION, words.APEX, words.DIRECTION})
DETAILED_KINDS = _TYPED | _DISPLACED | _ANGLED | {words.HEALING}


def details_of(items: Sequence[Item]) -> dict[str, Any]:
    """Fields of `RegionFindings` that the items name, without the status."""
    kinds = {item.kind for item in items}
    found: dict[str, Any] = {}
    if not kinds.isdisjoint(_TYPED):
        found["fracture_type"] = _type(items, kinds)
    if not kinds.isdisjoint(_DISPLACED):
        found["displacement"] = _displacement(items, kinds)
    if not kinds.isdisjoint(_ANGLED):
        found["angulation_degrees"], found["angulation_direction"] = _angulation(items)
    if words.HEALING in kinds:
        found["healing"] = _healing(items)
    return {name: value for name, value in found.items() if value is not None}


def _type(items: Sequence[Item], kinds: Set[str]) -> str | None:
    types = [item.value for item in items if item.kind == words.FRACTURE and item.value]
    other: set[str] = set()
    if words.TYPE in kinds or words.DISPLACEMENT in kinds:
        for position, item in enumerate(items):
            if item.kind == words.TYPE and not _of_healing(items, position):
                other.add(item.value)
            if _is_off_ended(item):
                other.add("complete")
    graded = [name for name in types if name.startswith("salter_harris") and name[-1].isdigit()]
    if not graded and "salter_harris_unspecified" in types:
        graded = [item.value for item in items if item.kind == words.SALTER_GRADE]
    for name in (*graded, *types):
        bent = name == "plastic_deformation" and ("incomplete" in types or "incomplete" in other)
        if bent or (name == "incomplete" and "plastic_deformation" in types):
            return "greenstick"
        if name not in ("complete", "incomplete"):
            return name
    for name in ("complete", "incomplete"):
        if name in types or name in other:
            return name
    if words.FRACTURE in kinds and (
        (
            words.BONE in kinds
            and any(i.kind == words.BONE and not _PHYSEAL.isdisjoint(i.words) for i in items)
        )
        or (words.PHYSIS in kinds and words.PHYSIS_STATE not in kinds and _through_physis(items))
    ):
        return "salter_harris_unspecified"
    if words.NUMBER in kinds and any(_hundred_percent(items, p) for p in range(len(items))):
        return "complete"
    return None


def _through_physis(items: Sequence[Item]) -> bool:
    """Whether "fracture of the growth plate" is said."""
    place = next(p for p, item in enumerate(items) if item.kind == words.FRACTURE)
    behind = itertools.dropwhile(lambda i: i.kind in _BETWEEN, items[place + 1 :])
    return next((item.kind for item in behind), "") == words.PHYSIS


_BETWEEN = frozenset({words.PART, words.BONE, words.SIDE})


def _of_healing(items: Sequence[Item], position: int) -> bool:
    """Whether it is the healing, or a fusion, that is complete."""
    beside = (*items[max(0, position - 1) : position], *items[position + 1 : position + 2])
    return any(item.kind in (words.HEALING, words.PHYSIS_STATE) for item in beside)


def _is_off_ended(item: Item) -> bool:
    return item.kind in (words.TYPE, words.DISPLACEMENT) and "off" in item.words


_PHYSEAL = frozenset({"physis", "epiphysis", "growth"})


def _hundred_percent(items: Sequence[Item], position: int) -> bool:
    item = items[position]
    return (
        item.kind == words.NUMBER
        and item.words[0] == "100"
        and position + 1 < len(items)
        and items[position + 1].value == "percent"
    )


def _displacement(items: Sequence[Item], kinds: Set[str]) -> str | None:
    earlier = not kinds.isdisjoint(_EARLIER)
    found: list[str] = []
    for position, item in enumerate(items):
        if item.kind not in _DISPLACED:
            continue
        if item.kind == words.SHAFT_WIDTH:
            grade = _grade_before(items, position)
            if grade:
                found.append(grade)
        apart = item.kind == words.TYPE and "displaced" in item.words
        if apart or _is_off_ended(item):
            found.append("severe")
        if item.kind != words.DISPLACEMENT or _of_fat(items, position):
            continue
        denied = _denied(items, position)
        if earlier and _is_of_the_past(items, position, denied):
            continue
        if denied:
            found.append("none")
        elif item.value:
            found.append(item.value)
        else:
            found.append(_amount(items, position))
    stated = [value for value in found if value != "unspecified"]
    for value in ("severe", "moderate", "mild", "minimal", "none"):
        if value in stated:
            return value
    return "unspecified" if found else None


def _denied(items: Sequence[Item], position: int) -> bool:
    """Whether one of the three concepts before is a denial."""
    for item in reversed(items[max(0, position - 3) : position]):
        if item.kind == words.NEGATION:
            return True
        if item.kind not in _DENIED_TOGETHER:
            return False
    return False


_DENIED_TOGETHER = frozenset(
    {
        *(words.RESTRICTION, words.GRADE, words.FOLLOW_UP, words.DIRECTION),
        *(words.ANGULATION, words.DISPLACEMENT),
    }
)


def _of_fat(items: Sequence[Item], position: int) -> bool:
    """Whether it is a fat pad that is displaced."""
    before = items[max(0, position - 2) : position]
    return any(not _FAT.isdisjoint(item.words) for item in before)


_FAT = frozenset({"fat", "quadratus", "pronator"})


_EARLIER = frozenset({words.FOLLOW_UP, words.PAST})


def _is_of_the_past(items: Sequence[Item], position: int, denied: bool) -> bool:
    """Whether a displacement was there before, or is denied only since an earlier film, which may
    leave a fracture as displaced as it was."""
    after = items[position + 1 : position + 2]
    if any(item.kind == words.PAST and "before" in item.words for item in after):
        return True
    beside = (*items[max(0, position - 1) : position], *after)
    return denied and any(item.kind in _EARLIER for item in beside)


def _grade_before(items: Sequence[Item], position: int) -> str:
    for item in reversed(items[max(0, position - 4) : position]):
        if item.kind == words.GRADE:
            return item.value
        if item.kind in _ENDING_GRADES or (item.kind == words.DISPLACEMENT and item.value):
            return ""
    return ""


_ENDING_GRADES = frozenset({words.ANGULATION, words.APEX, words.FRACTURE})
_ENDING_AMOUNTS = _ENDING_GRADES | {words.BONE, words.SWELLING}
_ENDING_MEASURES = _ENDING_GRADES | {words.BONE}


def _amount(items: Sequence[Item], position: int) -> str:
    before = _grade_before(items, position)
    measured = _measure(items, position)
    if measured:
        return measured
    if before:
        return before
    of = "of" in items[position].words
    for offset, item in enumerate(items[position + 1 : position + 6]):
        if of and item.kind in (words.BONE, words.FRACTURE):
            continue  # "Displacement of the radius fracture is moderate."
        if item.kind in _ENDING_AMOUNTS:
            break
        if item.kind == words.GRADE:
            following = items[position + 2 + offset : position + 3 + offset]
            if not following or following[0].kind not in (
                words.ANGULATION,
                words.SWELLING,
                words.APEX,
            ):
                return item.value
            break
    return "unspecified"


def _measure(items: Sequence[Item], position: int) -> str:
    """Displacement in millimetres or per cent beside it."""
    near = list(items[position + 1 : position + 7])
    for place, item in enumerate(near):
        if item.kind in _ENDING_MEASURES:
            near = near[:place]
            break
    for window in (near, items[max(0, position - 5) : position]):
        for number, unit in itertools.pairwise(window):
            if number.kind != words.NUMBER or unit.kind != words.UNIT:
                continue
            limits = {"percent": _LIMITS_PERCENT, "mm": _LIMITS_MM, "cm": _LIMITS_MM}.get(
                unit.value
            )
            value = _number(number)
            if limits is None or value is None:
                continue
            value *= 10 if unit.value == "cm" else 1
            return next(grade for limit, grade in limits if value <= limit)
    return ""


def _number(item: Item) -> float | None:
    try:
        return float(item.words[0])
    except ValueError:
        return None


# Of what a bone can be angulated by; larger ones are of something else.
_LARGEST_ANGLE = 180.0


_ANGULATED = frozenset({words.ANGULATION, words.APEX})
_TILTED = frozenset({"angulated", "tilted"})


def _angulation(items: Sequence[Item]) -> tuple[float | None, str | None]:
    named = [
        position
        for position, item in enumerate(items)
        if item.kind in _ANGULATED
        or (item.kind == words.DIRECTION and not _TILTED.isdisjoint(item.words))
        or (item.value == "degree" and _beside(items, position, words.DIRECTION))
    ]
    if not named:
        return None, None
    measured = _degrees(items)
    if measured:
        current = [entry for entry in measured if not entry[2]] or []
        if not current:
            return None, None
        degrees, position, _ = max(current)
        return degrees, _direction_near(items, position, named)
    if any(_denied(items, position) for position in named):
        return None, None
    for position in named:
        if _is_normal(items, position):
            continue
        direction = _direction_beside(items, position)
        if direction:
            return None, direction
    return None, None


def _beside(items: Sequence[Item], position: int, kind: str) -> bool:
    beside = [*items[max(0, position - 2) : position], *items[position + 1 : position + 2]]
    return any(item.kind == kind for item in beside)


def _is_normal(items: Sequence[Item], position: int) -> bool:
    beside = [*items[max(0, position - 2) : position], *items[position + 1 : position + 3]]
    return any(item.kind == words.NORMAL for item in beside)


def _degrees(items: Sequence[Item]) -> list[tuple[float, int, bool]]:
    """(degrees, position, of an earlier exam), a range by its midpoint."""
    found: list[tuple[float, int, bool]] = []
    for position, item in enumerate(items):
        if item.kind != words.UNIT or item.value != "degree" or not position:
            continue
        before = items[position - 1]
        if before.kind != words.NUMBER or (value := _number(before)) is None:
            continue
        first = position - 1
        if (
            position >= 3
            and items[position - 2].value == "to"
            and items[position - 3].kind == words.NUMBER
        ):
            lower = _number(items[position - 3])
            past = (
                position >= 4
                and items[position - 4].kind == words.PAST
                and "from" in items[position - 4].words
            )
            if lower is not None and not past:
                value, first = (value + lower) / 2, position - 3
        past = _is_past(items, first, position)
        if found and first >= 2 and items[first - 1].value == "to" and first - 2 == found[-1][1]:
            # "30 degrees to 5 degrees": the first was.
            found[-1] = (*found[-1][:2], True)
        found.append((value, position, past))
        if past and first >= 2 and items[first - 2].kind == words.NUMBER:
            # "Now 10, previously 31 degrees."
            now = _number(items[first - 2])
            if now is not None:
                found.append((now, position, False))
    return [entry for entry in found if entry[0] <= _LARGEST_ANGLE]


def _is_past(items: Sequence[Item], first: int, last: int) -> bool:
    for item in reversed(items[max(0, first - 2) : first]):
        if item.kind in (words.PAST, words.FOLLOW_UP) and any(word in _PAST for word in item.words):
            return True
        if item.kind in (words.ANGULATION, words.NUMBER, words.APEX, words.POSITION):
            break
    # "31 degrees previously", but not "10 degrees, previously 31".
    after = [i for i in items[last + 1 : last + 5] if i.kind not in _ANGLED][:2]
    return (
        bool(after)
        and after[0].kind in (words.PAST, words.FOLLOW_UP)
        and not _NO_LONGER_PAST & set(after[0].words)
        and (after[0].kind == words.PAST or "previous" in after[0].words)
        and not (len(after) > 1 and after[1].kind == words.NUMBER)
    )


_NO_LONGER_PAST = {
    *("from", "was", "were", "compare", "relative", "than"),
    *("symmetrical", "symmetric", "identical", "same", "matches"),
}
_PAST = frozenset(
    ["previous", "was", "were", "from", "last", "formerly", "originally", "before", "initial"]
)


def _direction_near(items: Sequence[Item], position: int, named: Sequence[int]) -> str | None:
    """Of the angulation that was measured at `position`."""
    nearest: tuple[int, str] | None = None
    for place, item in enumerate(items):
        if item.kind not in (words.DIRECTION, words.APEX) or _of_displacement(items, place):
            continue
        if place > position and _of_next_measure(items, position, place):
            continue
        # What follows a number is said of it sooner than what goes before.
        distance = place - position if place > position else 2 * (position - place)
        if any(position < other < place for other, _ in _units(items)):
            continue
        if item.kind == words.APEX:
            distance -= 1
        if nearest is None or distance < nearest[0]:
            nearest = (distance, item.value)
    return nearest[1] if nearest else None


def _of_next_measure(items: Sequence[Item], position: int, place: int) -> bool:
    """Whether a direction behind a measure is of the next one: "dorsal angulation of 19 degrees,
    radial angulation of 6 degrees"."""
    units = [other for other, _ in _units(items)]
    if not any(other > place for other in units):
        return False
    first = max((other for other in units if other < position), default=-1) + 1
    named_before = any(i.kind in (words.DIRECTION, words.APEX) for i in items[first:position])
    return named_before and any(
        item.kind in (words.ANGULATION, words.APEX) or "angulated" in item.words
        for item in items[place : place + 2]
    )


def _units(items: Sequence[Item]) -> list[tuple[int, Item]]:
    return [
        (p, item)
        for p, item in enumerate(items)
        if item.kind == words.UNIT and item.value == "degree"
    ]


def _direction_beside(items: Sequence[Item], position: int) -> str | None:
    item = items[position]
    if item.kind in (words.APEX, words.DIRECTION):
        return item.value
    for place in (position - 1, position + 1, position - 2, position + 2):
        if 0 <= place < len(items) and items[place].kind in (words.DIRECTION, words.APEX):
            if items[place].kind == words.APEX or not _of_displacement(items, place):
                return items[place].value
            if place < position and all(
                between.kind in (words.DISPLACEMENT, words.MARK)
                for between in items[place + 1 : position]
            ):
                return items[place].value
    return None


def _of_displacement(items: Sequence[Item], position: int) -> bool:
    after = items[position + 1 : position + 2]
    before = items[max(0, position - 1) : position]
    if before and before[0].value == "degree":
        return False
    if "displaced" in items[position].words:
        return True
    return bool(after and after[0].kind == words.DISPLACEMENT) or bool(
        before
        and before[0].kind == words.DISPLACEMENT
        and not (after and after[0].kind == words.ANGULATION)
    )


def _healing(items: Sequence[Item]) -> str | None:
    stages: list[str] = []
    for position, item in enumerate(items):
        if item.kind != words.HEALING or _denied(items, position):
            continue
        if item.value == "acute":
            following = items[position + 1 : position + 6]
            if "fracture" not in item.words and not any(
                n.kind == words.FRACTURE for n in following
            ):
                continue
        stages.append(item.value)
    if "ununited" in stages:
        return None
    for stage in ("healing", "healed", "acute"):
        if stage in stages:
            return stage
    return None
