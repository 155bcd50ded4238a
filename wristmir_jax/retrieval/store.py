"""The embedding store: one Parquet row per radiograph, its labels and its vectors.

A folder E/ holds `part-00000.parquet` ... (a row per image: `row_schema`), `captions.parquet`
(a row per distinct canonical caption and level: `caption_schema`) and `metadata.json`
(`StoreMetadata`). All vectors are L2-normalised float32, so that a score is an inner product.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wristmir_jax.anatomy import SEXES, SIDES, VIEWS
from wristmir_jax.data.record import SPLITS
from wristmir_jax.errors import UserError
from wristmir_jax.folders import write_aside
from wristmir_jax.reports.findings import STATUSES
from wristmir_jax.tables import read_parquet

STORE_VERSION = 2
METADATA_FILE = "metadata.json"
CAPTIONS_FILE = "captions.parquet"
GLOBAL_LEVEL = "global"
FRACTURE_VALUES = ("yes", "no", "uncertain", "unknown")

# A vector counts as normalised when its length is within this of 1.
NORM_TOLERANCE = 1e-3

_ROWS_PER_GROUP = 8192
_ROWS_PER_PART = 16 * _ROWS_PER_GROUP


class StoreMetadata(BaseModel):
    """`metadata.json` of an embedding store.

    Attributes:
        model_fingerprint: of the checkpoint that made the vectors; searches must use the same one.
        embedding_dim, region_embedding_dim: D of the global and of the region vectors.
        regions: names of the R regions, in column order; may be empty.
        dataset: path of the data set that was embedded, as it was given.
        dataset_title: for tables and plots; says so where the wrists are synthetic.
        image_size, crop_size: pixels the towers saw.
        localizer: what placed the regions, as in `data.record.DatasetInfo`; queries are cut alike.
        num_rows, num_exams, splits: counts, filled in by the writer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    store_version: int = STORE_VERSION
    model_fingerprint: str = Field(min_length=1)
    embedding_dim: int = Field(gt=0)
    region_embedding_dim: int = Field(gt=0)
    normalised: Literal[True] = True
    regions: tuple[str, ...]
    dataset: str
    dataset_title: str
    synthetic: bool
    image_size: int = Field(gt=0)
    crop_size: int = Field(gt=0)
    localizer: str = "prior"
    num_rows: int = 0
    num_exams: int = 0
    splits: dict[str, int] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        """The data set's title, which says so where the wrists are synthetic."""
        if self.synthetic and "synthetic" not in self.dataset_title.lower():
            return f"{self.dataset_title}: phantoms (synthetic)"
        return self.dataset_title


def id_schema(regions: Sequence[str]) -> pa.Schema:
    """The columns of a row that are no vectors; age, spacing and flags may be null: unknown."""
    text = [
        *("image_id", "exam_id", "patient_id", "split", "view", "laterality", "sex", "fracture"),
        *("caption", "findings", "source_hash"),
        *(f"{region}_{what}" for region in regions for what in ("status", "caption")),
    ]
    flags = ("initial_exam", "fracture_visible", "cast", "hardware", "osteopenia")
    integers = [
        *("caption_group", "record_index"),
        *(f"{region}_caption_group" for region in regions),
    ]
    return pa.schema(
        [pa.field(name, pa.string(), nullable=False) for name in text]
        + [pa.field(name, pa.float32()) for name in ("age_years", "pixel_spacing_mm")]
        + [pa.field(name, pa.bool_()) for name in flags]
        + [pa.field(name, pa.int64(), nullable=False) for name in integers]
    )


def row_schema(metadata: StoreMetadata) -> pa.Schema:
    """Every column of a part file: `id_schema`, `global_embedding`, `<region>_embedding`.

    A region's vector is null where the image has no crop of it.
    """
    schema = id_schema(metadata.regions).append(
        pa.field("global_embedding", _vector(metadata.embedding_dim), nullable=False)
    )
    for region in metadata.regions:
        schema = schema.append(
            pa.field(f"{region}_embedding", _vector(metadata.region_embedding_dim))
        )
    return schema


