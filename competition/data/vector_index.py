"""Approximate indices of Faiss, built file by file and merged; see ``vector_search``."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import competition
from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.engine import Workers, engine_of
from competition.data.journal import Journal
from competition.data.vector_source import Floats, VectorShard, VectorSource, check_vectors
from competition.errors import DataFormatError, UsageError
from competition.progress import ProgressHook

KINDS = ("flat", "ivf-pq", "hnsw")

LEAST_TRAINING = 10_000
_TRAINING_PER_LIST = 64
_LEAST_EFFORT = 40
"""Of building a graph, as Faiss has it."""

_CODE_BITS = 4
"""Of a group: Faiss compares such codes within registers, several times as fast as codes of 8 bits."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What to build and how to search it; the defaults find more than 95 % of the 10 nearest of a million vectors.

    Args:
        kind: of ``KINDS``.
        lists: inverted lists; default: twice the square root of the number of vectors.
        probes: lists that are searched for a query.
        code_bytes: of a vector's code, half a byte for each group of dimensions; default: a quarter of the dimensions.
        refine: rows proposed for each wanted neighbour, whose exact similarities decide.
        links: of a vector in the graph.
        effort: vectors that are kept in view while the graph is searched, and half as many while it is built.
        seed: of the vectors that are trained on.
    """

    kind: str = "ivf-pq"
    lists: int | None = None
    probes: int = 256
    code_bytes: int | None = None
    refine: int = 32
    links: int = 32
    effort: int = 128
    seed: int = 0

    def check(self) -> None:
        """Raises ``UsageError`` for a value out of range."""
        if self.kind not in KINDS:
            raise UsageError(f"There is no index {self.kind!r}.", hint=f"Choose one of {', '.join(KINDS)}.")
        counts = (self.lists or 1, self.probes, self.code_bytes or 1, self.refine, self.links, self.effort)
        if min(counts) < 1 or self.seed < 0:
            raise UsageError("The numbers of an index must be at least 1, and its seed not negative.")

    def groups(self, dimensions: int) -> int:
        """Parts of a vector that are quantised each by itself: a divisor of the dimensions."""
        wanted = min(dimensions, 2 * self.code_bytes if self.code_bytes else max(1, dimensions // 2))
        return max(count for count in range(1, wanted + 1) if dimensions % count == 0)


def build_parts(
    source: VectorSource,
    options: IndexOptions,
    folder: Path,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> tuple[Any, ...]:
    """The Faiss indices of a source, each of some rows by their numbers; none for exact search. See ``build_index``."""
    options.check()
    if options.kind == "flat":
        return ()
    make_folder(folder)
    fingerprint = _fingerprint(source, options)
    _check_folder(folder, fingerprint)
    journal = Journal(folder / "shards.jsonl", fingerprint)
    for name in journal.completed:
        if not (folder / name).exists():
            journal.forget(name)
    tasks = {f"{number:06d}.{fingerprint[:16]}.faiss": shard for number, shard in enumerate(source.shards)}
    trained = folder / f"trained.{fingerprint[:16]}.faiss"
    if options.kind == "ivf-pq" and not trained.exists():
        _write(_train(source, options), trained)
    engine_of(workers).map(
        partial(_build_shard, options, folder, trained),
        {name: (name, shard) for name, shard in tasks.items()},
        stage="building the index",
        journal=journal,
        progress=progress,
    )
    return _merged([folder / name for name in tasks], options)


def _check_folder(folder: Path, fingerprint: str) -> None:
    """What another search may still need, and took long to build, is neither removed nor mixed with this one's."""
    others = [path.name for path in folder.glob("*.faiss") if path.suffixes[0] != f".{fingerprint[:16]}"]
    if others:
        raise UsageError(
            f"The folder {folder} has the index of other vectors, another kind or another version "
            f"({len(others)} files, {min(others)} for one).",
            hint="Name another folder with --index-dir, or delete this one if its index is not needed any more.",
        )


