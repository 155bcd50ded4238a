"""Writes boxes in the formats of other tools, as those tools do; pixels count from 0."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 90, 120
LABELS = ("distal_radius", "Distal Ulna", "styloid")
MAPPED = ("styloid:ulnar_styloid",)
# By film, x0 y0 x1 y1 of each label, None = not drawn.
BOXES = {
    "a.png": ((20, 30, 60, 80), (10, 35, 30, 85), (8, 28, 20, 40)),
    "b.png": ((0, 0, 90, 120), (33, 44, 55, 66), None),
    "c.png": (None, (1, 2, 3, 5), None),
}


def corners(box):
    x0, y0, x1, y1 = box
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def mask_of(box) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = 1
    return mask


def runs(values: np.ndarray) -> list[int]:
    """Run lengths of a row of 0 and 1, zeros first."""
    changes = np.flatnonzero(np.diff(values.astype(np.int8), prepend=0, append=-1))
    return np.diff(changes, prepend=0).tolist()


def films(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in BOXES:
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folder / name)
    return folder


def drawn():
    """(number of the film, its name, number of the label, its box)."""
    for place, (name, boxes) in enumerate(BOXES.items()):
        for label, box in enumerate(boxes):
            if box is not None:
                yield place, name, label, box


def coco(folder: Path, kind: str = "box") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    annotations = []
    for place, _, label, box in drawn():
        x0, y0, x1, y1 = box
        columns = mask_of(box).ravel(order="F")
        shape = {
            "box": {"bbox": [x0, y0, x1 - x0, y1 - y0]},
            "polygon": {"segmentation": [[v for point in corners(box) for v in point]]},
            "runs": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(columns)}},
            "coded runs": {"segmentation": coded_runs(mask_of(box))},
        }[kind]
        annotations.append(
            {"id": len(annotations) + 1, "image_id": place, "category_id": label, **shape}
        )
    content = {
        "images": [
            {"id": place, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for place, name in enumerate(BOXES)
        ],
        "annotations": annotations,
        "categories": [{"id": place, "name": name} for place, name in enumerate(LABELS)],
    }
    (folder / "coco.json").write_text(json.dumps(content, indent=1))
    return folder / "coco.json"


def coded_runs(mask: np.ndarray) -> dict:
    from pycocotools import mask as run_lengths

    coded = run_lengths.encode(np.asfortranarray(mask))
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def yolo(folder: Path, kind: str = "box") -> Path:
    labels = folder / "labels"
    labels.mkdir(parents=True)
    films(folder / "images")
    (folder / "data.yaml").write_text(f"names: {list(LABELS)}\n")
    lines: dict[str, list[str]] = {name: [] for name in BOXES}
    for _, name, label, (x0, y0, x1, y1) in drawn():
        if kind == "box":
            values = [
                (x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT,
                (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT,
            ]  # fmt: skip
        else:
            points = corners((x0, y0, x1, y1))
            values = [v for x, y in points for v in (x / WIDTH, y / HEIGHT)]
        lines[name].append(f"{label} " + " ".join(f"{value:.6f}" for value in values))
    for name, rows in lines.items():
        (labels / name).with_suffix(".txt").write_text("\n".join(rows) + "\n")
    return labels


def cvat(folder: Path, kind: str = "box") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    images: dict[str, list[str]] = {name: [] for name in BOXES}
    for _, name, label, box in drawn():
        x0, y0, x1, y1 = box
        images[name].append(
            {
                "box": f'<box label="{LABELS[label]}" xtl="{x0}" ytl="{y0}" '
                f'xbr="{x1}" ybr="{y1}"/>',
                "polygon": f'<polygon label="{LABELS[label]}" points="'
                + ";".join(f"{x},{y}" for x, y in corners(box))
                + '"/>',
                "mask": f'<mask label="{LABELS[label]}" rle="0, {(x1 - x0) * (y1 - y0)}" '
                f'left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}"/>',
                # A quarter turn about the middle, of the box that this one is the quarter turn of.
                "turned box": _turned(LABELS[label], box),
            }[kind]
        )
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "<version>1.1</version>"]
    for place, (name, shapes) in enumerate(images.items()):
        head = f'<image id="{place}" name="{name}" width="{WIDTH}" height="{HEIGHT}">'
        lines += [head, *shapes, "</image>"]
    (folder / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]))
    return folder / "annotations.xml"


def _turned(label, box) -> str:
    x0, y0, x1, y1 = box
    x, y, half_width, half_height = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    return (
        f'<box label="{label}" xtl="{x - half_height}" ytl="{y - half_width}" '
        f'xbr="{x + half_height}" ybr="{y + half_width}" rotation="90.0"/>'
    )


def voc(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, boxes in BOXES.items():
        lines = [
            "<annotation>",
            f"<filename>{name}</filename>",
            f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>",
        ]
        for label, box in zip(LABELS, boxes, strict=True):
            if box is not None:
                x0, y0, x1, y1 = box
                lines += [
                    f"<object><name>{label}</name>",
                    f"<bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
                    f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>",
                ]
        (folder / name).with_suffix(".xml").write_text("\n".join([*lines, "</annotation>"]))
    return folder
