"""Prepares a data set: films and labels of a source -> records on disk."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath

from wristmir_jax import anatomy
from wristmir_jax.data.localized import LocalizedSource, bad_film, read_film
from wristmir_jax.data.record import DatasetInfo, Record
from wristmir_jax.data.schema import Encoder, Schema
from wristmir_jax.data.sources.base import ExamImage, Rejection, Source
from wristmir_jax.data.splits import SplitRule
from wristmir_jax.data.writer import (
    MAX_SHARD_BYTES,
    Account,
    dataset_writer,
    index_row,
    region_outcomes,
)
from wristmir_jax.errors import UserError
from wristmir_jax.images.localizing import PACKAGE, FilmLocalizer
from wristmir_jax.images.prepare import tower_inputs
from wristmir_jax.images.reading import BadImage
from wristmir_jax.progress import with_progress
from wristmir_jax.workers import ordered_map


def prepare(
    source: Source,
    output: epath.PathLike,
    *,
    image_size: int = 128,
    crop_size: int = 64,
    num_phrasings: int = 6,
    split_rule: SplitRule | None = None,
    seed: int = 0,
    num_workers: int = 0,
    overwrite: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    localizer: str | FilmLocalizer = PACKAGE,
    progress: bool = True,
) -> Account:
    """Read every row of a source and write `output`, a data set that `Dataset` and TFDS open.

    Rows that cannot be used are set aside with the reason. The records, their order and their
    bytes depend on the source and these arguments alone, not on `num_workers`.

    Args:
        source: such as `data.sources.folder.FolderSource`.
        output: folder; appears only when it is whole.
        image_size: S, pixels a side of the letterboxed film.
        crop_size: C, pixels a side of a region's crop.
        num_phrasings: P, wordings of each caption that are drawn for training.
        split_rule: how patients fall into splits; None is `SplitRule()`.
        seed: of the wordings.
        num_workers: processes that decode films; below 2, this one does it. With more, a script
            needs an `if __name__ == "__main__":` guard.
        overwrite: whether to replace a data set that is there.
        max_shard_bytes: a file of records is closed once it holds this much.
        localizer: what places the regions of films that come without boxes: "package", the one of
            this package; "prior", by geometry alone; "none", nothing, such films have no crops; a
            path, or a localiser of one's own.
        progress: whether to show progress on stderr.

    Raises:
        UserError: an argument is out of range; the input cannot be read; `output` exists; or not
            one radiograph could be prepared.
    """
    for name, value, least in (
        ("image_size", image_size, 16),
        ("crop_size", crop_size, 8),
        ("num_phrasings", num_phrasings, 1),
    ):
        if value < least:
            raise UserError(f"--{name}={value}: give at least {least}")
    split_rule = split_rule or SplitRule()
    localized = LocalizedSource(source, localizer)
    info = DatasetInfo(
        source=source.info.name,
        title=source.info.title,
        synthetic=source.info.synthetic,
        regions=source.info.regions,
        image_size=image_size,
        crop_size=crop_size,
        num_phrasings=num_phrasings,
        localizer=localized.localizer,
        num_records={},
        num_exams={},
        num_patients={},
        rejected={},
    )
    make = _MakeRecord(info, seed)
    with dataset_writer(output, info, overwrite, max_shard_bytes) as writer:
        results = ordered_map(make, localized.rows(num_workers, progress), num_workers)
        for result in with_progress(
            results, "prepare", source.info.num_rows, progress, lambda result: result.count
        ):
            if isinstance(result, Rejection):
                writer.reject(result)
            else:
                split = split_rule.split(result.row["patient_id"])
                writer.write(split, result.data, result.row, result.source_hash, result.outcomes)
        writer.made_with(localized.localizer)
        writer.account.notes = list(source.info.notes)
    return writer.account


@dataclass(frozen=True)
class _Encoded:
    data: bytes
    row: dict[str, Any]
    source_hash: str
    outcomes: list[str]
    count: int = 1


class _MakeRecord:
    """ExamImage -> encoded record; runs in the workers."""

    def __init__(self, info: DatasetInfo, seed: int):
        self._info = info
        self._seed = seed
        self._encoder: Encoder | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_encoder": None}

    def __call__(self, item: ExamImage | Rejection) -> _Encoded | Rejection:
        if isinstance(item, Rejection):
            return item
        try:
            record = self._record(item)
        except BadImage as error:
            return bad_film(item, error)
        except ValueError as error:
            return Rejection("box cannot be cut out", image=item.image_id, detail=str(error))
        if self._encoder is None:
            self._encoder = Encoder(Schema.of(self._info))
        return _Encoded(
            self._encoder.encode(record),
            index_row(record),
            record.source_hash,
            region_outcomes(record, self._info.regions),
        )

    def _record(self, item: ExamImage) -> Record:
        info = self._info
        radiograph = read_film(item)
        inputs = tower_inputs(
            radiograph,
            item.view,
            item.laterality,
            item.boxes,
            info.regions,
            info.image_size,
            info.crop_size,
            item.age_years,
            item.axis_degrees,
        )
        # The image's own generator: wordings do not depend on which rows stand before it.
        digest = hashlib.blake2b(item.image_id.encode(), digest_size=8).digest()
        rng = np.random.default_rng((self._seed, int.from_bytes(digest, "big")))
        labels = item.labels.render(info.regions, item.age_years, info.num_phrasings, rng)
        return Record(
            image_id=item.image_id,
            exam_id=item.exam_id,
            patient_id=item.patient_id,
            view=anatomy.code(anatomy.VIEWS, item.view, "view"),
            laterality=anatomy.code(anatomy.SIDES, item.laterality, "laterality"),
            sex=anatomy.code(anatomy.SEXES, item.sex, "sex"),
            age_years=item.age_years,
            initial_exam=item.initial_exam,
            fracture_visible=item.fracture_visible,
            fracture=labels.fracture,
            cast=item.cast,
            hardware=item.hardware,
            osteopenia=item.osteopenia,
            image=inputs.image,
            crops=inputs.crops,
            crop_present=inputs.crop_present,
            boxes=inputs.boxes,
            axis_degrees=item.axis_degrees,
            original_size=np.array(radiograph.original_size, np.int32),
            pixel_spacing_mm=radiograph.spacing,
            region_status=labels.region_status,
            caption=labels.caption,
            caption_phrasings=labels.caption_phrasings,
            region_captions=labels.region_captions,
            region_caption_phrasings=labels.region_caption_phrasings,
            findings_json=labels.findings_json,
            source_hash=radiograph.source_hash,
        )
