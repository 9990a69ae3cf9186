"""Nearest vectors by inner product (cosine, as vectors have length 1), over files that may be larger than memory.

Exact search (``flat``; see ``nearest``) passes over the files and keeps nothing of them. The approximate indices of
Faiss are built file by file and merged: ``ivf-pq`` (inverted lists of product-quantised vectors, a quarter of a byte
for each dimension) for pools of any size, ``hnsw`` (a graph over the vectors in float16) where that fits in memory.
Both only propose rows: their vectors are read again, and the exact similarities decide. ``measure_recall`` says how
many of the true neighbours are found so.

Where Faiss sees a GPU (``faiss-gpu``), exact search and the coarse quantiser's training use it. Indices are searched on
the CPU: no index of Faiss for GPUs can take the codes of ``ivf-pq`` (see ``vector_index``), nor such a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.engine import Workers, engine_of
from competition.data.nearest import QUERY_ROWS, Nearest, Products
from competition.data.vector_index import IndexOptions, build_parts, load_faiss
from competition.data.vector_source import BLOCK_ROWS, Floats, Rows, VectorShard, VectorSource, check_vectors
from competition.data.workers import one_thread_a_worker
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook

SMALL = 100_000
"""Rows up to which exact search is quicker than building anything."""

_QUERIES_AT_A_TIME = 1024
_REFINED_AT_A_TIME = 128


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest vectors of some queries, best first; of equal ones the lowest row first.

    Args:
        similarities: float32 of shape (queries, k); -inf where there are fewer.
        rows: int64 of the same shape, numbers in the source; -1 where there are fewer.
    """

    similarities: Floats
    rows: Rows


@dataclass(frozen=True, slots=True)
class Recall:
    """How many of the ``k`` true neighbours of ``queries`` queries are found: 1 is all."""

    value: float
    k: int
    queries: int


@dataclass(frozen=True)
class VectorIndex:
    """Vectors that can be searched.

    Args:
        source: where they are.
        options: how they are searched.
        parts: Faiss indices, each of some of the rows; none for exact search.
        workers: who passes over the files in exact search.
    """

    source: VectorSource
    options: IndexOptions
    parts: tuple[Any, ...]
    workers: Workers = 1

    def search(self, queries: NDArray[Any], k: int, progress: ProgressHook | None = None) -> Neighbours:
        """The ``k`` nearest rows of each query.

        Args:
            queries: (queries, dimensions), of length 1.
            k: from 1 to the number of rows.
            progress: told after every file in exact search.

        Raises:
            UsageError: ``k`` is out of range.
            DataFormatError: queries of other dimensions, not finite or not of length 1; or so are the files.
        """
        wanted = _checked_queries(self.source, queries, k)
        if not self.parts:
            return exact_neighbours(self.source, wanted, k, self.workers, progress)
        found = [
            self._propose(wanted[start : start + _QUERIES_AT_A_TIME], k)
            for start in range(0, len(wanted), _QUERIES_AT_A_TIME)
        ]
        return _concatenated(found, k)

    def _propose(self, queries: Floats, k: int) -> Neighbours:
        """Rows by the index, in the order of their exact similarities."""
        count = min(self.source.rows, k * self.options.refine)
        proposed = [_faiss_search(part, queries, count, self.options) for part in self.parts]
        if len(proposed) > 1:
            proposed = [_best_of(proposed, count)]
        parts = []
        for start in range(0, len(queries), _REFINED_AT_A_TIME):
            rows = proposed[0].rows[start : start + _REFINED_AT_A_TIME]
            distinct, places = np.unique(np.maximum(rows, 0), return_inverse=True)
            vectors = self.source.take(distinct)
            products = np.stack(
                [
                    vectors[wanted] @ query
                    for wanted, query in zip(places.reshape(rows.shape), queries[start:], strict=False)
                ]
            )
            parts.append(_best(np.where(rows < 0, np.float32(-np.inf), products), rows, k))
        return _concatenated(parts, k)