# Of `captions.parquet`; vectors are lists because the two levels may differ in length.
CAPTION_SCHEMA = pa.schema(
    [
        pa.field("level", pa.string(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("caption_group", pa.int64(), nullable=False),
        pa.field("embedding", pa.list_(pa.float32()), nullable=False),
        pa.field("count_train", pa.int64(), nullable=False),
        pa.field("count_all", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class CaptionTable:
    """The K distinct canonical captions of one level.

    Attributes:
        captions: K texts.
        groups: int64 (K,), `caption_group` of each.
        embedding: float32 (K, D), L2-normalised text vectors.
        count_train, count_all: int64 (K,), images with this caption in train and in all splits.
    """

    captions: list[str]
    groups: np.ndarray
    embedding: np.ndarray
    count_train: np.ndarray
    count_all: np.ndarray


@dataclass(frozen=True)
class EmbeddingStore:
    """An embedding store in memory: N images, R regions (may be 0).

    Attributes:
        metadata: what made it.
        ids: N rows, all columns that are no vectors (`id_schema`).
        global_embedding: float32 (N, D).
        region_embedding: float32 (N, R, D_local), zeros where the image has no crop.
        region_present: bool (N, R), whether the image has a crop of the region.
        region_status: int8 (N, R), codes into `reports.findings.STATUSES`.
        caption_tables: of every level.
    """

    metadata: StoreMetadata
    ids: pa.Table
    global_embedding: np.ndarray
    region_embedding: np.ndarray
    region_present: np.ndarray
    region_status: np.ndarray
    caption_tables: dict[str, CaptionTable]

    def captions(self, level: str) -> CaptionTable:
        """The captions of `level`, "global" or the name of a region.

        Raises:
            UserError: the store has no such level.
        """
        if level not in self.caption_tables:
            raise UserError(
                f"unknown caption level {level!r}: choose one of {', '.join(self.caption_tables)}"
            )
        return self.caption_tables[level]

    @classmethod
    def load(cls, folder: epath.PathLike, splits: Sequence[str] | None = None) -> Self:
        """Read a store, or only the rows of some splits.

        Args:
            folder: what `embed` wrote.
            splits: names of splits, None for all.

        Raises:
            UserError: the folder, a file or a column is missing, is of another version or does not
                agree with the metadata; a split is unknown or empty; an image occurs twice; a
                vector is not normalised.
        """
        folder = epath.Path(folder)
        metadata = _read_metadata(folder)
        table = _read_rows(folder, metadata)
        for split in splits or ():
            if split not in SPLITS:
                raise UserError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
            if not metadata.splits.get(split):
                raise UserError(f"{folder}: split {split!r} is empty; embed a data set that has it")
        if splits is not None:
            wanted = [split in splits for split in table["split"].to_pylist()]
            table = table.filter(pa.array(wanted, pa.bool_()))
        return cls(
            metadata=metadata,
            ids=table.select(id_schema(metadata.regions).names),
            **_arrays(table, metadata, str(folder)),
            caption_tables=_read_captions(folder, metadata),
        )


class EmbeddingWriter:
    """Context manager that streams rows into a new store; it appears whole on leaving, or not.

    Example:
        with EmbeddingWriter(output, metadata) as writer:
            for batch in batches:
                writer.add(batch.ids, global_BxD, region_BxRxD, present_BxR)
            writer.write_captions("global", captions, groups, text_KxD, count_train, count_all)
    """

    def __init__(self, folder: epath.PathLike, metadata: StoreMetadata):
        self._folder = folder
        self._metadata = metadata
        self._schema = row_schema(metadata)
        self._stack = ExitStack()
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._part: pq.ParquetWriter | None = None
        self._num_parts = 0
        self._part_rows = 0
        self._image_ids: set[str] = set()
        self._exam_ids: set[str] = set()
        self._splits: dict[str, int] = {}
        self._captions: dict[str, pa.Table] = {}

    def __enter__(self) -> Self:
        self._aside = self._stack.enter_context(write_aside(self._folder, METADATA_FILE))
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        try:
            if exception[0] is None:
                self._finish()
        except BaseException as error:
            self._close_part()
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        self._close_part()
        return self._stack.__exit__(*exception)

    def add(
        self,
        ids: Mapping[str, Any],
        global_embedding: np.ndarray,
        region_embedding: np.ndarray,
        region_present: np.ndarray,
    ) -> None:
        """Append B images.

        Args:
            ids: every column of `id_schema(metadata.regions)` with B values (lists or arrays); None
                where unknown, in age and flags only.
            global_embedding: float32 (B, D).
            region_embedding: float32 (B, R, D_local); ignored where not present.
            region_present: bool (B, R).

        Raises:
            UserError: a column is missing, unknown or holds a value outside its table; a vector has
                another length than the metadata says or is not normalised; an image occurs twice.
        """
        table = _id_table(ids, self._metadata.regions)
        num_rows, num_regions = table.num_rows, len(self._metadata.regions)
        for name, array, shape in (
            ("global_embedding", global_embedding, (num_rows, self._metadata.embedding_dim)),
            ("region_present", region_present, (num_rows, num_regions)),
            (
                "region_embedding",
                region_embedding,
                (num_rows, num_regions, self._metadata.region_embedding_dim),
            ),
        ):
            if np.shape(array) != shape:
                raise UserError(f"{name} has shape {np.shape(array)}, the metadata says {shape}")
        global_embedding = np.asarray(global_embedding, np.float32)
        region_embedding = np.asarray(region_embedding, np.float32)
        region_present = np.asarray(region_present, bool)
        _check_values(table, self._metadata.regions, "rows to write")
        _check_normalised(global_embedding, "global_embedding of the rows to write")
        table = table.append_column(
            self._schema.field("global_embedding"), _fixed(global_embedding)
        )
        for r, region in enumerate(self._metadata.regions):
            name = f"{region}_embedding"
            present = region_present[:, r]
            _check_normalised(region_embedding[present, r], f"{name} of the rows to write")
            table = table.append_column(
                self._schema.field(name), _fixed(region_embedding[:, r], present)
            )
        for image_id in table["image_id"].to_pylist():
            if image_id in self._image_ids:
                raise UserError(f"image_id {image_id!r} occurs twice: every image is one row")
            self._image_ids.add(image_id)
        self._exam_ids.update(table["exam_id"].to_pylist())
        for split in table["split"].to_pylist():
            self._splits[split] = self._splits.get(split, 0) + 1
        self._pending.append(table)
        self._pending_rows += num_rows
        if self._pending_rows >= _ROWS_PER_GROUP:
            self._flush()

    def write_captions(
        self,
        level: str,
        captions: Sequence[str],
        groups: np.ndarray,
        embedding: np.ndarray,
        count_train: np.ndarray,
        count_all: np.ndarray,
    ) -> None:
        """Store the K distinct canonical captions of a level, once a level (see `CaptionTable`).

        Args:
            level: "global" or the name of a region.
            embedding: float32 (K, D), D the image vectors' of that level.

        Raises:
            UserError: unknown or repeated level, vectors of another length or not normalised,
                captions or groups that are not distinct.
        """
        dim = _levels(self._metadata).get(level)
        if dim is None or level in self._captions:
            raise UserError(f"captions of level {level!r}: unknown or written twice")
        embedding = np.asarray(embedding, np.float32)
        if embedding.shape != (len(captions), dim):
            raise UserError(
                f"captions of level {level!r}: vectors of shape {embedding.shape}, "
                f"expected {(len(captions), dim)}"
            )
        _check_normalised(embedding, f"captions of level {level!r}")
        if len(set(captions)) < len(captions) or len(np.unique(groups)) < len(captions):
            raise UserError(f"captions of level {level!r}: a caption or group occurs twice")
        self._captions[level] = pa.table(
            {
                "level": [level] * len(captions),
                "caption": list(captions),
                "caption_group": groups,
                "embedding": list(embedding),
                "count_train": count_train,
                "count_all": count_all,
            },
            schema=CAPTION_SCHEMA,
        )

    def _flush(self) -> None:
        if not self._pending_rows:
            return
        part = self._part
        if part is None:
            path = self._aside / f"part-{self._num_parts:05d}.parquet"
            self._part = part = pq.ParquetWriter(
                self._stack.enter_context(path.open("wb")),
                self._schema,
                compression="zstd",
                # Dictionaries only cost time on vectors.
                use_dictionary=[  # pyright: ignore[reportArgumentType]
                    field.name for field in self._schema if field.type == pa.string()
                ],
            )
            self._num_parts += 1
            self._part_rows = 0
        part.write_table(pa.concat_tables(self._pending), row_group_size=_ROWS_PER_GROUP)
        self._part_rows += self._pending_rows
        self._pending, self._pending_rows = [], 0
        if self._part_rows >= _ROWS_PER_PART:
            self._close_part()

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    def _finish(self) -> None:
        if not self._image_ids:
            raise UserError("no radiograph was embedded: the split is empty")
        self._flush()
        self._close_part()
        tables = [CAPTION_SCHEMA.empty_table(), *self._captions.values()]
        with (self._aside / CAPTIONS_FILE).open("wb") as file:
            pq.write_table(pa.concat_tables(tables), file, compression="zstd")
        counts = {
            "num_rows": len(self._image_ids),
            "num_exams": len(self._exam_ids),
            "splits": {split: self._splits[split] for split in SPLITS if split in self._splits},
        }
        metadata = self._metadata.model_copy(update=counts)
        (self._aside / METADATA_FILE).write_text(metadata.model_dump_json(indent=2) + "\n")


def _vector(dim: int) -> pa.DataType:
    return pa.list_(pa.field("item", pa.float32()), dim)


def _levels(metadata: StoreMetadata) -> dict[str, int]:
    """Caption levels and the lengths of their vectors."""
    return {GLOBAL_LEVEL: metadata.embedding_dim} | dict.fromkeys(
        metadata.regions, metadata.region_embedding_dim
    )


def _fixed(vectors_NxD: np.ndarray, present_N: np.ndarray | None = None) -> pa.Array:
    mask = None if present_N is None else pa.array(~present_N)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(vectors_NxD.reshape(-1)), type=_vector(vectors_NxD.shape[1]), mask=mask
    )


def _id_table(ids: Mapping[str, Any], regions: Sequence[str]) -> pa.Table:
    schema = id_schema(regions)
    given = set(ids)
    if given != set(schema.names):
        raise UserError(
            f"columns of the rows to write: missing {sorted(set(schema.names) - given)}, "
            f"unknown {sorted(given - set(schema.names))}"
        )
    columns = []
    for field in schema:
        try:
            columns.append(pa.array(ids[field.name], field.type))
        except (pa.ArrowException, TypeError) as error:
            raise UserError(f"column {field.name}: is not {field.type}") from error
    return pa.table(columns, schema=schema)


def _check_values(table: pa.Table, regions: Sequence[str], where: str) -> None:
    """Refuse nulls where there may be none, and words that the anatomy does not know."""
    for field in id_schema(regions):
        if not field.nullable and table[field.name].null_count:
            raise UserError(f"{where}: column {field.name} has empty cells")
    words = {
        "split": SPLITS,
        "view": VIEWS,
        "laterality": SIDES,
        "sex": SEXES,
        "fracture": FRACTURE_VALUES,
    } | {f"{region}_status": STATUSES for region in regions}
    for name, allowed in words.items():
        unknown = sorted(set(table[name].unique().to_pylist()) - set(allowed))
        if unknown:
            raise UserError(f"{where}: {name} {unknown[0]!r}: must be one of {', '.join(allowed)}")


def _check_normalised(vectors_NxD: np.ndarray, where: str) -> None:
    wrong = ~(np.abs(np.linalg.norm(vectors_NxD, axis=-1) - 1) < NORM_TOLERANCE)
    if wrong.any():
        raise UserError(
            f"{where}: vector {int(wrong.argmax())} is not L2-normalised; "
            "a checkpoint whose loss is not finite gives such vectors"
        )


def _read_metadata(folder: epath.Path) -> StoreMetadata:
    path = folder / METADATA_FILE
    if not path.exists():
        raise UserError(f"{folder} is no embedding store (no {METADATA_FILE}): run embed first")
    try:
        metadata = StoreMetadata.model_validate_json(path.read_text())
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise UserError(f"{path}: {key}: {problem['msg']}; run embed again") from error
    if metadata.store_version != STORE_VERSION:
        raise UserError(
            f"{path}: store_version {metadata.store_version}, this program reads {STORE_VERSION}: "
            "run embed again"
        )
    return metadata


def _read_table(path: epath.Path, schema: pa.Schema) -> pa.Table:
    try:
        table = read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet; run embed again") from error
    for field in schema:
        if field.name not in table.column_names:
            raise UserError(f"{path}: column {field.name} is missing; run embed again")
        if table.schema.field(field.name).type != field.type:
            raise UserError(
                f"{path}: column {field.name} is {table.schema.field(field.name).type}, "
                f"expected {field.type}; run embed again"
            )
    return table.select(schema.names).cast(schema)


def _read_rows(folder: epath.Path, metadata: StoreMetadata) -> pa.Table:
    paths = sorted(folder.glob("part-*.parquet"), key=lambda path: path.name)
    if not paths:
        raise UserError(f"{folder}: no part-*.parquet; run embed again")
    schema = row_schema(metadata)
    tables = []
    for path in paths:
        tables.append(_read_table(path, schema))
        _check_values(tables[-1], metadata.regions, str(path))
    table = pa.concat_tables(tables)
    if table.num_rows != metadata.num_rows:
        raise UserError(
            f"{folder}: {table.num_rows} rows, {METADATA_FILE} says {metadata.num_rows}; "
            "run embed again"
        )
    if len(table["image_id"].unique()) != table.num_rows:
        raise UserError(f"{folder}: an image_id occurs twice; run embed again")
    return table


def _arrays(table: pa.Table, metadata: StoreMetadata, where: str) -> dict[str, np.ndarray]:
    """Vectors, masks and statuses of the rows as the arrays of `EmbeddingStore`."""
    shape = (table.num_rows, len(metadata.regions))
    region_embedding = np.zeros((*shape, metadata.region_embedding_dim), np.float32)
    region_present = np.zeros(shape, bool)
    region_status = np.zeros(shape, np.int8)
    for r, region in enumerate(metadata.regions):
        vectors, present = _vectors(table[f"{region}_embedding"], metadata.region_embedding_dim)
        _check_normalised(vectors, f"{where}: {region}_embedding")
        region_embedding[present, r] = vectors
        region_present[:, r] = present
        region_status[:, r] = _codes(table[f"{region}_status"], STATUSES)
    global_embedding, _ = _vectors(table["global_embedding"], metadata.embedding_dim)
    _check_normalised(global_embedding, f"{where}: global_embedding")
    return {
        "global_embedding": global_embedding,
        "region_embedding": region_embedding,
        "region_present": region_present,
        "region_status": region_status,
    }


def _vectors(column: pa.ChunkedArray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (M, D) of the M cells that are not null, and bool (N,) which those are."""
    present = column.is_valid().to_numpy()
    # flatten() leaves null cells out, whatever lies beneath them.
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    vectors = np.concatenate([*chunks, np.zeros(0, np.float32)])
    return vectors.reshape(-1, dim).astype(np.float32, copy=False), present


def _codes(column: pa.ChunkedArray, words: Sequence[str]) -> np.ndarray:
    """int8 (N,) positions in `words`."""
    code = {word: position for position, word in enumerate(words)}
    return np.array([code[word] for word in column.to_pylist()], np.int8)


def _read_captions(folder: epath.Path, metadata: StoreMetadata) -> dict[str, CaptionTable]:
    path = folder / CAPTIONS_FILE
    if not path.exists():
        raise UserError(f"{path} is missing; run embed again")
    everything = _read_table(path, CAPTION_SCHEMA)
    tables = {}
    for level, dim in _levels(metadata).items():
        rows = [row == level for row in everything["level"].to_pylist()]
        table = everything.filter(pa.array(rows, pa.bool_()))
        if any(len(vector) != dim for vector in table["embedding"]):
            raise UserError(f"{path}: a vector of level {level} has another length than {dim}")
        embedding, _ = _vectors(table["embedding"], dim)
        _check_normalised(embedding, f"{path}: level {level}")
        tables[level] = CaptionTable(
            captions=table["caption"].to_pylist(),
            groups=table["caption_group"].to_numpy(),
            embedding=embedding,
            count_train=table["count_train"].to_numpy(),
            count_all=table["count_all"].to_numpy(),
        )
    return tables
