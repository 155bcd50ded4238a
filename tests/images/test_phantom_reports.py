"""Reports say what findings hold, and findings what is drawn; checked by word lists of our own."""

import re

import numpy as np
import pytest

from wristmir_jax.images import phantom_reports
from wristmir_jax.images.phantom_anatomy import sample_anatomy
from wristmir_jax.images.phantom_episodes import patient_exams
from wristmir_jax.images.phantom_findings import angulation, displacement_class, findings_of
from wristmir_jax.images.phantom_fractures import ULNA_SHARE, sample_injury

WORDS = {"distal_radius": r"radi(us|al)", "distal_ulna": r"ulnar? ?", "ulnar_styloid": r"styloid"}


@pytest.fixture(scope="module")
def told():
    """(exam, findings, report, its findings and impression) of 700 patients."""
    found = []
    for patient in range(700):
        for exam in patient_exams(np.random.default_rng([5, patient])):
            rng = np.random.default_rng([5, patient, exam.number])
            findings = findings_of(exam, f"{patient}-{exam.number}", rng)
            context = phantom_reports.Context(
                exam.anatomy.age_years, exam.anatomy.male, exam.initial, exam.weeks
            )
            report = phantom_reports.write(findings, context, rng)
            lines = report.splitlines()[1:]
            skipped = ("HISTORY", "INDICATION", "Clinical", "COMPARISON")
            body = " ".join(line for line in lines if not line.startswith(skipped))
            found.append((exam, findings, report, body))
    return found


def sentences(text):
    return [part.strip().lower() for part in re.split(r"(?<=\.)\s+", text) if part.strip()]


def test_every_fracture_and_doubt_is_told(told):
    for _, findings, _, body in told:
        for name, region in findings.regions.items():
            naming = [s for s in sentences(body) if re.search(WORDS[name], s)]
            if region.status == "fracture":
                assert any(re.search(r"fracture|avulsion", s) and "no " not in s for s in naming)
            if region.status == "uncertain":
                hedges = r"possible|questionable|suspicious|may represent|cannot be excluded"
                assert any(re.search(hedges, s) for s in naming)


def test_nothing_is_asserted_that_findings_deny(told):
    denial = r"\bno\b|intact|unremarkable|normal|without"
    for _, findings, _, body in told:
        statuses = {region.status for region in findings.regions.values()}
        if statuses & {"fracture", "uncertain"} or findings.other_fractures:
            continue
        for sentence in sentences(body):
            if "fracture" in sentence:
                assert re.search(denial, sentence)


def test_numbers_side_and_flags_agree(told):
    for _, findings, report, body in told:
        degrees = {int(d) for d in re.findall(r"(\d+) deg", body)}
        stated = {int(r.angulation_degrees) for r in findings.regions.values()
                  if r.angulation_degrees}  # fmt: skip
        assert degrees == stated
        assert findings.laterality in report.lower()
        assert {"left": "right", "right": "left"}[findings.laterality] not in report.lower()
        text = body.lower()
        in_cast = bool(re.search(r"overlying cast|in a cast|cast material|splint in place", text))
        assert in_cast == (findings.cast is True)
        assert bool(re.search(r"wires|pins", text)) == (findings.hardware is True)
        assert bool(re.search(r"osteopenia|demineral", text)) == (findings.osteopenia is True)
        swollen = bool(re.search(r"swelling|edema", text))
        assert swollen == (findings.soft_tissue_swelling is True)


def test_silence_is_not_a_denial(told):
    """A region that is not mentioned is neither named nor covered by a sweeping negative."""
    sweeping = r"no other|no additional|otherwise intact|remaining bones|normal wrist|no fracture"
    seen = 0
    for _, findings, _, body in told:
        for name, region in findings.regions.items():
            if region.status != "not_mentioned":
                continue
            seen += 1
            assert not re.search(sweeping, body.lower())
            if name == "ulnar_styloid":
                assert "styloid" not in body.lower()
    assert seen > 50


def test_wording_varies(told):
    normal = [body for exam, findings, _, body in told if exam.initial and not exam.codes
              and not exam.uncertain and findings.physis is None]  # fmt: skip
    assert len(set(normal)) > 8
    assert len({report for _, _, report, _ in told}) > 0.8 * len(told)


def test_findings_are_varied_but_repeat(told):
    def key(findings):
        same = findings.model_copy(update={"exam_id": "", "laterality": "left", "views": ()})
        return same.model_dump_json()

    keys = [key(findings) for _, findings, _, _ in told]
    assert 150 < len(set(keys)) < 0.75 * len(keys)


def test_uncertain_exams_have_an_uncertain_region(told):
    for exam, findings, _, _ in told:
        statuses = [region.status for region in findings.regions.values()]
        if exam.uncertain:
            others = bool(findings.other_fractures)
            assert "fracture" not in statuses
            assert others or "uncertain" in statuses
        else:
            assert "uncertain" not in statuses


def test_words_mean_the_millimetres_that_are_drawn():
    assert displacement_class(0.0, 14) == "none"
    assert displacement_class(2.0, 14) == "minimal"
    assert displacement_class(3.4, 14) == "mild"
    assert displacement_class(6.9, 14) == "moderate"
    assert displacement_class(7.1, 14) == "severe"
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        anatomy = sample_anatomy(rng.uniform(5, 16), True, rng)
        injury = sample_injury(("23-M/3",), anatomy, rng)
        for bone, share in ((injury.radius, 1.0), (injury.ulna, ULNA_SHARE)):
            shaft = anatomy.shaft_width * share
            shares.append(bone.displacement / shaft)
            told = angulation(bone)
            if told:
                assert abs(told[0] - max(abs(bone.tilt_dorsal), abs(bone.tilt_radial))) <= 2.5
    shares = np.array(shares)
    # Nothing is drawn on the border between two words.
    assert not ((shares > 0.55) & (shares < 0.575)).any()
    assert (shares == 0).mean() > 0.05 and (shares > 0.5).mean() > 0.03
