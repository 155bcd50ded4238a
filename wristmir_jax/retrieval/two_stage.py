"""Two-stage search: the globally nearest exams, ordered by the bone in question."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Self

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
from etils import epath
from pydantic import BaseModel, ConfigDict, ValidationError

from wristmir_jax.errors import UserError
from wristmir_jax.folders import write_aside
from wristmir_jax.retrieval.checksums import SUMS_FILE, check_checksums, write_checksums
from wristmir_jax.retrieval.coarse import CoarseSearcher, ExactSearcher, build_coarse, load_coarse
from wristmir_jax.retrieval.exam_table import ExamTable
from wristmir_jax.retrieval.filters import NO_FILTERS, Filters
from wristmir_jax.retrieval.hits import Hit
from wristmir_jax.retrieval.queries import Queries
from wristmir_jax.retrieval.ranking import Plan, Ranked, Selection, rank
from wristmir_jax.retrieval.rerank import Gallery
from wristmir_jax.retrieval.store import EmbeddingStore, StoreMetadata
from wristmir_jax.tables import read_parquet

INDEX_VERSION = 2
INDEX_FILE = "index.json"
_ROWS_FILE = "rows.parquet"
_VECTORS_FILE = "vectors.safetensors"

# Our defaults; the WristMIR paper does not publish its own.
TOP_K = 5
NUM_CANDIDATES = 100
REGION_WEIGHT = 0.5


class IndexInfo(BaseModel):
    """`index.json`: what `Index.load` must know before it opens the other files.

    Attributes:
        model_fingerprint: of the checkpoint that queries must be embedded with.
        coarse: kind of the coarse search.
        num_rows, num_exams: images and exams.
        store: metadata of the embeddings; its counts are of the whole store.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    index_version: int = INDEX_VERSION
    model_fingerprint: str
    coarse: str
    num_rows: int
    num_exams: int
    store: StoreMetadata


