import itertools
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reports import reader
from tests.reports.strategies import OTHER_FRACTURES, findings, regions
from tools import caption_examples
from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.reports import findings as schema
from wristmir_jax.reports.captions import canonical_captions, caption_group, phrase, side_prefix
from wristmir_jax.reports.findings import Findings, RegionFindings

ROOT = Path(__file__).parents[2]
SEEDS = st.integers(0, 2**32 - 1)


def of_exam(value: Findings) -> Findings:
    """Without what a caption leaves out."""
    return value.model_copy(update={"exam_id": "exam", "laterality": "left", "views": ()})


def radius(**details) -> Findings:
    return Findings(exam_id="exam", regions={"distal_radius": RegionFindings(**details)})


def test_the_canonical_caption_reads_like_a_report():
    wrist = Findings(
        exam_id="exam",
        regions={
            "distal_radius": RegionFindings(
                status="fracture",
                fracture_type="salter_harris_2",
                displacement="mild",
                angulation_degrees=15,
                angulation_direction="dorsal",
            ),
            "distal_ulna": RegionFindings(status="no_fracture"),
            "ulnar_styloid": RegionFindings(status="uncertain", fracture_type="avulsion"),
        },
        other_fractures=("scaphoid",),
        cast=True,
    )
    captions = canonical_captions(wrist)
    assert captions.global_caption == (
        "Mildly displaced Salter-Harris type II fracture of the distal radius with 15 degrees of "
        "dorsal angulation. Possible avulsion fracture of the ulnar styloid. No fracture of the "
        "distal ulna. Other fracture: scaphoid. Cast in place."
    )
    assert captions.regions["distal_ulna"] == "No fracture of the distal ulna."


def test_what_was_not_mentioned_has_no_caption():
    wrist = radius(status="fracture")
    nothing = Findings(exam_id="exam", views=("pa",), laterality="left")
    rng = np.random.default_rng(0)
    for make in (canonical_captions, lambda value: phrase(value, rng)):
        assert make(wrist).regions["distal_ulna"] == ""
        assert make(wrist).regions["distal_radius"] != ""
        assert make(nothing).global_caption == ""
        assert set(make(nothing).regions.values()) == {""}


def test_region_captions_are_equal_for_equal_findings_only():
    # 0.1 + 0.2 is another number than 0.3, and must not be worded alike.
    degrees = (None, 5, 12.5, 0.3, 0.1 + 0.2)
    captions = {canonical_captions(radius(status="no_fracture")).regions["distal_radius"]}
    count = 1
    for status, kind, displacement, angle, direction, healing in itertools.product(
        ("uncertain", "fracture"),
        (None, *get_args(schema.FractureType)),
        (None, *get_args(schema.Displacement)),
        degrees,
        (None, *get_args(schema.AngulationDirection)),
        (None, *get_args(schema.Healing)),
    ):
        wrist = radius(
            status=status,
            fracture_type=kind,
            displacement=displacement,
            angulation_degrees=angle,
            angulation_direction=direction,
            healing=healing,
        )
        captions.add(canonical_captions(wrist).regions["distal_radius"])
        count += 1
    assert len(captions) == count
    assert max(len(caption.split()) for caption in captions) <= 25


@given(findings(), findings(), st.sets(st.sampled_from(sorted(Findings.model_fields))))
def test_global_captions_are_equal_for_equal_findings_only(a, b, taken_from_b):
    # Few fields differ, so that near misses are tried and not only quite different wrists.
    mixed = a.model_copy(update={name: getattr(b, name) for name in taken_from_b})
    equal = of_exam(a) == of_exam(mixed)
    captions = canonical_captions(a).global_caption, canonical_captions(mixed).global_caption
    assert (captions[0] == captions[1]) == equal
    assert (caption_group(captions[0]) == caption_group(captions[1])) == equal


@given(findings(names=st.text(max_size=12)), findings(names=st.text(max_size=12)))
def test_names_of_other_fractures_cannot_be_confused(a, b):
    b = a.model_copy(update={"other_fractures": b.other_fractures})
    captions = canonical_captions(a).global_caption, canonical_captions(b).global_caption
    assert (captions[0] == captions[1]) == (a.other_fractures == b.other_fractures)