def build_index(
    source: VectorSource,
    options: IndexOptions,
    folder: Path,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> VectorIndex:
    """Build an index file by file in a folder, or open it where the same one was built there; a killed run goes on.

    Args:
        source: the vectors; rows that are not finite are left out of the index.
        options: see ``IndexOptions``.
        folder: of this index alone; created when absent; nothing is written for exact search.
        workers: how many files at a time on this machine, or an engine.
        progress: told after every file.

    Raises:
        UsageError: a value out of range, too few vectors to train on, or the folder has another index.
        DataFormatError: a file is damaged, or a vector is not of length 1.
        StorageError: a file cannot be read or written.
    """
    return VectorIndex(source, options, build_parts(source, options, folder, workers, progress), workers)


def exact_neighbours(
    source: VectorSource, queries: Floats, k: int, workers: Workers = 1, progress: ProgressHook | None = None
) -> Neighbours:
    """The ``k`` nearest rows of each query by a pass over all files; see ``VectorIndex.search``."""
    wanted = _checked_queries(source, queries, k)
    found = engine_of(workers).map(
        partial(_search_shard, wanted, k),
        {f"{number} {shard.name}": shard for number, shard in enumerate(source.shards)},
        stage="searching",
        progress=progress,
    )
    return _best_of(list(found.values()), k)


def measure_recall(index: VectorIndex, queries: NDArray[Any], k: int = 10) -> Recall:
    """Search some queries both ways, and compare; 1 for exact search."""
    if not index.parts:
        return Recall(1.0, k, len(queries))
    true = exact_neighbours(index.source, check_vectors(queries, "The queries"), k, index.workers)
    return recall_of(index.search(queries, k), true)


def recall_of(found: Neighbours, true: Neighbours) -> Recall:
    """Share of the true neighbours that were found. Rows as similar as the last true one count as true, too."""
    k = true.rows.shape[1]
    last = true.similarities[:, -1:] - np.float32(1e-6)
    hits = np.count_nonzero((found.similarities >= last) & (found.rows >= 0))
    return Recall(hits / max(1, true.rows.size), k, len(true.rows))


def _checked_queries(source: VectorSource, queries: NDArray[Any], k: int) -> Floats:
    if not 1 <= k <= source.rows:
        raise UsageError(f"{k} neighbours are wanted of {source.rows:,} vectors.", hint="Ask for fewer.")
    wanted = check_vectors(queries, "The queries")
    if wanted.shape[1] != source.dimensions:
        raise DataFormatError(
            f"The queries have {wanted.shape[1]} dimensions, {source.shards[0].name} has {source.dimensions}.",
            hint="Vectors that are compared must come from one model.",
        )
    return wanted


def _search_shard(queries: Floats, k: int, shard: VectorShard) -> Neighbours:
    """Runs in a worker: exact search of one file, block by block."""
    faiss = load_faiss()
    gpu = faiss.StandardGpuResources() if faiss.get_num_gpus() else None
    step = max(1, len(queries)) if gpu else QUERY_ROWS
    wanted = [-queries[start : start + step] for start in range(0, len(queries), step)]
    found = [Nearest(len(block), k) for block in wanted]
    products = Products()
    with one_thread_a_worker():
        for rows, vectors in shard.blocks(skip_missing=True, rows=1 << 16 if gpu else BLOCK_ROWS):
            for block, best in zip(wanted, found, strict=True):
                if gpu is None or not len(rows):
                    best.add(products.of(block, vectors), rows)
                else:
                    metric, count = faiss.METRIC_INNER_PRODUCT, min(k, len(rows))
                    similar, places = faiss.knn_gpu(gpu, -block, vectors, count, metric=metric)
                    best.add(-similar, rows[places])
    tables = [best.pairs().table(len(block), k) for block, best in zip(wanted, found, strict=True)]
    return _concatenated([Neighbours(-distances.astype(np.float32), numbers) for numbers, distances in tables], k)


def _best_of(parts: Sequence[Neighbours], k: int) -> Neighbours:
    similarities = np.concatenate([part.similarities for part in parts], axis=1)
    return _best(similarities, np.concatenate([part.rows for part in parts], axis=1), k)


def _best(similarities: Floats, rows: Rows, k: int) -> Neighbours:
    """The best ``k`` columns of each row."""
    order = np.lexsort((rows, -similarities), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1))


def _concatenated(parts: Sequence[Neighbours], k: int) -> Neighbours:
    if not parts:
        return Neighbours(np.zeros((0, k), np.float32), np.zeros((0, k), np.int64))
    return Neighbours(np.concatenate([part.similarities for part in parts]), np.concatenate([p.rows for p in parts]))


def _faiss_search(part: Any, queries: Floats, count: int, options: IndexOptions) -> Neighbours:
    faiss = load_faiss()
    if options.kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=max(options.effort, count))
        graph = faiss.downcast_index(part.index)
        similar, places = graph.search(queries, count, params=parameters)
        numbers = faiss.vector_to_array(part.id_map)
        rows = np.where(places < 0, -1, numbers[places] if len(numbers) else -1)
    else:
        probes = min(options.probes, part.nlist)
        similar, rows = part.search(queries, count, params=faiss.SearchParametersIVF(nprobe=probes))
    return Neighbours(np.where(rows < 0, -np.inf, similar).astype(np.float32), rows.astype(np.int64))
