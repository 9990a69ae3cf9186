"""The samples of a pool whose features are nearest to those of a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import competition
from competition.data.atomic import atomic_writer, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import Needs, Workers, engine_of
from competition.data.metadata import list_metadata, read_uids
from competition.data.uids import UID_DTYPE, UidArray, uids_to_hex
from competition.data.vector_index import KINDS, IndexOptions
from competition.data.vector_search import SMALL, Neighbours, build_index, measure_recall
from competition.data.vector_source import Rows, VectorShard, VectorSource, read_vectors
from competition.errors import UsageError
from competition.progress import ProgressHook

REPORT_VERSION = 1
RECALL_QUERIES = 200


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What to search, and how.

    Args:
        k: neighbours of each query.
        features: member of the pool's npz files; of the queries' file too, where that has several.
        index: of ``KINDS``; exact search for small pools and ``ivf-pq`` for others when absent.
        index_dir: where an approximate index is kept for the next search; beside the result when absent.
        seed: of the index's training and of the queries that recall is measured on.
    """

    k: int = 10
    features: str = "l14_img"
    index: str | None = None
    index_dir: Path | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SearchReport:
    """How neighbours were found; written beside them as ``<neighbours>.json``.

    Args:
        rows: of the pool.
        queries: searched.
        k: neighbours of each.
        features: member of the pool's npz files.
        index: kind, and its numbers.
        recall: measured share of the true neighbours that were found; 1 for exact search.
        recall_queries: on so many queries.
        queries_sha256: of the queries' file.
        neighbours: file name.
        neighbours_sha256: of its bytes.
        code_version: of DataCup.
        format_version: of this record.
    """

    rows: int
    queries: int
    k: int
    features: str
    index: dict[str, Any]
    recall: float
    recall_queries: int
    queries_sha256: str
    neighbours: str
    neighbours_sha256: str
    code_version: str = competition.__version__
    format_version: int = REPORT_VERSION

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


def search_pool(
    metadata_dir: Path,
    queries: Path,
    save_path: Path,
    options: SearchOptions,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> SearchReport:
    """Find the nearest samples of every query and write them as parquet, with a record beside it.

    Columns: ``query`` (row of the queries' file), ``rank`` from 0, ``uid``, ``similarity``. A pool with fewer samples
    that have features than ``k`` gives fewer rows.

    Args:
        metadata_dir: the pool's metadata folder.
        queries: features of length 1 by the model that made the pool's: npz, npy or parquet.
        save_path: a ``.parquet``.
        options: see ``SearchOptions``.
        workers: how many files at a time on this machine, or an engine.
        progress: told after every file.

    Raises:
        UsageError: not a ``.parquet`` path, more neighbours than samples, an unknown index, or another in its folder.
        DataFormatError: features that cannot be compared, or a damaged file.
        StorageError: a file cannot be read or written.
    """
    if save_path.suffix != ".parquet":
        raise UsageError(f"The save path {save_path} does not end in .parquet.")
    files = list_metadata(metadata_dir)
    source = VectorSource.of_metadata(files, options.features)
    wanted = read_vectors(queries, options.features, source.shards[0])
    if not 1 <= options.k <= source.rows:
        raise UsageError(f"-k {options.k} is not between 1 and the pool's {source.rows:,} rows.")
    kind = options.index or (KINDS[0] if source.rows <= SMALL else KINDS[1])
    built = IndexOptions(kind, seed=options.seed)
    folder = options.index_dir or save_path.with_name(f"{save_path.name}.index")
    index = build_index(source, built, folder, workers, progress)
    found = index.search(wanted, options.k, progress)
    tested = np.random.default_rng(options.seed).permutation(len(wanted))[:RECALL_QUERIES]
    recall = measure_recall(index, wanted[tested], options.k)
    _write(save_path, found, _uids(files, source.shards, found.rows, workers))
    report = SearchReport(
        source.rows,
        len(wanted),
        options.k,
        options.features,
        {"kind": kind} if kind == KINDS[0] else asdict(built),
        recall.value,
        recall.queries,
        file_sha256(queries),
        save_path.name,
        file_sha256(save_path),
    )
    record = json.dumps(report.as_json(), indent=2, sort_keys=True) + "\n"
    write_bytes(save_path.with_name(f"{save_path.name}.json"), record.encode())
    return report


def _uids(files: Sequence[Path], shards: Sequence[VectorShard], rows: Rows, workers: Workers) -> UidArray:
    """The uids of the rows, in their shape; of -1 any."""
    distinct, places = np.unique(rows, return_inverse=True)
    tasks = {path.name: (path, shard) for path, shard in zip(files, shards, strict=True)}
    parts = engine_of(workers).map(
        partial(_file_uids, distinct), tasks, stage="reading uids", needs=Needs(threads=True)
    )
    missing = np.zeros(np.count_nonzero(distinct < 0), dtype=UID_DTYPE)
    uids: UidArray = np.concatenate([missing, *parts.values()])[places.reshape(rows.shape)]
    return uids


def _file_uids(rows: Rows, task: tuple[Path, VectorShard]) -> UidArray:
    path, shard = task
    first, end = np.searchsorted(rows, (shard.start, shard.start + shard.rows))
    if first == end:
        return np.zeros(0, dtype=UID_DTYPE)
    uids: UidArray = read_uids(path)[rows[first:end] - shard.start]
    return uids


def _write(path: Path, found: Neighbours, uids: UidArray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    query, rank = np.nonzero(found.rows >= 0)
    table = pa.table(
        {
            "query": query,
            "rank": rank.astype(np.int32),
            "uid": uids_to_hex(uids[query, rank]),
            "similarity": found.similarities[query, rank],
        }
    )
    with atomic_writer(path) as stream:
        pq.write_table(table, stream)
