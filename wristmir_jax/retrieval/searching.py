"""`search`: one question to an index, answered without the query's own patient."""

from dataclasses import dataclass

from etils import epath

from wristmir_jax import anatomy
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import FilmLocalizer
from wristmir_jax.images.reading import read_radiograph
from wristmir_jax.learning.inference import load_embedder
from wristmir_jax.retrieval.filters import NO_FILTERS, Filters
from wristmir_jax.retrieval.hits import Hit, table
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.questions import (
    FilmFacts,
    Question,
    TextVectors,
    ask_with_exam,
    ask_with_film,
    ask_with_text,
)
from wristmir_jax.retrieval.two_stage import NUM_CANDIDATES, REGION_WEIGHT, TOP_K, Index


@dataclass(frozen=True)
class Answer:
    """What was found for a question.

    Attributes:
        title: the data set's, which says so where the wrists are synthetic.
        question: what was asked.
        region: that was asked for.
        caption: of the query's own exam and that region, "" where it is not known.
        hits: best first, at least one.
        notes: what the user should know, a line each.
    """

    title: str
    question: Question
    region: str | None
    caption: str
    hits: list[Hit]
    notes: tuple[str, ...]

    def table(self, width: int = 100) -> str:
        """For a person to read, see `retrieval.hits.table`."""
        part = "whole wrist" if self.region is None else anatomy.region(self.region).label
        shown = f" ({self.question.shown_as})" if self.question.shown_as else ""
        asked = f"query: {self.question.name}{shown}, {part}"
        said = [f"said of it: {self.caption}"] if self.caption else []
        return "\n".join([self.title, asked, *said, "", table(self.hits, self.region, width)])


def search(
    index: epath.PathLike,
    workdir: epath.PathLike | None = None,
    *,
    query: epath.PathLike | None = None,
    query_exam: str | None = None,
    query_text: str | None = None,
    region: str | None = None,
    top_k: int = TOP_K,
    num_candidates: int = NUM_CANDIDATES,
    region_weight: float = REGION_WEIGHT,
    facts: FilmFacts | None = None,
    localizer: str | FilmLocalizer | None = None,
    query_patient: str | None = None,
    include_own_patient: bool = False,
    filters: Filters = NO_FILTERS,
) -> Answer:
    """Open an index and ask it one question; to ask many, use `answer`.

    Exactly one of `query`, `query_exam` and `query_text` is given.

    Args:
        index: folder that `index` wrote.
        workdir: of the run that made the index; not needed to ask with an exam, but checked.
        query: file of a radiograph.
        query_exam: an exam of the index.
        query_text: words, as a caption would say them.
        facts: view, side, age and pixel spacing of the radiograph.
        localizer: what places the regions of the radiograph, see `ask_with_film`.
        The others: see `answer`.

    Raises:
        UserError: something of this is wrong, or nothing was found; the message says what.
    """
    given = [
        flag
        for flag, value in (
            ("--query", query),
            ("--query_exam", query_exam),
            ("--query_text", query_text),
        )
        if value
    ]
    if len(given) != 1:
        raise UserError(
            f"{' and '.join(given) or 'no query'} given: ask with exactly one of --query=IMAGE, "
            "--query_exam=ID and --query_text=TEXT"
        )
    if facts is not None and not query:
        raise UserError(f"view, side, age and spacing are told of a film, not with {given[0]}")
    opened = Index.load(index)
    # What is quickly checked comes before the model is read.
    if region is not None:
        opened.region(region)
    question = ask_with_exam(opened, query_exam) if query_exam else None
    film = read_radiograph(query) if query else None
    if question is None and workdir is None:
        raise UserError(f"--workdir is missing: {given[0]} is embedded by the model of a run")
    if workdir is not None:
        embedder = load_embedder(workdir, batch_size=1)
        opened.check_model(embedder.model_fingerprint, f"--workdir={workdir}")
        if query and film is not None:
            question = ask_with_film(
                opened, embedder, film, epath.Path(query).name, facts, localizer
            )
        if query_text:
            question = ask_with_text(opened, embedder, query_text, region)
    assert question is not None
    return answer(
        opened,
        question,
        region,
        top_k,
        num_candidates=num_candidates,
        region_weight=region_weight,
        query_patient=query_patient,
        include_own_patient=include_own_patient,
        filters=filters,
    )


def answer(
    index: Index,
    question: Question,
    region: str | None = None,
    top_k: int = TOP_K,
    *,
    num_candidates: int = NUM_CANDIDATES,
    region_weight: float = REGION_WEIGHT,
    query_patient: str | None = None,
    include_own_patient: bool = False,
    filters: Filters = NO_FILTERS,
) -> Answer:
    """The exams most alike to the question.

    Args:
        region: the bone in question; None for the whole wrist. A text must have been asked with the
            same region.
        top_k, num_candidates, region_weight: see `Index.search_batch`; a text is searched in one
            stage, so that only `top_k` counts.
        query_patient: whose exam is asked with, where the index does not know.
        include_own_patient: whether exams of that patient, and the query's own, may be found.
        filters: what may be found.

    Raises:
        UserError: unknown region, a number out of its range, or nothing was found.
    """
    notes = list(question.notes)
    patient = query_patient or question.patient_id
    if query_patient and not index.exams.of_patient(query_patient):
        notes.append("the index holds no exam of the patient given as query_patient")
    exam = question.exam_id
    if include_own_patient:
        patient = exam = None
    elif patient is None and isinstance(question.vectors, Queries):
        notes.append(
            "whose film this is, is not known: exams of the same patient may be found; "
            "query_patient leaves them out"
        )
    if isinstance(question.vectors, TextVectors):
        hits = index.search_text(
            question.vectors.of_wrist,
            question.vectors.of_region,
            region,
            top_k,
            exclude_patient=patient,
            filters=filters,
        )
    else:
        hits = index.search(
            question.vectors,
            region,
            top_k,
            num_candidates=num_candidates,
            region_weight=region_weight,
            exclude_patient=patient,
            exclude_exam=exam,
            filters=filters,
        )
        if region is not None and not _shows(question.vectors, index.region(region)):
            notes.append(
                f"the query does not show the {anatomy.region(region).label}: "
                "exams are ordered by the whole wrist"
            )
    if not hits:
        raise UserError(_nothing(region, filters, question, excluded=patient or exam))
    if len(hits) < top_k:
        notes.append(f"no more than {len(hits)} of {top_k} exams could be found")
    caption = _caption(index, question.exam_id, region)
    return Answer(index.metadata.title, question, region, caption, hits, tuple(notes))


def _caption(index: Index, exam_id: str | None, region: str | None) -> str:
    if exam_id is None:
        return ""
    row = int(index.exams.rows(index.exams.exam(exam_id))[0])
    return index.ids["caption" if region is None else f"{region}_caption"][row].as_py()


def _shows(query: Queries, region: int) -> bool:
    return bool(query.region_present[:, :, region].any())


def _nothing(region: str | None, filters: Filters, question: Question, excluded: object) -> str:
    causes = []
    if filters != NO_FILTERS:
        causes.append("the filters leave none")
    if excluded:
        causes.append("exams of the query's own patient are left out")
    if region is not None and isinstance(question.vectors, TextVectors):
        causes.append(f"only exams that show the {anatomy.region(region).label} are searched")
    return f"no exam was found: {', '.join(causes) or 'the index is empty'}"
