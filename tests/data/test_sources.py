"""What each source makes of its tables."""

import collections
import csv

import numpy as np
import pytest
from PIL import Image

from tests.data.wrists import findings, row, write_film, write_folder, write_lines
from wristmir_jax.anatomy import REGION_NAMES, SIDES
from wristmir_jax.data.dataset import Dataset
from wristmir_jax.data.prepare import prepare
from wristmir_jax.data.record import NO, UNCERTAIN, UNKNOWN, YES
from wristmir_jax.data.sources.base import ExamImage, Rejection
from wristmir_jax.data.sources.folder import FolderSource
from wristmir_jax.data.sources.fracatlas import FilmTable, FracAtlasSource
from wristmir_jax.data.sources.grazpedwri import GrazpedwriSource
from wristmir_jax.errors import UserError
from wristmir_jax.reports.findings import Findings


def _records(source, output):
    account = prepare(
        source, output, image_size=32, crop_size=16, localizer="prior", progress=False
    )
    records = Dataset(output).source("all")
    return account, {
        record["image_id"]: record for record in (records[i] for i in range(len(records)))
    }


def _mined(exam, **changes):
    return {
        "exam_id": exam,
        "schema_version": 1,
        "miner": "rules",
        "findings": findings(**changes),
        "evidence": [],
    }


