"""SimCore's selection from given similarities: ours, the original program's, and one top-k pass, side by side.

    [PEERS=DIR] python -m bench simcore
    python -m bench.simcore [--peers DIR] [--rounds N] [--only NAME ...]

``DIR/openssl-simcore`` is a checkout of sungnyun/openssl-simcore, run by ``DIR/venv/bin/python``, or this interpreter
where that is absent. Every figure is that of a fresh process, and the sides take turns. Seconds are those of the work
on similarities that are in memory, without start-up and reading; the memory is the whole process's, in a run of its own
in which ours maps the file. The limit is PyTorch's ``topk`` over all similarities, as deep as the selection needs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.made_pool import CACHE
from bench.process import run
from participant_kit.coresets.best_rows import Ranking
from participant_kit.coresets.centroids import unit
from participant_kit.coresets.facility_location import Selection, select_rows
from participant_kit.coresets.similarity import rank_similarities

OUT = CACHE / "simcore"
CENTROIDS = 100
DIMENSIONS = 128
_CLUSTERS = 1000
_MADE_ROWS = 1 << 16
_BLOCK_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class Work:
    """A selection.

    Args:
        rows: of the open set.
        share: of them to select.
    """

    rows: int
    share: float

    @property
    def name(self) -> str:
        """Of its line."""
        return f"{self.rows:,} x {CENTROIDS}, {self.share:.0%}"

    @property
    def count(self) -> int:
        """Rows to select."""
        return int(self.share * self.rows)


WORKS = (Work(100_000, 0.01), Work(100_000, 0.10), Work(1_281_167, 0.05))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or be one of its sides."""
    parser = argparse.ArgumentParser(
        prog="bench.simcore", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    peers = os.environ.get("PEERS")
    parser.add_argument("--peers", type=Path, default=Path(peers) if peers else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of the lines to measure")
    given = parser.parse_args([] if arguments is None else arguments)
    peer = "" if given.peers else "; peer: absent"
    print(f"Median of {given.rounds}; seconds, memory in MB; {os.cpu_count()} cores{peer}\n")
    columns = ["selection", "ours", "original", "top-k pass", "original / ours", "ours / top-k", "memory ours"]
    columns += ["memory original", "share", "rounds", "depth", "rows that differ"]
    print(f"| {' | '.join(columns)} |")
    print("| --- " * len(columns) + "|")
    for work in WORKS:
        if not given.only or work.name in given.only:
            print(f"| {' | '.join(_line(work, given.peers, given.rounds))} |", flush=True)


def _line(work: Work, peers: Path | None, rounds: int) -> list[str]:
    file = similarities(work.rows)
    sides = ["ours", "limit", *(["peer"] if peers else [])]
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            run(_command(side, work, file, peers))
            seconds[side].append(float(_seconds(side).read_text()))
    memory = {side: run(_command(side, work, file, peers, mapped=True), memory=True).memory for side in sides}
    ours, limit = median(seconds["ours"]), median(seconds["limit"])
    original = median(seconds["peer"]) if peers else None
    shown = np.load(OUT / "ours.facts.npy")
    cells = [work.name, f"{ours:.3f}", f"{original:.2f}" if original else "", f"{limit:.3f}"]
    cells += [f"{original / ours:.1f}" if original else "", f"{ours / limit:.2f}", f"{memory['ours'] / 1e6:.0f}"]
    cells += [f"{memory['peer'] / 1e6:.0f}", f"{memory['ours'] / memory['peer']:.2f}"] if peers else ["", ""]
    return [*cells, str(shown[0]), str(shown[1]), _difference(int(shown[2])) if peers else ""]


def _difference(certain: int) -> str:
    """Ours against the original's; of the last round each draws its own part."""
    ours, original = np.load(OUT / "ours.npy"), np.load(OUT / "peer.npy")
    assert len(ours) == len(original)
    shared = len(np.intersect1d(ours, original))
    return f"{max(0, certain - shared)} (and {len(ours) - max(certain, shared)} of the last round, which is drawn)"


def _command(side: str, work: Work, file: Path, peers: Path | None, *, mapped: bool = False) -> list[str]:
    if side == "peer":
        assert peers is not None
        python = peers / "venv" / "bin" / "python"
        driver = Path(__file__).with_name("simcore_peer.py")
        checkout, rows = str(peers / "openssl-simcore"), str(OUT / "peer.npy")
        return [
            str(python) if python.exists() else sys.executable,
            str(driver),
            checkout,
            str(file),
            str(work.count),
            rows,
        ]
    return [sys.executable, "-m", "bench.simcore", side, str(file), str(work.count), "mapped" if mapped else "read"]


def _seconds(side: str) -> Path:
    return OUT / f"{side}.npy.seconds"


def similarities(rows: int) -> Path:
    """Cosines of centroids (rows of the file) and vectors of many clusters, of which each centroid is near some."""
    path = OUT / f"similarities-{rows}.npy"
    if path.exists():
        return path
    OUT.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((_CLUSTERS, DIMENSIONS), dtype=np.float32)
    near = directions[generator.integers(0, _CLUSTERS, CENTROIDS)]
    centroids = unit(near + 0.5 * generator.standard_normal(near.shape, dtype=np.float32))
    partial = path.with_suffix(".partial.npy")
    matrix = np.lib.format.open_memmap(partial, "w+", np.float32, (CENTROIDS, rows))
    for start in range(0, rows, _MADE_ROWS):
        count = min(_MADE_ROWS, rows - start)
        near = directions[generator.integers(0, _CLUSTERS, count)]
        vectors = unit(near + generator.standard_normal(near.shape, dtype=np.float32))
        matrix[:, start : start + count] = centroids @ vectors.T
    matrix.flush()
    partial.rename(path)
    return path


def select(matrix: NDArray[np.float32], count: int) -> Selection:
    """Ours."""

    def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        for start in range(0, matrix.shape[1], _BLOCK_ROWS):
            block = matrix[:, start : start + _BLOCK_ROWS]
            yield np.arange(start, start + block.shape[1]), block

    def ranking_at(depth: int) -> Ranking:
        return rank_similarities(blocks(), len(matrix), depth)

    return select_rows(ranking_at, matrix.shape[1], len(matrix), count)


def _side(side: str, file: str, count: str, how: str) -> None:
    matrix = np.load(file, mmap_mode="r" if how == "mapped" else None)
    if side == "limit":
        import torch

        depth = int(np.load(OUT / "ours.facts.npy")[1])
        tensor = torch.from_numpy(np.asarray(matrix) if how == "read" else np.array(matrix))
        start = time.perf_counter()
        torch.topk(tensor, depth, dim=1)
        _seconds(side).write_text(str(time.perf_counter() - start))
        return
    start = time.perf_counter()
    found = select(matrix, int(count))
    _seconds(side).write_text(str(time.perf_counter() - start))
    np.save(OUT / "ours.npy", found.rows)
    np.save(OUT / "ours.facts.npy", np.array([found.kept_rounds, found.depth, sum(found.round_sizes[:-1])]))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in {"ours", "limit"}:
        _side(*sys.argv[1:])
    else:
        main(sys.argv[1:])
