"""FracAtlas comes in three formats of the same boxes."""

import json

import numpy as np

from wristmir_jax.data.box_formats.convert import convert

_FORMATS = {"coco": "COCO JSON", "voc": "PASCAL VOC", "yolo": "YOLO"}


def test_three_formats_of_fracatlas_agree(shared_data, tmp_path):
    folder = shared_data / "fracatlas"
    boxes, accounts = {}, {}
    for name, where in _FORMATS.items():
        output = tmp_path / f"{name}.jsonl"
        accounts[name] = convert(
            folder / "Annotations" / where,
            output,
            images=folder / "images",
            labels=["fractured:distal_radius"],
            names=["fractured"] if name == "yolo" else [],
            progress=False,
        )
        boxes[name] = {
            line["image_id"]: np.array(line["boxes"]["distal_radius"])
            for line in map(json.loads, output.read_text().splitlines())
        }
    # One film is stated as lying: YOLO states no size.
    for name in ("coco", "voc"):
        assert accounts[name].rejected == {"the stated size disagrees with the film": 1}
        assert accounts[name].scaled == 75
    assert not accounts["yolo"].rejected
    assert len(boxes["coco"]) == 511
    assert boxes["voc"].keys() == boxes["coco"].keys()
    assert boxes["yolo"].keys() - boxes["coco"].keys() == {"IMG0002628"}
    for film, box in boxes["coco"].items():
        # Four decimals of a film's side.
        np.testing.assert_allclose(boxes["yolo"][film], box, atol=0.5)
        # Its VOC files count pixels from 0, in whole ones, though the standard says 1.
        np.testing.assert_allclose(boxes["voc"][film], box, atol=2.1)
