import dataclasses
import json

from wristmir_jax.retrieval.hits import Hit, table

HIT = Hit(
    rank=1,
    exam_id="exam-7",
    score=0.91234,
    global_score=0.8,
    region_score=None,
    caption="Buckle fracture of the distal radius. " * 4,
    region_caption="",
    findings={"laterality": "left"},
    image_ids=("a", "b"),
    views=("pa", "lateral"),
    laterality="left",
    sex="unknown",
    age_years=None,
)


def test_a_json_line_holds_what_the_contract_names():
    line = HIT.to_json()
    assert "\n" not in line
    values = json.loads(line)
    for key in ("rank", "exam_id", "score", "global_score", "region_score", "findings"):
        assert values[key] == getattr(HIT, key)
    assert "patient_id" not in values


def test_facts_leave_out_what_is_unknown():
    assert HIT.facts() == "PA+lateral, left"
    nothing = dataclasses.replace(HIT, views=("unknown",), laterality="unknown")
    assert nothing.facts() == ""
    assert (
        dataclasses.replace(HIT, sex="male", age_years=8.3).facts() == "PA+lateral, left, male, 8 y"
    )


def test_the_table_stays_within_the_width_and_aligned():
    hits = [HIT, dataclasses.replace(HIT, rank=2, exam_id="e", score=-0.5, caption="")]
    lines = table(hits, width=70).splitlines()
    assert max(map(len, lines)) <= 70
    assert lines[0].split() == ["rank", "exam", "score", "findings"]
    column = lines[0].index("findings")
    assert all(line[column - 1] == " " != line[column] for line in lines[1:])
    assert "0.912" in lines[1] and "-0.500" in lines[-2]
    assert "nothing is said of it" in lines[-2]
    with_region = table([HIT], "distal_radius", width=70).splitlines()
    assert with_region[0].split() == ["rank", "exam", "score", "global", "region", "findings"]
    assert with_region[1].split()[2:5] == ["0.912", "0.800", "\N{EN DASH}"]
