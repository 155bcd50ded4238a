"""Streams records to a data set on disk: ArrayRecord shards, TFDS metadata and the label tables.

Memory does not grow with the number of records, apart from a few dozen bytes for each image, exam
and patient id. Everything is written beside the output and renamed at the end.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_datasets as tfds
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]
from etils import epath

from wristmir_jax import anatomy, buckets
from wristmir_jax.data.dataset import index_file
from wristmir_jax.data.record import INFO_FILE, SPLITS, DatasetInfo, Record
from wristmir_jax.data.schema import Schema
from wristmir_jax.data.sources.base import Rejection
from wristmir_jax.errors import UserError
from wristmir_jax.folders import write_aside
from wristmir_jax.reports.captions import caption_group

DATASET_NAME = "wristmir"
REJECTED_FILE = "rejected.jsonl"
MAX_SHARD_BYTES = 256 * 2**20
_INDEX_ROWS_A_GROUP = 4096

CROPPED, NOT_FOUND = "cropped", "not found"
NOT_SCORED, NOT_OSSIFIED = "not scored in this view", "not ossified at this age"
# In the order in which they are told.
OUTCOMES = (CROPPED, NOT_FOUND, NOT_SCORED, NOT_OSSIFIED)

INDEX_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("exam_id", pa.string()),
        ("patient_id", pa.string()),
        ("view", pa.int8()),
        ("laterality", pa.int8()),
        ("fracture", pa.int8()),
        ("cast", pa.int8()),
        ("hardware", pa.int8()),
        ("osteopenia", pa.int8()),
        ("initial_exam", pa.int8()),
        ("caption_group", pa.int64()),
        ("region_status", pa.list_(pa.uint8())),
        ("region_caption_group", pa.list_(pa.int64())),
        ("crop_present", pa.list_(pa.uint8())),
        ("axis_degrees", pa.float32()),
    ]
)


def index_row(record: Record) -> dict[str, Any]:
    """The record's row of the label table, as `INDEX_SCHEMA` says; group -1 = no caption."""
    row = {name: getattr(record, name) for name in INDEX_SCHEMA.names[:10]}
    return row | {
        "caption_group": _group(record.caption),
        "region_status": record.region_status.tolist(),
        "region_caption_group": [_group(caption) for caption in record.region_captions],
        "crop_present": record.crop_present.tolist(),
        "axis_degrees": record.axis_degrees,
    }


def region_outcomes(record: Record, regions: tuple[str, ...]) -> list[str]:
    """What became of each of the record's R regions, of `OUTCOMES`."""
    view = anatomy.VIEWS[record.view]
    outcomes = []
    for name, present in zip(regions, record.crop_present, strict=True):
        region = anatomy.region(name)
        if present:
            outcomes.append(CROPPED)
        elif view not in region.scored_views:
            outcomes.append(NOT_SCORED)
        elif region.absent(record.age_years):
            outcomes.append(NOT_OSSIFIED)
        else:
            outcomes.append(NOT_FOUND)
    return outcomes


def _group(caption: str) -> int:
    return caption_group(caption) if caption else -1


