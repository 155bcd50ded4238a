"""Synthetic wrists with known boxes and findings: no input is needed."""

from collections.abc import Iterator

from wristmir_jax.anatomy import REGION_NAMES
from wristmir_jax.data.labels import FindingsLabels
from wristmir_jax.data.record import NO, YES
from wristmir_jax.data.sources.base import ExamImage, Rejection, SourceInfo
from wristmir_jax.errors import UserError

# Films are rendered at this many times the size that the towers see, within these limits.
_OVERSAMPLING = 2
_MIN_FILM, _MAX_FILM = 256, 512
MAX_DISTURBANCE = 3.0


class PhantomSource:
    """`num_exams` rendered exams; the same for the same seed and image size.

    The renderer knows what it drew, so flags are YES or NO, never UNKNOWN. Its reports are not
    stored.

    Raises:
        UserError: `num_exams` is below 1, or `disturbance` or `even_ages` (see `phantom.exams`) is
            out of range.
    """

    def __init__(
        self,
        num_exams: int,
        seed: int = 0,
        image_size: int = 128,
        disturbance: float = 0.0,
        even_ages: float = 0.0,
    ):
        if num_exams < 1:
            raise UserError(f"--num_exams={num_exams}: --source=phantom needs at least 1")
        if not 0.0 <= disturbance <= MAX_DISTURBANCE:
            raise UserError(
                f"--disturbance={disturbance:g}: choose 0 (tidy films) to {MAX_DISTURBANCE:g}"
            )
        if not 0.0 <= even_ages <= 1.0:
            raise UserError(f"--even_ages={even_ages:g}: it is a part of all patients, 0 to 1")
        self._num_exams = num_exams
        self._disturbance = disturbance
        self._even_ages = even_ages
        self._seed = seed
        self._film_size = min(max(_OVERSAMPLING * image_size, _MIN_FILM), _MAX_FILM)
        chosen = ""
        if disturbance > 0:
            chosen += f", disturbance {disturbance:g}"
        if even_ages > 0:
            chosen += f", even ages {even_ages:g}"
        title = f"Phantoms (synthetic wrists{chosen})"
        self.info = SourceInfo("phantom", title, True, REGION_NAMES)

    def rows(self, num_workers: int, progress: bool) -> Iterator[ExamImage | Rejection]:
        # Rendering starts JAX, which the worker processes never need.
        from wristmir_jax.images import phantom

        exams = phantom.exams(
            self._num_exams,
            self._seed,
            self._film_size,
            disturbance=self._disturbance,
            even_ages=self._even_ages,
        )
        for exam in exams:
            findings = exam.findings
            for view in exam.views:
                yield ExamImage(
                    image_id=view.image_id,
                    exam_id=exam.exam_id,
                    patient_id=exam.patient_id,
                    film=view.pixels,
                    labels=FindingsLabels(findings),
                    view=view.view,
                    laterality=exam.laterality,
                    sex=exam.sex,
                    age_years=exam.age_years,
                    initial_exam=_known(exam.initial_exam),
                    fracture_visible=_known(view.fracture_visible),
                    cast=_known(findings.cast),
                    hardware=_known(findings.hardware),
                    osteopenia=_known(findings.osteopenia),
                    pixel_spacing_mm=view.pixel_spacing_mm,
                    boxes=view.boxes,
                    axis_degrees=view.axis_degrees,
                )


def _known(value: bool | None) -> int:
    return YES if value else NO