def sample_rows(source: VectorSource, count: int, seed: int) -> Floats:
    """Vectors drawn from all files without replacement, fewer where some are not finite; in the order of their rows."""
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(source.rows, min(count, source.rows), replace=False))
    vectors = source.take(rows)
    return vectors[np.isfinite(vectors).all(axis=1)]


def _train(source: VectorSource, options: IndexOptions) -> Any:
    """An ``ivf-pq`` index without vectors, trained on a sample of all files."""
    lists = options.lists or max(1, 2 * math.isqrt(source.rows))
    sample = sample_rows(source, max(LEAST_TRAINING, lists * _TRAINING_PER_LIST), options.seed)
    if len(sample) < max(LEAST_TRAINING, lists):
        raise UsageError(
            f"{len(sample):,} vectors are too few to train an ivf-pq index of {lists:,} lists.",
            hint=f"Use flat below {LEAST_TRAINING:,} vectors: it is exact, and quick.",
        )
    faiss = load_faiss()
    quantiser = faiss.IndexFlatIP(source.dimensions)
    index = faiss.IndexIVFPQFastScan(
        quantiser,
        source.dimensions,
        lists,
        options.groups(source.dimensions),
        _CODE_BITS,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.cp.spherical = True
    index.cp.seed = index.pq.cp.seed = options.seed + 1
    # Only the lists' centres are found on a GPU. The index stays on the CPU, where it is searched: index_cpu_to_gpu
    # refuses its class, and a GpuIndexIVFPQ could not take over what it holds, as that wants codes of residuals. Fast
    # scan's are of the vectors themselves. An index of residuals would have to be trained, built and kept besides.
    if faiss.get_num_gpus():
        index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(source.dimensions))
    index.train(check_vectors(sample, "The vectors to train on"))
    return index


def _build_shard(options: IndexOptions, folder: Path, trained: Path, task: tuple[str, VectorShard]) -> int:
    """Runs in a worker: the index of one file, with the rows' numbers in the source; how many rows it has."""
    name, shard = task
    faiss = load_faiss()
    if options.kind == "ivf-pq":
        index = _read(trained)
    else:
        graph = faiss.IndexHNSWSQ(
            shard.dimensions, faiss.ScalarQuantizer.QT_fp16, options.links, faiss.METRIC_INNER_PRODUCT
        )
        graph.hnsw.efConstruction = max(_LEAST_EFFORT, options.effort // 2)
        index = faiss.IndexIDMap(graph)
    for rows, vectors in shard.blocks(skip_missing=True):
        if len(rows):
            index.add_with_ids(vectors, rows)
    _write(index, folder / name)
    return int(index.ntotal)


def _merged(paths: Sequence[Path], options: IndexOptions) -> tuple[Any, ...]:
    """Inverted lists become one index; graphs cannot be merged, and are searched one after the other."""
    if options.kind == "hnsw":
        return tuple(index for index in map(_read, paths) if index.ntotal)
    whole = _read(paths[0])
    for path in paths[1:]:
        whole.merge_from(_read(path), 0)
    return (whole,)


def _write(index: Any, path: Path) -> None:
    faiss = load_faiss()
    with atomic_writer(path) as stream:
        faiss.write_index(index, faiss.PyCallbackIOWriter(stream.write))


def _read(path: Path) -> Any:
    faiss = load_faiss()
    with storage_errors("reading", path):
        path.stat()
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataFormatError(f"The index {path} is damaged.", hint="Delete it, and build it again.") from error


def _fingerprint(source: VectorSource, options: IndexOptions) -> str:
    """Changes whenever what is built could; not with how it is searched."""
    built_by = {name: value for name, value in asdict(options).items() if name not in {"probes", "refine"}}
    files = [
        (shard.path.name, shard.member, shard.path.stat().st_size, shard.path.stat().st_mtime_ns)
        for shard in source.shards
    ]
    content = [competition.__version__, load_faiss().__version__, built_by, files]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_faiss() -> Any:
    """The module, whose import warns of SWIG's types. Worker processes share the processors: one thread for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        faiss = import_module("faiss")
    if multiprocessing.parent_process() is not None:
        faiss.omp_set_num_threads(1)
    return faiss