@dataclass
class Account:
    """What became of the input.

    Attributes:
        read: input rows.
        rejected: rows set aside, by reason.
        records, exams, patients: written, by split.
        regions: what became of the regions of the films that were written: how many, by region and
            outcome ("cropped", "not found", ...).
        notes: further lines for the person, from the source.
    """

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    records: dict[str, int] = field(default_factory=dict)
    exams: dict[str, int] = field(default_factory=dict)
    patients: dict[str, int] = field(default_factory=dict)
    regions: dict[str, Counter[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def written(self) -> int:
        return sum(self.records.values())

    def lines(self) -> list[str]:
        """For printing; the last line is `read N  written W  rejected R`."""
        lines = list(self.notes)
        for split in SPLITS:
            lines.append(
                f"{split}: {self.records.get(split, 0)} radiographs of {self.exams.get(split, 0)} "
                f"exams of {self.patients.get(split, 0)} patients"
            )
        for region, outcomes in self.regions.items():
            told = [outcome for outcome in OUTCOMES if outcomes[outcome] or outcome == CROPPED]
            counts = [f"{outcomes[outcome]} {outcome}" for outcome in told]
            lines.append(f"{region}: {', '.join(counts)}")
        lines += [f"set aside: {count}  {reason}" for reason, count in self.rejected.most_common()]
        rejected = self.rejected.total()
        lines.append(f"read {self.read}  written {self.written}  rejected {rejected}")
        return lines


class DatasetWriter:
    """Writes one data set; use `dataset_writer`.

    Two radiographs never share an image_id, and two patients never share a film: the second one is
    set aside, or the same film could stand on both sides of a split.
    """

    def __init__(self, directory: epath.Path, info: DatasetInfo, max_shard_bytes: int):
        self._directory = directory
        self._info = info
        self._max_shard_bytes = max_shard_bytes
        self._splits: dict[str, _SplitWriter] = {}
        self._image_ids: set[int] = set()
        self._patient_of_film: dict[int, int] = {}
        self._rejected = (directory / REJECTED_FILE).open("w")
        self.account = Account(regions={region: Counter() for region in info.regions})

    def write(
        self,
        split: str,
        data: bytes,
        row: dict[str, Any],
        source_hash: str,
        outcomes: Sequence[str],
    ) -> None:
        """Add an encoded record and its `index_row` to a split, unless it is a duplicate.

        Args:
            outcomes: of its R regions, for the account (`region_outcomes`).
        """
        image, patient = _digest(row["image_id"]), _digest(row["patient_id"])
        if image in self._image_ids:
            self.reject(Rejection("image_id is not unique", image=row["image_id"]))
            return
        if source_hash:
            first_patient = self._patient_of_film.setdefault(int(source_hash, 16), patient)
            if first_patient != patient:
                self.reject(Rejection("same file as of another patient", image=row["image_id"]))
                return
        self._image_ids.add(image)
        self.account.read += 1
        for counts, outcome in zip(self.account.regions.values(), outcomes, strict=True):
            counts[outcome] += 1
        if split not in self._splits:
            self._splits[split] = _SplitWriter(self._directory, split, self._max_shard_bytes)
        self._splits[split].write(data, row)

    def reject(self, rejection: Rejection) -> None:
        """Set input rows aside: counted, and named in `rejected.jsonl`."""
        self.account.read += rejection.count
        self.account.rejected[rejection.reason] += rejection.count
        self._rejected.write(rejection.to_json() + "\n")

    def made_with(self, localizer: str) -> None:
        """Say what placed the regions, where that is known only when every row was read."""
        self._info = self._info.model_copy(update={"localizer": localizer})

    def finish(self) -> None:
        """Close the files, name the shards, and write the metadata.

        Where no patient fell into train, the split with the most records becomes train: a data set
        of a few patients can be trained on, and patients still never stand in two splits.

        Raises:
            UserError: nothing was written.
        """
        self._rejected.close()
        if not self._splits:
            reasons = ", ".join(f"{count} {why}" for why, count in self.account.rejected.items())
            raise UserError(
                f"no radiograph could be prepared of {self.account.read} read "
                f"({reasons or 'the input is empty'}): check --input"
            )
        if "train" not in self._splits:
            largest = max(sorted(self._splits), key=lambda split: self._splits[split].num_records)
            self._splits["train"] = self._splits.pop(largest)
        writers = {split: self._splits[split] for split in SPLITS if split in self._splits}
        template = tfds.core.ShardedFileTemplate(
            data_dir=self._directory, dataset_name=DATASET_NAME, filetype_suffix="array_record"
        )
        split_infos = []
        for split, writer in writers.items():
            writer.finish(split)
            split_infos.append(
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=writer.shard_lengths,
                    num_bytes=writer.num_bytes,
                    filename_template=template.replace(split=split),
                )
            )
        tfds.folder_dataset.write_metadata(
            data_dir=self._directory,
            features=Schema.of(self._info).features(),
            split_infos=split_infos,
            check_data=False,
            description=self._info.title,
        )
        account = self.account
        account.records = {split: writer.num_records for split, writer in writers.items()}
        account.exams = {split: len(writer.exams) for split, writer in writers.items()}
        account.patients = {split: len(writer.patients) for split, writer in writers.items()}
        info = self._info.model_copy(
            update={
                "num_records": _every_split(account.records),
                "num_exams": _every_split(account.exams),
                "num_patients": _every_split(account.patients),
                "rejected": dict(sorted(account.rejected.items())),
            }
        )
        (self._directory / INFO_FILE).write_text(json.dumps(info.model_dump(), indent=2) + "\n")

    def abort(self) -> None:
        """Close the files; the caller removes them."""
        self._rejected.close()
        for writer in self._splits.values():
            writer.close()


@contextlib.contextmanager
def dataset_writer(
    output: epath.PathLike,
    info: DatasetInfo,
    overwrite: bool,
    max_shard_bytes: int,
) -> Iterator[DatasetWriter]:
    """A writer of `output`, which appears whole when the block ends without an exception.

    Args:
        output: a folder that a file system call can write: local, or a mounted bucket.
        info: what is known beforehand; counts are filled in.
        overwrite: whether to replace a data set that is there.
        max_shard_bytes: a file of records is closed once it holds this much.

    Raises:
        UserError: `output` is a bucket URL, or exists (unless it is to be overwritten), or nothing
            was written.
    """
    buckets.refuse(output, "--output")
    path = epath.Path(output)
    if path.exists() and not overwrite and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{output} exists: give --overwrite to replace it, or another --output")
    with write_aside(path, INFO_FILE) as aside:
        writer = DatasetWriter(aside, info, max_shard_bytes)
        try:
            yield writer
            writer.finish()
        except BaseException:
            writer.abort()
            raise


class _SplitWriter:
    """Shards and label table of one split; files get their final names at the end."""

    def __init__(self, directory: epath.Path, split: str, max_shard_bytes: int):
        self._directory = directory
        self._name = split
        self._max_shard_bytes = max_shard_bytes
        self._records: array_record_module.ArrayRecordWriter | None = None
        self._shard_bytes = 0
        self._rows: list[dict[str, Any]] = []
        self._table = pq.ParquetWriter(str(directory / f"{split}.unfinished"), INDEX_SCHEMA)
        self.shard_lengths: list[int] = []
        self.num_bytes = 0
        self.exams: set[int] = set()
        self.patients: set[int] = set()

    @property
    def num_records(self) -> int:
        return sum(self.shard_lengths)

    def write(self, data: bytes, row: dict[str, Any]) -> None:
        if self._records is None or self._shard_bytes + len(data) > self._max_shard_bytes:
            self._next_shard()
        assert self._records is not None
        self._records.write(data)
        self._shard_bytes += len(data)
        self.num_bytes += len(data)
        self.shard_lengths[-1] += 1
        self.exams.add(_digest(row["exam_id"]))
        self.patients.add(_digest(row["patient_id"]))
        self._rows.append(row)
        if len(self._rows) >= _INDEX_ROWS_A_GROUP:
            self._write_rows()

    def finish(self, split: str) -> None:
        """Close, and name everything as files of `split`."""
        self._write_rows()
        self.close()
        (self._directory / f"{self._name}.unfinished").rename(self._directory / index_file(split))
        total = len(self.shard_lengths)
        for shard in range(total):
            final = f"{DATASET_NAME}-{split}.array_record-{shard:05d}-of-{total:05d}"
            self._shard_path(shard).rename(self._directory / final)

    def close(self) -> None:
        self._table.close()
        if self._records is not None:
            self._records.close()
            self._records = None

    def _next_shard(self) -> None:
        if self._records is not None:
            self._records.close()
        # Random access is per group, so a group is one record.
        self._records = array_record_module.ArrayRecordWriter(
            str(self._shard_path(len(self.shard_lengths))), "group_size:1"
        )
        self._shard_bytes = 0
        self.shard_lengths.append(0)

    def _shard_path(self, shard: int) -> epath.Path:
        return self._directory / f"{self._name}-{shard:05d}.unfinished"

    def _write_rows(self) -> None:
        if self._rows:
            self._table.write_table(pa.Table.from_pylist(self._rows, INDEX_SCHEMA))
            self._rows = []


def _digest(text: str) -> int:
    """64 bits that stand for an id: a set of them is small, and a clash is out of reach."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _every_split(counts: dict[str, int]) -> dict[str, int]:
    return {split: counts.get(split, 0) for split in SPLITS}
