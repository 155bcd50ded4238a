"""`Findings` -> captions: one for the wrist and one for each bone region.

The canonical captions are the captions of record: they name the groups of positives and serve
evaluation: findings that are equal apart from exam_id, laterality and views have equal canonical
captions, all others have different ones. `phrase` draws other wordings of the same for training;
they say neither more nor less. Side and view are never in a caption: they are fields of their own,
or the same fracture on the other side would be a negative.

The templates are ours; the WristMIR paper (arXiv 2602.07872) does not publish its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from wristmir_jax import anatomy
from wristmir_jax.reports import wording
from wristmir_jax.reports.findings import Findings, RegionFindings

# Picks one of several wordings; the canonical caption always takes the first.
_Pick = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Captions:
    """The captions of one exam.

    Attributes:
        global_caption: of the whole wrist; "" where the findings hold nothing.
        regions: region name -> caption, for every region; "" where it was not mentioned.
    """

    global_caption: str
    regions: dict[str, str]


def canonical_captions(findings: Findings) -> Captions:
    """The captions of record: equal for equal findings, and only for those."""
    regions = {
        name: _sentence(_canonical_region(name, region)) if region.status != "not_mentioned" else ""
        for name, region in findings.regions.items()
    }
    sentences = [
        regions[name]
        for name, region in findings.regions.items()
        if region.status in ("fracture", "uncertain")
    ]
    intact = _regions_with(findings, "no_fracture")
    if intact:
        sentences.append(_sentence(_no_fracture(intact, _first)))
    if findings.other_fractures:
        # A list of its own with commas only, since no name holds a comma.
        sentences.append(_sentence(_other_list(findings.other_fractures, _first)))
    sentences += _exam_sentences(findings, _first)
    return Captions(" ".join(sentences), regions)


def phrase(findings: Findings, rng: np.random.Generator) -> Captions:
    """A wording of the captions drawn by `rng`: synonyms, spelling and order of clauses vary.

    Every fact of the findings is said, nothing else is, and what is uncertain stays hedged.
    """

    def pick(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    def of_region(name: str) -> str:
        region = findings.regions[name]
        if region.status == "not_mentioned":
            return ""
        if region.status == "no_fracture":
            return _sentence(_no_fracture([name], pick))
        return _sentence(_phrase_fracture(name, region, pick, rng))

    regions = {name: of_region(name) for name in findings.regions}

    found = [
        of_region(name)
        for name, region in findings.regions.items()
        if region.status in ("fracture", "uncertain")
    ]
    intact = _regions_with(findings, "no_fracture")
    if len(intact) == len(findings.regions) and not findings.other_fractures and rng.random() < 0.5:
        found.append(_sentence(pick(wording.ALL_NEGATIVE_SENTENCES)))
    elif intact and rng.random() < 0.5:
        found.append(_sentence(_no_fracture(_shuffled(intact, rng), pick)))
    else:
        found += [of_region(name) for name in intact]
    if findings.other_fractures:
        found.append(_sentence(_other(_shuffled(findings.other_fractures, rng), pick)))
    rest = _exam_sentences(findings, pick)
    if rng.random() < 0.5:
        sentences = _shuffled(found, rng) + _shuffled(rest, rng)
    else:
        sentences = _shuffled(found + rest, rng)
    return Captions(" ".join(sentences), regions)


def caption_group(caption: str) -> int:
    """The group of positives that a canonical caption stands for: 63 bits of its BLAKE2b."""
    digest = blake2b(caption.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def side_prefix(laterality: str) -> str:
    """What stands before a caption where a person reads it: "Left wrist: ", or "" if unknown."""
    if laterality not in anatomy.SIDES:
        anatomy.code(anatomy.SIDES, laterality, "laterality")
    return "" if laterality == "unknown" else f"{laterality.capitalize()} wrist: "


def _first(options: Sequence[str]) -> str:
    return options[0]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _shuffled(items: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [items[int(i)] for i in rng.permutation(len(items))]


def _regions_with(findings: Findings, status: str) -> list[str]:
    return [name for name, region in findings.regions.items() if region.status == status]


def _listing(words: Sequence[str], conjunction: str) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def _number(degrees: float) -> str:
    """The shortest decimal that reads back as the same float, so that no two numbers share one."""
    return repr(float(degrees)).removesuffix(".0")


def _with_article(noun: str) -> str:
    if noun.endswith(wording.MASS_NOUNS):
        return noun
    return f"{'an' if noun[0] in 'aeiou' or noun.startswith('SH') else 'a'} {noun}"


def _angulation(region: RegionFindings, pick: _Pick) -> str:
    degrees, direction = region.angulation_degrees, region.angulation_direction
    if degrees is None and direction is None:
        return ""
    if direction is None:
        templates = wording.ANGULATION_DEGREES
    elif degrees is None:
        templates = wording.ANGULATION_DIRECTION
    else:
        templates = wording.ANGULATION_BOTH
    return pick(templates).format(
        n="" if degrees is None else _number(degrees),
        direction=direction,
        adverb=wording.ADVERBS.get(direction or ""),
        apex=wording.APEX.get(direction or ""),
    )


def _fill(template: str, adjectives: Sequence[str], noun: str, bone: str, tail: str) -> str:
    described = " ".join([*adjectives, noun])
    return template.format(
        noun=described,
        a_noun=_with_article(described),
        bone=bone,
        tail=f" {tail}" if tail else "",
    )


def _canonical_region(name: str, region: RegionFindings) -> str:
    if region.status == "no_fracture":
        return _no_fracture([name], _first)
    adjectives = []
    if region.healing:
        adjectives.append(_first(wording.HEALING_ADJECTIVES[region.healing]))
    if region.displacement:
        adjectives.append(_first(wording.DISPLACEMENT_ADJECTIVES[region.displacement]))
    uncertain = region.status == "uncertain"
    return _fill(
        _first(wording.UNCERTAIN_SENTENCES if uncertain else wording.FRACTURE_SENTENCES),
        adjectives,
        _first(wording.FRACTURE_NOUNS[region.fracture_type]),
        anatomy.region(name).label,
        _angulation(region, _first),
    )


def _phrase_fracture(
    name: str, region: RegionFindings, pick: _Pick, rng: np.random.Generator
) -> str:
    adjectives, clauses = [], []
    for value, as_adjective, as_clause in (
        (region.healing, wording.HEALING_ADJECTIVES, wording.HEALING_CLAUSES),
        (region.displacement, wording.DISPLACEMENT_ADJECTIVES, wording.DISPLACEMENT_CLAUSES),
    ):
        if value is None:
            continue
        if rng.random() < 0.6:
            adjectives.append(pick(as_adjective[value]))
        else:
            clauses.append(pick(as_clause[value]))
    angulation = _angulation(region, pick)
    if angulation:
        clauses.append(angulation)
    uncertain = region.status == "uncertain"
    return _fill(
        pick(wording.UNCERTAIN_SENTENCES if uncertain else wording.FRACTURE_SENTENCES),
        _shuffled(adjectives, rng),
        pick(wording.FRACTURE_NOUNS[region.fracture_type]),
        anatomy.region(name).label,
        ", ".join(_shuffled(clauses, rng)),
    )


def _no_fracture(names: Sequence[str], pick: _Pick) -> str:
    bones = [anatomy.region(name).label for name in names]
    return pick(wording.NO_FRACTURE_SENTENCES).format(
        bones=_listing(bones, "or"),
        bones_and=_listing(bones, "and"),
        is_="is" if len(bones) == 1 else "are",
        s="s" if len(bones) == 1 else "",
    )


def _other_list(names: Sequence[str], pick: _Pick) -> str:
    templates = wording.OTHER_ONE if len(names) == 1 else wording.OTHER_MANY
    return pick(templates).format(names=", ".join(names))


def _other(names: Sequence[str], pick: _Pick) -> str:
    # A miner may have kept the word in the name: "fracture of the scaphoid fracture" helps nobody.
    if any("fracture" in name for name in names):
        return _other_list(names, pick)
    template = pick(
        wording.OTHER_OF + (wording.OTHER_ONE if len(names) == 1 else wording.OTHER_MANY)
    )
    return template.format(
        names=", ".join(names), of_names=_listing([f"the {name}" for name in names], "and")
    )


def _exam_sentences(findings: Findings, pick: _Pick) -> list[str]:
    return [
        _sentence(pick(wordings[getattr(findings, field)]))
        for field, wordings in wording.EXAM_SENTENCES.items()
        if getattr(findings, field) is not None
    ]
