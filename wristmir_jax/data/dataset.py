"""Reads a prepared data set: its labels as a table, its records by random access."""

import itertools
import json
from dataclasses import dataclass
from typing import Any, SupportsIndex

import pyarrow as pa
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source
from etils import epath
from pydantic import ValidationError

from wristmir_jax import buckets
from wristmir_jax.data.record import INFO_FILE, RECORD_VERSION, SPLITS, DatasetInfo
from wristmir_jax.data.schema import Decoder, Schema
from wristmir_jax.errors import UserError
from wristmir_jax.tables import read_parquet

ALL_SPLITS = "all"


def index_file(split: str) -> str:
    """Name of the table of a split's labels."""
    return f"{split}.index.parquet"


@dataclass(frozen=True)
class _Shard:
    """A whole ArrayRecord file, as `array_record` wants it told to open it without counting."""

    filename: str
    examples_in_shard: int
    skip: int = 0

    @property
    def take(self) -> int:
        return self.examples_in_shard


class RecordSource:
    """Random access to records; files are opened on first use in each process that reads.

    An item is a dict with the fields of `data.record.Record`: read-only arrays, str, int, float.
    """

    def __init__(self, shards: list[_Shard], schema: Schema):
        self._shards = shards
        self._decoder = Decoder(schema)
        self._length = sum(shard.examples_in_shard for shard in shards)
        self._reader: array_record_data_source.ArrayRecordDataSource | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = index.__index__()
        if not 0 <= index < self._length:
            raise IndexError(f"record {index} of {self._length}")
        if self._reader is None:
            shards: Any = self._shards  # Its protocol does not accept a frozen dataclass.
            self._reader = array_record_data_source.ArrayRecordDataSource(shards)
        return self._decoder.decode(self._reader[index])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None}

    def __repr__(self) -> str:
        return f"RecordSource({self._length} records in {len(self._shards)} files)"


class Dataset:
    """A folder that `prepare` wrote.

    Attributes:
        directory: the folder.
        info: what it holds.

    Raises:
        UserError: there is no such folder, it is no prepared data set, its records are of another
            version, or it is on a bucket that is not mounted.
    """

    def __init__(self, directory: epath.PathLike):
        buckets.refuse(directory, "--dataset")
        self.directory = epath.Path(directory)
        self.info = _read_info(self.directory)

    def splits(self, split: str) -> list[str]:
        """The non-empty splits that `split` stands for, in order; "all" stands for every split.

        Raises:
            UserError: the split is unknown or empty.
        """
        if split not in (*SPLITS, ALL_SPLITS):
            raise UserError(
                f"unknown split {split!r}: choose one of {', '.join((*SPLITS, ALL_SPLITS))}"
            )
        wanted = SPLITS if split == ALL_SPLITS else (split,)
        present = [name for name in wanted if self.info.num_records.get(name, 0)]
        if not present:
            counts = ", ".join(f"{name} {self.info.num_records.get(name, 0)}" for name in SPLITS)
            raise UserError(
                f"split {split!r} of {self.directory} is empty ({counts}): choose another, or "
                "prepare more patients or with other fractions"
            )
        return present

    def index(self, split: str) -> pa.Table:
        """The labels of a split's records, in record order; columns as in `data/writer.py`.

        Raises:
            UserError: the split is unknown or empty, or its table is missing.
        """
        tables = []
        for name in self.splits(split):
            path = self.directory / index_file(name)
            try:
                table = read_parquet(path)
            except FileNotFoundError:
                raise UserError(f"{path} is missing: prepare the data set again") from None
            except pa.ArrowInvalid:
                raise UserError(f"{path} is damaged: prepare the data set again") from None
            if table.num_rows != self.info.num_records[name]:
                raise UserError(
                    f"{path} has {table.num_rows} rows for {self.info.num_records[name]} records: "
                    "prepare the data set again"
                )
            tables.append(table)
        return pa.concat_tables(tables)

    def source(self, split: str) -> RecordSource:
        """The records of a split.

        Raises:
            UserError: the split is unknown or empty, or files of it are missing.
        """
        shards = list(itertools.chain(*(self._shards(name) for name in self.splits(split))))
        return RecordSource(shards, Schema.of(self.info))

    def _shards(self, split: str) -> list[_Shard]:
        try:
            builder = tfds.builder_from_directory(str(self.directory))
            instructions = builder.info.splits[split].file_instructions
        except (FileNotFoundError, KeyError, ValueError) as error:
            raise UserError(
                f"{self.directory} has no TFDS metadata of split {split!r} "
                f"({type(error).__name__}): prepare the data set again"
            ) from error
        shards = [_Shard(str(item.filename), item.examples_in_shard) for item in instructions]
        for shard in shards:
            if not epath.Path(shard.filename).exists():
                raise UserError(f"{shard.filename} is missing: prepare the data set again")
        return shards


def _read_info(directory: epath.Path) -> DatasetInfo:
    path = directory / INFO_FILE
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        problem = "is no prepared data set" if directory.exists() else "does not exist"
        raise UserError(
            f"{directory} {problem} (no {INFO_FILE}): give a folder that `prepare` wrote"
        ) from None
    try:
        values = json.loads(text)
        # Before the rest: another version has other fields.
        version = values.get("record_version")
        if version != RECORD_VERSION:
            raise UserError(
                f"{path}: record_version {version}, this version reads {RECORD_VERSION}: "
                "prepare the data set again"
            )
        return DatasetInfo.model_validate(values)
    except (ValidationError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}): prepare the data set again"
        ) from None
