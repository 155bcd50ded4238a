import csv
import re

import pytest

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.errors import UserError
from wristmir_jax.reports.ao_codes import findings_from_ao, normalise

# value -> type of the fracture of radius, ulna, styloid ("-" no fracture, None no type), elsewhere.
MEANINGS = {
    "": ("-", "-", "-", ()),
    "23r-M/2.1": ("incomplete", "-", "-", ()),
    "23r-M/3.1; 23u-M/2.1": ("complete", "incomplete", "-", ()),
    "23r-M/3.1; 23u-E/7": ("complete", "-", None, ()),
    "23-M/3.1": ("complete", "complete", "-", ()),
    "23-M/2.1; 23u-E/7": ("incomplete", "incomplete", None, ()),
    "23r-E/2.1; 23u-M/2.1; 23u-E/7": ("salter_harris_2", "incomplete", None, ()),
    "23r-E/1": ("salter_harris_1", "-", "-", ()),
    "23r-E/3": ("salter_harris_3", "-", "-", ()),
    "23r-E/4.2": ("salter_harris_4", "-", "-", ()),
    "23-E/1": ("salter_harris_1", "salter_harris_1", "-", ()),
    "23u-E/3; 23u-E/7": ("-", "salter_harris_3", None, ()),
    "23r-E/7": ("avulsion", "-", "-", ()),
    "23-E/7": ("avulsion", "-", None, ()),
    "23r-M/2.1; 23-E/7": ("incomplete", "-", None, ()),
    "23r-M/9.1": ("other", "-", "-", ()),
    "23r-E/2.1; 23r-M/2.1": ("salter_harris_2", "-", "-", ()),
    "23r-M/2.1; 23r-E/2.1": ("salter_harris_2", "-", "-", ()),
    "23-M/3.1; 23u-M/2.1": ("complete", "complete", "-", ()),
    "22-D/2.1": ("-", "-", "-", ("radial shaft", "ulnar shaft")),
    "22r-D/4.1; 23u-M/3.1": ("-", "complete", "-", ("radial shaft",)),
    "22u-D/1.1": ("-", "-", "-", ("ulnar shaft",)),
    "22u-D/6.1": ("-", "-", "-", ("ulnar shaft (monteggia)",)),
    "22r-D/7.1": ("-", "-", "-", ("radial shaft (galeazzi)",)),
    "72B(b)": ("-", "-", "-", ("scaphoid",)),
    "76.2.A": ("-", "-", "-", ("triquetrum",)),
    "77.1.1A": ("-", "-", "-", ("first metacarpal base",)),
    "77.5.3A": ("-", "-", "-", ("distal fifth metacarpal",)),
    "78.5.1.2A": ("-", "-", "-", ("little finger proximal phalanx",)),
    "78.1.2.1A": ("-", "-", "-", ("thumb distal phalanx",)),
}

# value -> normal forms, and a word of each slip's description.
SLIPS = {
    "23u/E/7": (["23u-E/7"], ["spelling"]),
    "23u-E7": (["23u-E/7"], ["spelling"]),
    "23r-M3.1": (["23r-M/3.1"], ["spelling"]),
    "23u-M/2.": (["23u-M/2"], ["severity missing"]),
    "22r-D/1": (["22r-D/1"], ["severity missing"]),
    "23u-E/4": (["23u-E/4"], ["severity missing"]),
    "23u-E/1.1": (["23u-E/1"], ["no severity"]),
    "72B.(b)": (["72B(b)"], ["spelling"]),
    "23R-m/2.1": (["23r-M/2.1"], ["spelling"]),
    "23r -M/2.1": (["23r-M/2.1"], ["spelling"]),
    "23r-E/1 ": (["23r-E/1"], ["blank"]),
    "23r-M/2.1;23u-E/7": (["23r-M/2.1", "23u-E/7"], ["blank"]),
    "23r-E/2.1;  23u-E/7": (["23r-E/2.1", "23u-E/7"], ["blank"]),
    "23r-E/2.1, 23u-E/7": (["23r-E/2.1", "23u-E/7"], ["comma"]),
    "23r-M/2.1; ": (["23r-M/2.1"], ["empty"]),
    "23u-E/7; 23u/E/7": (["23u-E/7"], ["spelling", "repeated"]),
    "23r-D/2.1": (["23r-M/2.1"], ["metaphysis"]),
    "23u-D/2.1": (["22u-D/2.1"], ["shaft"]),
    " ": ([], ["blank"]),
}