class TestFolder:
    def test_findings_are_joined_by_exam_and_side(self, tmp_path):
        """A study of both wrists is two exams, each with its own findings."""
        folder = write_folder(
            tmp_path / "in",
            [
                row(0, exam_id="A", patient_id="P", laterality="L"),
                row(1, exam_id="A", patient_id="P", laterality="L", view="lat"),
                row(2, exam_id="A", patient_id="P", laterality="R"),
                row(3, exam_id="B"),
                row(4, exam_id="C"),
                row(5, exam_id="D", laterality=""),
            ],
        )
        mined = write_lines(
            tmp_path / "F.jsonl",
            [
                _mined("A"),
                _mined("A", laterality="right", status="no_fracture"),
                _mined("B", laterality="unknown"),
                _mined("C", laterality="right"),
                _mined("D", status="uncertain"),
            ],
        )
        account, records = _records(FolderSource(folder, mined), tmp_path / "out")
        assert account.written == 6
        left, lateral, right, unknown, wrong_side, sideless = (
            records[f"films/{place}"] for place in range(6)
        )
        assert left["exam_id"] == lateral["exam_id"] == "A_left"
        assert right["exam_id"] == "A_right"
        assert left["fracture"] == lateral["fracture"] == YES
        assert right["fracture"] == NO
        assert Findings.model_validate_json(right["findings_json"]).exam_id == "A_right"
        assert unknown["fracture"] == YES
        # Findings of the other wrist are not findings of this one.
        assert (wrong_side["fracture"], wrong_side["caption"]) == (UNKNOWN, "")
        assert sideless["fracture"] == UNCERTAIN
        assert any("1 radiographs have neither" in note for note in account.notes)

    def test_an_exam_has_the_union_of_its_rows(self, tmp_path):
        import json

        folder = write_folder(
            tmp_path / "in",
            [
                row(0, exam_id="A", patient_id="P", findings=json.dumps(findings("fracture"))),
                row(1, exam_id="A", patient_id="P", findings=json.dumps(findings("no_fracture"))),
                row(2, findings='{"regions": {"tail": {}}}'),
            ],
        )
        account, records = _records(FolderSource(folder), tmp_path / "out")
        assert [records[f"films/{place}"]["fracture"] for place in (0, 1)] == [YES, YES]
        assert records["films/0"]["caption"] == records["films/1"]["caption"]
        assert account.rejected == {"findings are not valid": 1}

    def test_ready_captions_are_taken_as_they_are(self, tmp_path):
        folder = write_folder(
            tmp_path / "in",
            [row(0, caption="Buckle fracture.", caption_distal_radius="Radius buckled."), row(1)],
        )
        _, records = _records(FolderSource(folder), tmp_path / "out")
        record = records["films/0"]
        assert record["caption"] == "Buckle fracture."
        assert record["caption_phrasings"] == ["Buckle fracture."]
        assert record["region_captions"] == ["Radius buckled.", "", ""]
        assert record["region_caption_phrasings"] == ["Radius buckled.", "", ""]
        assert record["fracture"] == UNKNOWN
        assert record["findings_json"] == ""
        assert records["films/1"]["caption"] == ""

    def test_an_unknown_region_column_is_refused(self, tmp_path):
        folder = write_folder(tmp_path / "in", [row(0, caption_scaphoid="Broken.")])
        with pytest.raises(UserError, match="caption_scaphoid"):
            FolderSource(folder)

    def test_given_boxes_are_cut_and_others_guessed(self, tmp_path):
        folder = write_folder(tmp_path / "in", [row(place) for place in range(4)])
        boxes = write_lines(
            tmp_path / "boxes.jsonl",
            [
                {
                    "image_path": "films/0.png",
                    "boxes": {
                        "distal_radius": [10, 20, 50, 70],
                        "distal_ulna": None,
                        "ulnar_styloid": "unknown",
                    },
                    "confidence": {"distal_radius": 0.9},
                    "axis_degrees": 12.5,
                },
                {"image_id": "films/1", "boxes": {}},
                {"image_id": "films/2", "boxes": {"distal_radius": [900, 900, 950, 950]}},
            ],
        )
        account, records = _records(FolderSource(folder, None, boxes), tmp_path / "out")
        assert records["films/0"]["crop_present"].tolist() == [1, 0, 0]
        np.testing.assert_array_equal(records["films/0"]["boxes"][0], [10, 20, 50, 70])
        assert np.isnan(records["films/0"]["boxes"][1]).all()
        assert np.isinf(records["films/0"]["boxes"][2]).all()
        assert records["films/0"]["axis_degrees"] == 12.5
        assert records["films/1"]["crop_present"].tolist() == [0, 0, 0]
        assert np.isnan(records["films/1"]["axis_degrees"])
        assert account.rejected == {"box cannot be cut out": 1}
        assert records["films/3"]["crop_present"].tolist() == [1, 1, 1]
        for line, words in (
            ({"image_id": "a", "boxes": {"tail": [0, 0, 1, 1]}}, "line 1.*'tail'"),
            ({"image_id": "a", "boxes": {"distal_ulna": [0, 0, 1]}}, "four numbers"),
            ({"image_id": "a", "boxes": {"distal_ulna": 7}}, "four numbers"),
            ({"image_id": "a", "boxes": {"distal_ulna": [0, 0, 1, True]}}, "four numbers"),
            ({"boxes": {}}, "image_id"),
        ):
            with pytest.raises(UserError, match=words):
                FolderSource(folder, None, write_lines(tmp_path / "bad.jsonl", [line]))

    @pytest.mark.parametrize("axis", ["upright", True, [3], 1e5, float("nan"), 10**400])
    def test_an_axis_that_is_no_angle_is_named_by_its_line(self, tmp_path, axis):
        folder = write_folder(tmp_path / "in", [row(0)])
        good = {"image_id": "films/0", "boxes": {}, "axis_degrees": None}
        boxes = write_lines(tmp_path / "boxes.jsonl", [good, good | {"axis_degrees": axis}])
        with pytest.raises(UserError, match=r"boxes\.jsonl, line 2: axis_degrees.*degrees"):
            FolderSource(folder, None, boxes)

    def test_a_jsonl_manifest_says_the_same(self, tmp_path):
        rows = [
            row(0) | {"age_years": 10.5, "findings": findings(), "initial_exam": True},
            row(1) | {"age_years": None, "cast": 0},
        ]
        for place in range(2):
            write_film(tmp_path / f"films/{place}.png", place)
        write_lines(tmp_path / "manifest.jsonl", rows)
        with (tmp_path / "manifest.jsonl").open("a") as file:
            file.write("not json\n")
        account, records = _records(FolderSource(tmp_path), tmp_path / "out")
        assert account.rejected == {"line is not a JSON object": 1}
        assert records["films/0"]["fracture"] == YES
        assert records["films/0"]["initial_exam"] == YES
        assert np.isnan(records["films/1"]["age_years"])
        assert records["films/1"]["cast"] == NO

    def test_mined_files_of_another_version_are_refused(self, tmp_path):
        folder = write_folder(tmp_path / "in", [row(0)])
        newer = write_lines(tmp_path / "F.jsonl", [_mined("E0") | {"schema_version": 9}])
        with pytest.raises(UserError, match="line 1: schema_version 9"):
            FolderSource(folder, newer)
        secret = _mined("E0") | {"findings": findings(laterality="Jane Doe")}
        with pytest.raises(UserError, match="laterality") as caught:
            FolderSource(folder, write_lines(tmp_path / "G.jsonl", [secret]))
        assert "Jane" not in str(caught.value)

    def test_duplicates_are_set_aside(self, tmp_path):
        """One film under two patients could stand on both sides of a split."""
        folder = write_folder(
            tmp_path / "in",
            [row(0), row(1), row(2, image_path="films/0.png"), row(3, patient_id="P1")],
            films=False,
        )
        write_film(folder / "films/0.png", 0)
        for place in (1, 3):
            (folder / f"films/{place}.png").write_bytes((folder / "films/0.png").read_bytes())
        write_film(folder / "films/3.png", 3)
        account, records = _records(FolderSource(folder), tmp_path / "out")
        assert set(records) == {"films/0", "films/3"}
        assert account.rejected == {
            "same file as of another patient": 1,
            "image_id is not unique": 1,
        }

    def test_young_children_have_no_styloid(self, tmp_path):
        import json

        normal = json.dumps(findings("no_fracture"))
        folder = write_folder(
            tmp_path / "in",
            [row(0, age_years="3", findings=normal), row(1, age_years="12", findings=normal)],
        )
        _, records = _records(FolderSource(folder), tmp_path / "out")
        child, youth = records["films/0"], records["films/1"]
        assert child["fracture"] == youth["fracture"] == NO
        assert child["crop_present"].tolist() == [1, 1, 0]
        assert child["region_captions"][2] == ""
        assert child["region_status"].tolist() == [1, 1, 0]
        assert "styloid" not in " ".join([child["caption"], *child["caption_phrasings"]])
        assert youth["region_captions"][2]
        assert youth["crop_present"].tolist() == [1, 1, 1]


