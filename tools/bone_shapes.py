"""Shapes of real wrists by view and age, and how near the phantoms' come to them.

    python -m tools.bone_shapes --polygons=bone_polygons.json --metadata=dataset.csv \\
        --output=wristmir_jax/images/real_shapes.json
    python -m tools.bone_shapes --phantoms=8

The files are those of GRAZPEDWRI-DX: hand-drawn outlines of bones by film, and age, sex, side and
projection. With --output their measures are written as the table that the phantoms take their
curves from: for each quantity a smooth curve over age, and for each view and age group its mean and
95 % interval (films resampled 2,000 times). With --phantoms=N the table is printed (that of the
package, or of the films given) with the means of N phantoms of every film's age, sex and view
beside it; `*` marks those that lie outside. Lengths are in widths W of the radial metaphysis on the
same film, `width` is W in mm, angles are degrees; `wristmir_jax/images/bone_outlines.py` says how
each is measured.
"""

from absl import flags
from etils import epath

from wristmir_jax import cli
from wristmir_jax.errors import UserError
from wristmir_jax.images import phantom_anatomy, shape_table

_POLYGONS = flags.DEFINE_string("polygons", None, "JSON of outlines by film.")
_METADATA = flags.DEFINE_string("metadata", None, "CSV of the films.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON to write the table of real shapes to.")
_PHANTOMS = flags.DEFINE_integer("phantoms", 0, "Phantoms a film to hold against the table.")


def main() -> None:
    polygons, metadata = _POLYGONS.value or "", _METADATA.value or ""
    if bool(polygons) != bool(metadata) or (_OUTPUT.value and not polygons):
        raise UserError("--polygons and --metadata go together, and --output needs them")
    if not _OUTPUT.value and not _PHANTOMS.value:
        raise UserError("nothing to do: give --output=JSON, --phantoms=N or both")
    if polygons:
        films, left_out = shape_table.read_films(polygons, metadata)
        for reason in left_out:
            print("left out", reason)
        print(f"measured {len(films)}  left out {len(left_out)}")
        names = [epath.Path(path).name for path in (polygons, metadata)]
        command = "python -m tools.bone_shapes --polygons={} --metadata={}".format(*names)
        contents = shape_table.shapes(films, command + " --output=real_shapes.json")
    else:
        contents = phantom_anatomy.real_shapes()
    if _OUTPUT.value:
        shape_table.save(contents, _OUTPUT.value)
    if _PHANTOMS.value:
        _print(shape_table.compare(contents, _PHANTOMS.value))


def _print(rows: list[shape_table.Compared]) -> None:
    print(
        "view     age     quantity                         n     real (95 % interval)      phantom"
    )
    for row in rows:
        interval = f"{row.mean:8.3f} ({row.low:.3f} to {row.high:.3f})"
        print(
            f"{row.view:8} {row.age:7} {row.quantity:31} {row.n:3} {interval:30} {row.phantom:8.3f}"
            + ("" if row.within else " *")
        )
    outside = sum(not row.within for row in rows)
    print(f"phantom means within the interval {len(rows) - outside} of {len(rows)}")


if __name__ == "__main__":
    cli.run(main)