@pytest.mark.parametrize("value", MEANINGS)
def test_what_codes_mean(value):
    findings = findings_from_ao(value, "exam")
    *types, elsewhere = MEANINGS[value]
    for kind, region in zip(types, findings.regions.values(), strict=True):
        assert region.status == ("no_fracture" if kind == "-" else "fracture")
        assert region.fracture_type == (None if kind == "-" else kind)
    assert findings.other_fractures == elsewhere
    assert normalise(value)[1] == ()


@pytest.mark.parametrize("value", SLIPS)
def test_slips_are_normalised_and_described(value):
    codes, slips = normalise(value)
    normal, words = SLIPS[value]
    assert [code.text for code in codes] == normal
    assert len(slips) == len(words)
    assert all(word in slip for word, slip in zip(words, slips, strict=True))


@pytest.mark.parametrize(
    "code",
    [
        "24r-M/2.1",
        "23r-M/5.1",
        "22r-E/1",
        "23r-M/2.3",
        "23x-M/2.1",
        "23r",
        "fracture",
        "79A",
        "nan",
    ],
)
def test_an_unknown_code_is_named(code):
    for value in (code, f"23r-M/2.1; {code}"):
        with pytest.raises(UserError, match=f"unknown AO code '{re.escape(code)}'"):
            findings_from_ao(value, "exam")


def test_flags_side_and_views_are_carried_over():
    findings = findings_from_ao(
        "23r-M/2.1",
        "exam",
        laterality="right",
        cast=True,
        metal=False,
        osteopenia=None,
        views=("lateral", "pa"),
    )
    assert (findings.cast, findings.hardware, findings.osteopenia) == (True, False, None)
    assert (findings.laterality, findings.views) == ("right", ("pa", "lateral"))
    assert findings.soft_tissue_swelling is findings.physis is None


def test_an_uncertain_diagnosis_is_never_asserted():
    radius, ulna, styloid = findings_from_ao(
        "23r-M/2.1; 23u-E/7", "exam", diagnosis_uncertain=True
    ).regions.values()
    assert (radius.status, radius.fracture_type) == ("uncertain", "incomplete")
    assert (ulna.status, styloid.status) == ("no_fracture", "uncertain")
    for value in ("", "72B(c)"):
        findings = findings_from_ao(value, "exam", diagnosis_uncertain=True)
        assert {region.status for region in findings.regions.values()} == {"uncertain"}
        assert findings.other_fractures == ()


def test_every_value_of_grazpedwri_means_what_its_readme_says(shared_data):
    with open(shared_data / "grazpedwri" / "dataset.csv", encoding="utf-8-sig") as file:
        values = {row["ao_classification"] for row in csv.DictReader(file)}
    assert len(values) == 108
    # As in the data set's README, on the raw text: slips leave out or change the separators.
    rules = {
        "distal_radius": r"23r|23-",
        "distal_ulna": r"23u-M|23u[-/]E/?[1-4]|23-(?!E/7)",
        "ulnar_styloid": r"23u[-/]E/?7|23-E/7",
    }
    for value in values:
        findings = findings_from_ao(value, "exam")
        for name in REGION_NAMES:
            fractured = findings.regions[name].status == "fracture"
            assert fractured == bool(re.search(rules[name], value)), (value, name)
        assert bool(findings.other_fractures) == bool(re.search(r"\b22|\b7\d|23u-D", value)), value
    assert sum(bool(normalise(value)[1]) for value in values) == 18
