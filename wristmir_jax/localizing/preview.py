"""Pictures of what a localiser found, for a person to skim."""

import io

import numpy as np
from etils import epath
from PIL import Image, ImageDraw

from wristmir_jax.anatomy import REGIONS
from wristmir_jax.images.crops import crop
from wristmir_jax.images.localizing import SmallFilm
from wristmir_jax.localizing.localizer import MIN_CONFIDENCE, Located

COLOURS = ("#ff6b6b", "#69db7c", "#ffd43b", "#4dabf7", "#da77f2")
_FILM, _CROP, _INK, _PAPER = 448, 144, "#f1f3f5", "#101113"


def preview(film: SmallFilm, located: Located) -> Image.Image:
    """The film with its boxes, and beside it the crop and the confidence of each region."""
    height, width = film.pixels.shape
    scale = _FILM / max(height, width)
    picture = Image.new("RGB", (_FILM + _CROP, max(_FILM, len(REGIONS) * _CROP)), _PAPER)
    shown = Image.fromarray(film.pixels).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR
    )
    picture.paste(shown, (0, 0))
    draw = ImageDraw.Draw(picture)
    pixels = film.pixels.astype(np.float32) / 255
    for index, (region, box) in enumerate(zip(REGIONS, located.boxes, strict=True)):
        colour, top = COLOURS[index % len(COLOURS)], index * _CROP
        sure = f"{region.label} {located.confidence[index]:.2f}"
        if np.isnan(box).any():
            draw.text((_FILM + 4, top + 4), f"{sure}\nbelow {MIN_CONFIDENCE}", _INK)
            continue
        draw.rectangle([float(value) * scale for value in box], outline=colour, width=2)
        square = crop(pixels, box, _CROP, located.axis_degrees)
        picture.paste(Image.fromarray(square), (_FILM, top))
        draw.rectangle((_FILM, top, _FILM + _CROP - 1, top + _CROP - 1), outline=colour)
        draw.text((_FILM + 4, top + 4), sure, colour)
    said = f"{located.view} {located.view_confidence:.2f}  {located.laterality}"
    draw.text((4, 4), said, _INK, stroke_width=2, stroke_fill=_PAPER)
    return picture


def write_preview(folder: epath.Path, name: str, film: SmallFilm, located: Located) -> None:
    """Write `preview` as `<folder>/<name with __ for />.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    preview(film, located).save(data, "PNG")
    (folder / f"{name.replace('/', '__')}.png").write_bytes(data.getvalue())
