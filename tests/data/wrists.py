"""Small input folders for the tests of `prepare`."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

COLUMNS = ["exam_id", "patient_id", "image_path", "view", "laterality", "age_years", "sex"]


def write_film(path: Path, seed: int, height: int = 160, width: int = 100) -> None:
    """A 16-bit film whose pixels depend on the seed."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, width)
    film = 0.3 + 0.4 * np.clip(1 - x**2, 0, 1) * np.ones((height, 1))
    film += 0.2 * np.exp(-(((x - rng.uniform(-0.5, 0.5)) / 0.1) ** 2))
    film += rng.normal(0, 0.02, film.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(film.clip(0, 1) * 65535).astype(np.uint16)).save(path)


def row(index: int, **changes: str) -> dict[str, str]:
    """A row of a manifest: film `index` of patient and exam `index`."""
    values = {
        "exam_id": f"E{index}",
        "patient_id": f"P{index}",
        "image_path": f"films/{index}.png",
        "view": "pa",
        "laterality": "left",
        "age_years": "10.5",
        "sex": "f",
    }
    return values | changes


def write_folder(folder: Path, rows: Iterable[dict[str, str]], films: bool = True) -> Path:
    """A folder with `manifest.csv` and, where they are not there yet, its films."""
    rows = list(rows)
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for values in rows for name in values))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    for place, values in enumerate(rows):
        path = folder / values["image_path"]
        if films and not path.exists():
            write_film(path, place)
    return folder


def findings(status: str = "fracture", **changes: object) -> dict[str, object]:
    """Findings of a broken (or whole) distal radius, without exam_id."""
    regions: dict[str, object] = {
        "distal_radius": {"status": status},
        "distal_ulna": {"status": "no_fracture"},
        "ulnar_styloid": {"status": "no_fracture"},
    }
    if status == "fracture":
        regions["distal_radius"] = {"status": status, "fracture_type": "buckle"}
    return {"laterality": "left", "regions": regions} | changes


def write_lines(path: Path, lines: Iterable[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