@pytest.mark.parametrize(
    ("names", "others"),
    [
        (("scaphoid, lunate",), ("scaphoid", "lunate")),
        (("scaphoid and lunate",), ("lunate", "scaphoid")),
        (("scaphoid. Cast in place",), ("scaphoid",)),
    ],
)
def test_a_name_does_not_pass_for_something_else(names, others):
    a = Findings(exam_id="exam", other_fractures=names)
    b = Findings(exam_id="exam", other_fractures=others, cast="Cast" in names[0] or None)
    assert canonical_captions(a).global_caption != canonical_captions(b).global_caption


def test_order_side_view_and_exam_do_not_change_the_caption():
    a = Findings(exam_id="a", laterality="left", views=("pa",), other_fractures=("x", "y"))
    b = Findings(exam_id="b", laterality="right", views=("lateral",), other_fractures=("y", "x"))
    assert canonical_captions(a) == canonical_captions(b)


@given(findings(), SEEDS)
def test_a_phrasing_says_neither_more_nor_less(value, seed):
    captions = phrase(value, np.random.default_rng(seed))
    assert reader.read(captions.global_caption) == of_exam(value)
    for name, region in value.regions.items():
        if region.status == "not_mentioned":
            assert captions.regions[name] == ""
        else:
            assert reader.read(captions.regions[name]).regions[name] == region


@given(findings())
def test_the_canonical_caption_says_neither_more_nor_less(value):
    assert reader.read(canonical_captions(value).global_caption) == of_exam(value)


@given(regions(), SEEDS)
def test_captions_name_no_side_and_are_short(region, seed):
    wrist = Findings(exam_id="exam", regions=dict.fromkeys(REGION_NAMES, region))
    captions = phrase(wrist, np.random.default_rng(seed))
    for caption in captions.regions.values():
        words = caption.lower().split()
        assert not {"left", "right", "pa", "lateral", "oblique"} & set(words)
        assert len(words) <= 32
        assert "none" not in words


@pytest.mark.parametrize(
    "wrist",
    [
        *(radius(status="fracture", fracture_type=t) for t in get_args(schema.FractureType)),
        radius(status="fracture"),
        radius(status="uncertain"),
        radius(status="no_fracture"),
        radius(status="fracture", displacement="none"),
        radius(status="fracture", angulation_degrees=10),
        radius(status="fracture", angulation_degrees=10, angulation_direction="volar"),
        radius(status="fracture", angulation_direction="volar"),
        Findings(
            exam_id="exam",
            regions=dict.fromkeys(REGION_NAMES, RegionFindings(status="no_fracture")),
        ),
        *(
            Findings(exam_id="exam", **{field: value})
            for field in ("cast", "hardware", "osteopenia", "soft_tissue_swelling")
            for value in (True, False)
        ),
        *(Findings(exam_id="exam", physis=value) for value in get_args(schema.Physis)),
        Findings(exam_id="exam", other_fractures=OTHER_FRACTURES[:1]),
        Findings(exam_id="exam", other_fractures=OTHER_FRACTURES[:2]),
    ],
    ids=lambda wrist: canonical_captions(wrist).global_caption,
)
def test_every_concept_has_at_least_six_phrasings(wrist):
    rng = np.random.default_rng(0)
    assert len({phrase(wrist, rng).global_caption for _ in range(200)}) >= 6


def test_phrasings_are_drawn_by_the_generator_alone():
    wrist = radius(status="fracture", fracture_type="buckle", displacement="none")
    drawn = [
        [phrase(wrist, rng) for _ in range(5)] for rng in map(np.random.default_rng, (7, 7, 8))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_groups_are_non_negative_63_bit_numbers_that_stay_the_same():
    groups = [caption_group(f"caption {n}") for n in range(1000)]
    assert len(set(groups)) == 1000
    assert np.array(groups, np.int64).min() >= 0
    # Data sets on disk hold these numbers.
    assert caption_group("No fracture of the distal radius.") == 6169337394701007170


def test_side_prefix():
    assert side_prefix("left") == "Left wrist: "
    assert side_prefix("unknown") == ""
    with pytest.raises(UserError, match="laterality 'both'"):
        side_prefix("both")


def test_the_page_of_examples_is_what_its_command_writes():
    assert (ROOT / "docs" / "captions.md").read_text() == caption_examples.page()
