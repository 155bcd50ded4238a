"""Hypothesis strategies for findings."""

from typing import get_args

from hypothesis import strategies as st

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.reports import findings as schema
from wristmir_jax.reports.findings import Findings, RegionFindings

FLAGS = st.sampled_from([None, False, True])
OTHER_FRACTURES = ("radial shaft", "ulnar shaft", "scaphoid", "triquetrum", "fifth metacarpal base")
NAMES = st.sampled_from(OTHER_FRACTURES)
EXAM = st.just("exam")


def optional(literal) -> st.SearchStrategy:
    return st.sampled_from([None, *get_args(literal)])


def regions() -> st.SearchStrategy[RegionFindings]:
    bare = st.builds(RegionFindings, status=st.sampled_from(["not_mentioned", "no_fracture"]))
    detailed = st.builds(
        RegionFindings,
        status=st.sampled_from(["uncertain", "fracture"]),
        fracture_type=optional(schema.FractureType),
        displacement=optional(schema.Displacement),
        angulation_degrees=st.none() | st.floats(0, 180),
        angulation_direction=optional(schema.AngulationDirection),
        healing=optional(schema.Healing),
    )
    return bare | detailed


def findings(
    names: st.SearchStrategy[str] = NAMES, exam_id: st.SearchStrategy[str] = EXAM
) -> st.SearchStrategy[Findings]:
    return st.builds(
        Findings,
        exam_id=exam_id,
        laterality=st.just("left"),
        views=st.lists(st.sampled_from(get_args(schema.View))).map(tuple),
        regions=st.fixed_dictionaries({name: regions() for name in REGION_NAMES}),
        other_fractures=st.lists(names, max_size=3).map(tuple),
        cast=FLAGS,
        hardware=FLAGS,
        osteopenia=FLAGS,
        soft_tissue_swelling=FLAGS,
        physis=optional(schema.Physis),
    )