class TestFracAtlas:
    HEADER = (
        "image_id", "hand", "leg", "hip", "shoulder", "mixed", "hardware", "multiscan",
        "fractured", "fracture_count", "frontal", "lateral", "oblique",
    )  # fmt: skip

    def _folder(self, tmp_path):
        (tmp_path / "images/Fractured").mkdir(parents=True)
        (tmp_path / "images/Non_fractured").mkdir(parents=True)
        rng = np.random.default_rng(0)
        base = {
            name: Image.fromarray(rng.integers(0, 255, (12, 9)).astype(np.uint8)).resize((180, 240))
            for name in "ABC"
        }
        for place, name in enumerate("AAABBC"):
            film = np.asarray(base[name]).astype(int) + rng.integers(-4, 4, (240, 180))
            kind = "Fractured" if name == "A" else "Non_fractured"
            image = Image.fromarray(film.clip(0, 255).astype(np.uint8))
            image.save(tmp_path / f"images/{kind}/IMG{place}.jpg", quality=90)
        cut = tmp_path / "images/Non_fractured/IMG6.jpg"
        cut.write_bytes((tmp_path / "images/Non_fractured/IMG5.jpg").read_bytes()[:-40])
        (tmp_path / "images/Non_fractured/IMG9.jpg").write_bytes(b"not in the table")
        with (tmp_path / "dataset.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.HEADER)
            for place in range(8):
                broken = int(place < 3)
                writer.writerow(
                    [f"IMG{place}.jpg", 1, 0, 0, 0, 0, 0, 0, broken, broken, 1, int(place == 3), 0]
                )
        return tmp_path

    def test_every_film_is_accounted_for_and_copies_stay_together(self, tmp_path):
        source = FracAtlasSource(self._folder(tmp_path / "in"))
        account, records = _records(source, tmp_path / "out")
        assert account.read == 9
        assert account.rejected == {
            "truncated image": 1,
            "no image file": 1,
            "not in dataset.csv": 1,
        }
        groups = collections.defaultdict(set)
        for name, record in records.items():
            groups[record["patient_id"]].add(name)
        assert sorted(map(sorted, groups.values())) == [
            ["IMG0", "IMG1", "IMG2"],
            ["IMG3", "IMG4"],
            ["IMG5"],
        ]
        assert records["IMG0"]["fracture"] == YES
        assert records["IMG5"]["fracture"] == NO
        assert records["IMG0"]["crops"].shape == (0, 16, 16)
        assert records["IMG5"]["view"] == 1
        assert records["IMG3"]["view"] == 0, "two views on one film are no single view"
        assert "rendered from a table" in Dataset(tmp_path / "out").info.title

    def test_captions_are_equal_where_rows_are(self):
        rows = [
            FilmTable(parts, views, hardware, multiscan, count)
            for parts in ((), ("hand",), ("hand", "shoulder"), ("leg",), ("hip",))
            for views in ((), ("frontal",), ("frontal", "lateral"), ("oblique",))
            for hardware in (False, True)
            for multiscan in (False, True)
            for count in (0, 1, 2, 3, 12)
        ]
        assert len({film.caption() for film in rows}) == len(rows)
        rng = np.random.default_rng(0)
        for film in rows:
            drawn = {film.caption(rng) for _ in range(12)}
            assert len(drawn) > 3
            negative = [
                any(word in text for word in ("No fracture", "Intact", "Negative"))
                for text in drawn
            ]
            assert set(negative) == {film.fracture_count == 0}


class TestGrazpedwri:
    HEADER = (
        "filestem", "patient_id", "study_number", "timehash", "gender", "age", "laterality",
        "projection", "initial_exam", "ao_classification", "cast", "diagnosis_uncertain",
        "osteopenia", "fracture_visible", "metal", "pixel_spacing", "device_manufacturer",
    )  # fmt: skip

    def _folder(self, tmp_path, rows):
        (tmp_path / "images_part2").mkdir(parents=True)
        with (tmp_path / "dataset.csv").open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, self.HEADER, restval="")
            writer.writeheader()
            for place, changes in enumerate(rows):
                base = {
                    "filestem": f"f{place}", "patient_id": "1", "study_number": "1", "gender": "F",
                    "age": "9.5", "laterality": "L", "projection": "1", "pixel_spacing": "0.144",
                }  # fmt: skip
                writer.writerow(base | changes)
                if "filestem" not in changes:
                    write_film(tmp_path / f"images_part2/f{place}.png", place)
        return tmp_path

    def test_labels_are_the_union_over_the_films_of_a_side(self, tmp_path):
        folder = self._folder(
            tmp_path / "in",
            [
                {"ao_classification": "23r-M/2.1", "fracture_visible": "1", "cast": "1"},
                {"ao_classification": "23u-E/7", "projection": "2"},
                {"laterality": "R"},
                {"patient_id": "3", "filestem": "gone", "ao_classification": "23r-M3.1"},
                {"patient_id": "3", "filestem": "gone2"},
            ],
        )
        account, records = _records(GrazpedwriSource(folder), tmp_path / "out")
        assert account.read == 5
        assert account.written == 3
        assert account.rejected == {"no image file": 2}
        first, second, other = records["f0"], records["f1"], records["f2"]
        assert first["exam_id"] == second["exam_id"] == "1_1_left"
        assert first["region_status"].tolist() == second["region_status"].tolist() == [3, 1, 3]
        assert first["caption"] == second["caption"]
        assert (first["fracture_visible"], second["fracture_visible"]) == (YES, NO)
        assert (first["cast"], second["cast"]) == (YES, NO)
        assert other["exam_id"] == "1_1_right"
        assert other["fracture"] == NO
        assert SIDES[other["laterality"]] == "right"
        assert first["pixel_spacing_mm"] == pytest.approx(0.144)
        assert any("23r-M3.1" in note for note in account.notes)

    def test_an_unknown_code_sets_the_film_aside_and_names_it(self, tmp_path):
        folder = self._folder(tmp_path, [{"ao_classification": "99x-Q/1"}, {"patient_id": "2"}])
        rows = list(GrazpedwriSource(folder).rows(0, progress=False))
        rejected = [item for item in rows if isinstance(item, Rejection)]
        assert [item.reason for item in rejected] == ["unknown AO code"]
        assert "99x-Q/1" in rejected[0].detail
        assert [item.image_id for item in rows if isinstance(item, ExamImage)] == ["f1"]

    def test_a_missing_column_is_named(self, tmp_path):
        (tmp_path / "dataset.csv").write_text("filestem,patient_id\na,1\n")
        with pytest.raises(UserError, match="ao_classification"):
            GrazpedwriSource(tmp_path)

    def test_every_code_of_the_public_set_is_read(self, shared_data):
        source = GrazpedwriSource(shared_data / "grazpedwri")
        assert source.info.regions == REGION_NAMES
        rows = list(source.rows(0, progress=False))
        assert [type(item) for item in rows].count(ExamImage) == 8
        assert [item.count for item in rows if isinstance(item, Rejection)] == [20319]
