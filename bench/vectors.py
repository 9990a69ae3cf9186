"""Recall and speed of the approximate indices at their default settings, on clustered vectors that lie in files.

    python -m bench vectors
    python -m bench.vectors [--rows N] [--kinds KIND ...]

Vectors are float16 in files of 100,000, as a pool's features are. Each is one of 10,000 directions, drawn with unequal
chances, and noise of about the same length; queries are further ones of the same kind. The exact neighbours, which
recall is counted against, are also the speed to compare with: they cost one pass over all files.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.made_pool import CACHE
from competition.data.vector_index import IndexOptions
from competition.data.vector_search import build_index, exact_neighbours, recall_of
from competition.data.vector_source import VectorSource

OUT = CACHE / "vectors"
DIMENSIONS = 512
CLUSTERS = 10_000
QUERIES = 1000
K = 10
_FILE_ROWS = 100_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table: one line an index."""
    parser = argparse.ArgumentParser(prog="bench.vectors", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="*", default=["ivf-pq", "hnsw"])
    parser.add_argument("--keep", action="store_true", help="use indices that were built before")
    given = parser.parse_args([] if arguments is None else arguments)
    source, queries = VectorSource.open(vector_files(given.rows)), _vectors(QUERIES, np.random.default_rng(1))
    start = time.perf_counter()
    true = exact_neighbours(source, queries, K)
    exact = time.perf_counter() - start
    print(f"{source.rows:,} x {source.dimensions}, {QUERIES:,} queries, one process; memory is the highest so far\n")
    print(f"| index | built in s | queries a s | recall@{K} | index in MB | memory in MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(f"| flat | 0 | {QUERIES / exact:.0f} | 1.0000 | 0 | {_memory()} |", flush=True)
    for kind in given.kinds:
        folder = OUT / f"{kind}-{given.rows}"
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        index = build_index(source, IndexOptions(kind), folder)
        built = time.perf_counter() - start
        start = time.perf_counter()
        found = index.search(queries, K)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in folder.glob("*.faiss")) / 1e6
        recall = recall_of(found, true).value
        print(
            f"| {kind} | {built:.0f} | {QUERIES / seconds:.0f} | {recall:.4f} | {size:.0f} | {_memory()} |", flush=True
        )


def vector_files(rows: int) -> list[Path]:
    """The files, made when absent."""
    folder = OUT / f"rows-{rows}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, rows, _FILE_ROWS)):
        path = folder / f"{number:04d}.npy"
        paths.append(path)
        if not path.exists():
            partial = path.with_suffix(".partial.npy")
            np.save(
                partial,
                _vectors(min(_FILE_ROWS, rows - start), np.random.default_rng([2, number])).astype(np.float16),
            )
            partial.rename(path)
    return paths


def _vectors(rows: int, generator: np.random.Generator) -> NDArray[np.float32]:
    directions = np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32)
    chances = 1 / np.arange(10, CLUSTERS + 10)
    chosen = generator.choice(CLUSTERS, rows, p=chances / chances.sum())
    vectors = directions[chosen] + generator.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


if __name__ == "__main__":
    main(sys.argv[1:])
