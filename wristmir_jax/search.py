"""Find the exams most alike to a radiograph, to an exam of the index, or to a text.

Examples:
  python -m wristmir_jax.search --index=I --workdir=DIR --query=wrist.png --region=distal_radius
  python -m wristmir_jax.search --index=I --query_exam=ID --region=distal_ulna --json
  python -m wristmir_jax.search --index=I --workdir=DIR --query_text="Buckle fracture." --max_age=8

Exams of the query's own patient are left out where the patient is known: of an exam of the index,
of a film that the index holds (told by its bytes, else by its file's name), or by --query_patient.
"""

import shutil
import sys

from absl import flags

from wristmir_jax import anatomy, cli
from wristmir_jax.retrieval.two_stage import NUM_CANDIDATES, REGION_WEIGHT, TOP_K

_INDEX = flags.DEFINE_string("index", None, "Folder that `index` wrote.", required=True)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the training run that made the index; --query_exam needs none."
)
_QUERY = flags.DEFINE_string("query", None, "Radiograph to ask with: a PNG or JPEG file.")
_QUERY_EXAM = flags.DEFINE_string("query_exam", None, "Exam of the index to ask with.")
_QUERY_TEXT = flags.DEFINE_string("query_text", None, "Words to ask with, as a caption's.")
_REGION = flags.DEFINE_string(
    "region", None, f"Bone in question, such as {anatomy.REGION_NAMES[0]}; none: the whole wrist."
)
_TOP_K = flags.DEFINE_integer("top_k", TOP_K, "Exams to find.")
_NUM_CANDIDATES = flags.DEFINE_integer(
    "num_candidates", NUM_CANDIDATES, "Exams that the second stage orders by the region."
)
_REGION_WEIGHT = flags.DEFINE_float(
    "region_weight", REGION_WEIGHT, "Share of the region in the score, 0 to 1."
)
_VIEW = flags.DEFINE_enum(
    "view", None, anatomy.VIEWS, "View of the --query film, where the index does not know it."
)
_LATERALITY = flags.DEFINE_enum(
    "laterality",
    None,
    anatomy.SIDES,
    "Side of the --query film; if nobody tells, that by which it is nearest to the index.",
)
_AGE_YEARS = flags.DEFINE_float(
    "age_years", None, "Age at the --query film: the ulnar styloid of the young is no bone yet."
)
_PIXEL_SPACING = flags.DEFINE_float(
    "pixel_spacing_mm", None, "Millimetres a pixel of the --query film: crops are of a size in mm."
)
_LOCALIZER = flags.DEFINE_string(
    "localizer",
    None,
    "What places the regions of the --query film: package, prior, none or a path, see `prepare`; "
    "by default what the index was prepared with.",
)
_QUERY_PATIENT = flags.DEFINE_string(
    "query_patient", None, "Whose film asks, where the index does not know."
)
_INCLUDE_OWN = flags.DEFINE_bool(
    "include_own_patient", False, "Also find exams of the query's patient, and the query's own."
)
_FILTER_VIEW = flags.DEFINE_enum("filter_view", None, anatomy.VIEWS, "Find films of this view.")
_FILTER_LATERALITY = flags.DEFINE_enum(
    "filter_laterality", None, anatomy.SIDES, "Find exams of this side."
)
_SEX = flags.DEFINE_enum("sex", None, anatomy.SEXES, "Find exams of this sex.")
_MIN_AGE = flags.DEFINE_float("min_age", None, "Find exams from this age on, years.")
_MAX_AGE = flags.DEFINE_float("max_age", None, "Find exams up to this age, years.")
_CAST = flags.DEFINE_bool("cast", None, "Find exams in a cast, or --nocast: without.")
_HARDWARE = flags.DEFINE_bool("hardware", None, "Find exams with metal, or --nohardware: without.")
_INITIAL_EXAM = flags.DEFINE_bool(
    "initial_exam", None, "Find first exams, or --noinitial_exam: follow-ups."
)
_JSON = flags.DEFINE_bool("json", False, "Print one JSON object a hit and line, no table.")


def main() -> None:
    from wristmir_jax.retrieval.filters import Filters
    from wristmir_jax.retrieval.questions import FilmFacts
    from wristmir_jax.retrieval.searching import search

    told = (_VIEW.value, _LATERALITY.value, _AGE_YEARS.value, _PIXEL_SPACING.value)
    answer = search(
        _INDEX.value,
        _WORKDIR.value,
        query=_QUERY.value,
        query_exam=_QUERY_EXAM.value,
        query_text=_QUERY_TEXT.value,
        region=_REGION.value,
        top_k=_TOP_K.value,
        num_candidates=_NUM_CANDIDATES.value,
        region_weight=_REGION_WEIGHT.value,
        facts=None if told == (None,) * 4 else FilmFacts(*told),
        localizer=_LOCALIZER.value,
        query_patient=_QUERY_PATIENT.value,
        include_own_patient=_INCLUDE_OWN.value,
        filters=Filters(
            view=_FILTER_VIEW.value,
            laterality=_FILTER_LATERALITY.value,
            sex=_SEX.value,
            min_age=_MIN_AGE.value,
            max_age=_MAX_AGE.value,
            cast=_CAST.value,
            hardware=_HARDWARE.value,
            initial_exam=_INITIAL_EXAM.value,
        ),
    )
    for note in answer.notes:
        print(f"note: {note}", file=sys.stderr)
    if _JSON.value:
        print("\n".join(hit.to_json() for hit in answer.hits))
    else:
        print(answer.table(shutil.get_terminal_size((100, 24)).columns))


if __name__ == "__main__":
    cli.run(main)