class Index:
    """A gallery of exams, ready to be searched; its vectors stay on the device.

    Args:
        metadata: of the embeddings.
        ids: N rows, `retrieval.store.id_schema`.
        global_embedding: float32 (N, D).
        region_embedding: float32 (R, N, D_local), region-major; 0 where absent.
        region_present: bool (R, N).
        coarse: searcher over the N global vectors, or the kind to build.

    Attributes:
        exams: which rows make up which exam.
    """

    def __init__(
        self,
        metadata: StoreMetadata,
        ids: pa.Table,
        global_embedding: np.ndarray,
        region_embedding: np.ndarray,
        region_present: np.ndarray,
        coarse: CoarseSearcher | str,
    ):
        self.metadata = metadata
        self.ids = ids
        self.exams = ExamTable.of(ids)
        self.global_embedding = global_embedding
        self.region_embedding = region_embedding
        self.region_present = region_present
        self._gallery = Gallery(
            *map(jnp.asarray, (global_embedding, region_embedding, region_present))
        )
        if isinstance(coarse, str):
            coarse = build_coarse(coarse, self._gallery.global_NxD)
        self.coarse = coarse
        # A search uses one set of filters over and over, a server a few.
        self._select = lru_cache(maxsize=16)(self._select_rows)
        self._region_coarse: dict[int, ExactSearcher] = {}

    @classmethod
    def build(cls, store: EmbeddingStore, coarse: str = ExactSearcher.kind) -> Self:
        """Index the rows of a store.

        Raises:
            UserError: the coarse search is unknown or not installed; the images of one exam are of
                two patients; the store has no rows.
        """
        if not store.ids.num_rows:
            raise UserError("the embeddings hold no images: embed a split that has some")
        return cls(
            store.metadata,
            store.ids,
            store.global_embedding,
            np.ascontiguousarray(store.region_embedding.transpose(1, 0, 2)),
            np.ascontiguousarray(store.region_present.T),
            coarse,
        )

    def query_from_exam(self, exam_id: str) -> Queries:
        """An exam of the index, with all its images, as a query.

        Raises:
            UserError: the exam is not in the index.
        """
        rows = self.exams.rows(self.exams.exam(exam_id))
        return Queries.of_images(
            self.global_embedding[rows],
            self.region_embedding[:, rows].transpose(1, 0, 2),
            self.region_present[:, rows].T,
        )

    def region(self, name: str) -> int:
        """Position of a region.

        Raises:
            UserError: the index has no such region.
        """
        regions = self.metadata.regions
        if name not in regions:
            choice = f"choose one of {', '.join(regions)}" if regions else "the index has none"
            raise UserError(f"unknown region {name!r}: {choice}")
        return regions.index(name)

    def search(
        self,
        query: Queries,
        region: str | None = None,
        top_k: int = TOP_K,
        *,
        num_candidates: int = NUM_CANDIDATES,
        region_weight: float = REGION_WEIGHT,
        exclude_patient: str | None = None,
        exclude_exam: str | None = None,
        filters: Filters = NO_FILTERS,
    ) -> list[Hit]:
        """The exams most alike to one query; fewer than `top_k` where there are no more.

        Args: as in `search_batch`, for one query.
        """
        ranked = self.search_batch(
            query,
            region,
            self._at_most_all(top_k, "top_k"),
            num_candidates=num_candidates,
            region_weight=region_weight,
            exclude_patient=[exclude_patient],
            exclude_exam=[exclude_exam],
            filters=filters,
        )
        return self._hits(ranked, region)

    def search_text(
        self,
        global_text: np.ndarray,
        region_text: np.ndarray | None = None,
        region: str | None = None,
        top_k: int = TOP_K,
        *,
        exclude_patient: str | None = None,
        filters: Filters = NO_FILTERS,
    ) -> list[Hit]:
        """The exams whose images are nearest to a text.

        With a region, exams are ranked by their vectors of that region alone, and those that do
        not show it are not found: words on one bone say nothing of the rest of the wrist.

        Args:
            global_text: float32 (D,), the text's vector of the level "global".
            region_text: float32 (D_local,), the text's vector of the region's level.

        Raises:
            UserError: unknown region or filter.
        """
        top_k = self._at_most_all(top_k, "top_k")
        text = global_text if region is None else region_text
        if text is None:
            raise ValueError("a region needs the text's vector of its level")
        no_regions = np.zeros((1, 0, self.metadata.region_embedding_dim), np.float32)
        queries = Queries.of_images(text[None], no_regions, np.zeros((1, 0), bool))
        gallery, coarse = self._gallery, self.coarse
        if region is not None:
            position = self.region(region)
            vectors = self._gallery.region_RxNxD[position]
            gallery = self._gallery._replace(global_NxD=vectors)
            coarse = self._region_coarse.setdefault(position, ExactSearcher(vectors))
        plan = Plan(
            gallery=gallery,
            coarse=coarse,
            exam_of_row=self.exams.exam_of_row,
            selection=self._select(filters, region),
            region=None,
            region_weight=0.0,
            num_candidates=top_k,
            top_k=top_k,
        )
        ranked = rank(plan, queries, self._excluded([exclude_patient], None, 1))
        if region is not None:
            found = ranked.exams[0]
            similarity = [
                float((self.global_embedding[self.exams.rows(exam)] @ global_text).max())
                for exam in found[found >= 0]
            ]
            global_scores = np.full_like(ranked.scores, -np.inf)
            global_scores[0, found >= 0] = similarity
            ranked = Ranked(found[None], ranked.scores, global_scores, ranked.scores)
        return self._hits(ranked, region)

    def search_batch(
        self,
        queries: Queries,
        region: str | None = None,
        top_k: int = TOP_K,
        *,
        num_candidates: int = NUM_CANDIDATES,
        region_weight: float = REGION_WEIGHT,
        exclude_patient: Sequence[str | None] | None = None,
        exclude_exam: Sequence[str | None] | None = None,
        filters: Filters = NO_FILTERS,
    ) -> Ranked:
        """Search for many exams at once.

        An exam's score is its best view's, averaged over the query's images. The `num_candidates`
        exams (at least `top_k`) with the highest global score are candidates; with a region they
        are ordered by (1 - region_weight) global + region_weight region score, those that do not
        show the region after those that do. Without a region, or with region_weight 0, or where the
        query does not show the region, the global score alone counts.

        Args:
            queries: B query exams.
            region: name of a region, None for the whole wrist.
            exclude_patient: for each query a patient whose exams are not found, None for no one.
            exclude_exam: for each query an exam that is not found.
            filters: what may be found.

        Raises:
            UserError: unknown region or filter, a number out of its range, or vectors of another
                length than the index's.
        """
        if not 0 <= region_weight <= 1:
            raise UserError(f"region_weight={region_weight}: must lie between 0 and 1")
        expected = (self.metadata.embedding_dim, len(self.metadata.regions))
        given = (queries.global_embedding.shape[2], queries.region_present.shape[2])
        if given != expected:
            raise UserError(
                f"the query has vector length and number of regions {given}, the index {expected}: "
                "embed both with the same model"
            )
        two_stage = region is not None and region_weight > 0
        plan = Plan(
            gallery=self._gallery,
            coarse=self.coarse,
            exam_of_row=self.exams.exam_of_row,
            selection=self._select(filters, None),
            region=None if region is None else self.region(region),
            region_weight=region_weight,
            num_candidates=max(
                _positive(top_k, "top_k"),
                self._at_most_all(num_candidates, "num_candidates") if two_stage else 0,
            ),
            top_k=top_k,
        )
        excluded = self._excluded(exclude_patient, exclude_exam, len(queries))
        return rank(plan, queries, excluded)

    def save(self, folder: epath.PathLike) -> None:
        """Write the index; an earlier index there is replaced, and it may be moved afterwards.

        Raises:
            UserError: `folder` is something else that must not be replaced.
        """
        info = IndexInfo(
            model_fingerprint=self.metadata.model_fingerprint,
            coarse=self.coarse.kind,
            num_rows=self.ids.num_rows,
            num_exams=len(self.exams.exam_ids),
            store=self.metadata,
        )
        vectors = {
            "global_embedding": self.global_embedding,
            "region_embedding": self.region_embedding,
            "region_present": self.region_present,
        }
        with write_aside(folder, INDEX_FILE) as aside:
            with (aside / _ROWS_FILE).open("wb") as file:
                pq.write_table(self.ids, file, compression="zstd")
            (aside / _VECTORS_FILE).write_bytes(safetensors.numpy.save(vectors))
            self.coarse.save(aside / self.coarse.kind)
            (aside / INDEX_FILE).write_text(info.model_dump_json(indent=2) + "\n")
            write_checksums(aside)

    @classmethod
    def load(cls, folder: epath.PathLike) -> Self:
        """Open what `save` wrote, wherever it lies now.

        Raises:
            UserError: `folder` is no index or one of another version; a file is missing, changed
                or foreign (the message names it); the coarse search is not installed here.
        """
        folder = epath.Path(folder)
        if not (folder / SUMS_FILE).exists():
            raise UserError(f"{folder} is no index (no {SUMS_FILE}): run index first")
        check_checksums(folder)
        info = _read_info(folder / INDEX_FILE)
        ids = read_parquet(folder / _ROWS_FILE)
        vectors = safetensors.numpy.load((folder / _VECTORS_FILE).read_bytes())
        global_embedding = jnp.asarray(vectors["global_embedding"])
        return cls(
            info.store,
            ids,
            **vectors,
            coarse=load_coarse(info.coarse, folder / info.coarse, global_embedding),
        )

    def check_model(self, fingerprint: str, where: str) -> None:
        """Refuse a model that did not make this index.

        Args:
            fingerprint: of the model.
            where: how the user named it, for the message.

        Raises:
            UserError: the index was made by another model.
        """
        if fingerprint != self.metadata.model_fingerprint:
            raise UserError(
                f"the index was made by model {self.metadata.model_fingerprint}, {where} holds "
                f"model {fingerprint}: embed and index again, or give the run that made the index"
            )

    def _at_most_all(self, value: int, name: str) -> int:
        """Arrays are made this wide: no wider than there are exams."""
        return min(_positive(value, name), len(self.exams.exam_ids))

    def _select_rows(self, filters: Filters, region: str | None) -> Selection:
        rows = filters.rows(self.ids)
        if region is not None:
            rows &= self.region_present[self.region(region)]
        return Selection.of(rows, self.exams)

    def _excluded(
        self,
        patients: Sequence[str | None] | None,
        exams: Sequence[str | None] | None,
        num_queries: int,
    ) -> list[np.ndarray]:
        """Exams that each query must not find, each once."""
        nobody = [None] * num_queries
        excluded = []
        for patient_id, exam_id in zip(patients or nobody, exams or nobody, strict=True):
            positions = list(self.exams.of_patient(patient_id or ""))
            exam = None if exam_id is None else self.exams.find(exam_id)
            if exam is not None and exam not in positions:
                positions.append(exam)
            excluded.append(np.array(positions, np.int32))
        return excluded

    def _hits(self, ranked: Ranked, region: str | None) -> list[Hit]:
        hits = []
        found = zip(
            ranked.exams[0],
            ranked.scores[0],
            ranked.global_scores[0],
            ranked.region_scores[0],
            strict=True,
        )
        for number, (exam, score, global_score, region_score) in enumerate(found, 1):
            if exam < 0:
                break
            hits.append(
                Hit.of_exam(
                    number,
                    self.ids.take(self.exams.rows(exam)).to_pylist(),
                    region,
                    float(score),
                    float(global_score),
                    None if np.isnan(region_score) else float(region_score),
                )
            )
        return hits


def build_index(embeddings: epath.PathLike, output: epath.PathLike, coarse: str) -> IndexInfo:
    """Read an embedding store, build its index and write it.

    Args:
        embeddings: what `embed` wrote.
        output: the index folder.
        coarse: kind of the coarse search, one of `retrieval.coarse.COARSE`.

    Raises:
        UserError: as `EmbeddingStore.load`, `Index.build` and `Index.save`.
    """
    Index.build(EmbeddingStore.load(embeddings), coarse).save(output)
    return _read_info(epath.Path(output) / INDEX_FILE)


def _read_info(path: epath.Path) -> IndexInfo:
    try:
        info = IndexInfo.model_validate_json(path.read_text())
    except ValidationError as error:
        raise UserError(f"{path} is of another version: run index again") from error
    if info.index_version != INDEX_VERSION:
        raise UserError(
            f"{path}: index_version {info.index_version}, this program reads {INDEX_VERSION}: "
            "run index again"
        )
    return info


def _positive(value: int, name: str) -> int:
    if value < 1:
        raise UserError(f"{name}={value}: must be at least 1")
    return value
