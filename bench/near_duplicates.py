"""Near-duplicates: ours, ImageNetV2's program and the matrix product alone; semantic deduplication of a million rows.

    python -m bench.near_duplicates [--peers DIR] [--rounds N] [--rows N]

``DIR/ImageNetV2`` is a checkout of modestyachts/ImageNetV2; ``DIR/venv/bin/python``, if it is there, runs it, otherwise
this interpreter does. The original's time on 10,000 x 100,000 features is that on 100 x 20,000 times 500.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.process import run
from competition.data.nearest import QUERY_ROWS, nearest
from participant_kit.dedup.metrics import FeatureL2

DIMENSIONS, NEIGHBOURS = 512, 30
SMALL, LARGE = (100, 20_000), (10_000, 100_000)
FILES, COPIES, NOISE = 8, 0.05, 0.01

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measured:
    """Median seconds of one size."""

    ours: float
    product: float
    peer: float | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="bench.near_duplicates", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="folder with a checkout `ImageNetV2` and, perhaps, a `venv`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of semantic deduplication; 0 leaves it out")
    given = parser.parse_args([] if arguments is None else arguments)
    print(f"L2, {NEIGHBOURS} neighbours, {DIMENSIONS} dimensions, float32; median of {given.rounds} rounds, in s\n")
    print("| queries x references | ours | matrix product | ours / product | original | original / ours |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    small = _measure(*SMALL, given.rounds, given.peers)
    print(_row(SMALL, small, small.peer, "peer: absent"), flush=True)
    large = _measure(*LARGE, given.rounds, None)
    scale = LARGE[0] * LARGE[1] / (SMALL[0] * SMALL[1])
    extrapolated = None if small.peer is None else small.peer * scale
    print(_row(LARGE, large, extrapolated, "peer: absent", " (extrapolated)"), flush=True)
    if given.rows:
        _semantic(given.rows)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.")


def _row(size: tuple[int, int], measured: Measured, peer: float | None, absent: str, note: str = "") -> str:
    cells = [f"{size[0]:,} x {size[1]:,}", f"{measured.ours:.2f}", f"{measured.product:.2f}"]
    cells.append(f"{measured.ours / measured.product:.2f}")
    cells += [absent, ""] if peer is None else [f"{peer:,.1f}{note}", f"{peer / measured.ours:.0f}"]
    return f"| {' | '.join(cells)} |"


def _measure(queries: int, references: int, rounds: int, peers: Path | None) -> Measured:
    """The sides take turns; the first round only warms up. The original runs once."""
    generator = np.random.default_rng(0)
    first, second = (generator.standard_normal((n, DIMENSIONS), dtype=np.float32) for n in (queries, references))
    metric = FeatureL2(first, second)
    sides: tuple[Callable[[], object], ...] = (lambda: nearest(metric, NEIGHBOURS), lambda: _product(first, second))
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for side, times in zip(sides, seconds, strict=True):
            start = time.perf_counter()
            side()
            if turn:
                times.append(time.perf_counter() - start)
    peer = None if peers is None else _peer(peers, first, second)
    return Measured(float(np.median(seconds[0])), float(np.median(seconds[1])), peer)


def _product(first: Floats, second: Floats) -> float:
    """All inner products in the blocks of the search, each overwritten by the next."""
    step, width = FeatureL2.reference_rows, QUERY_ROWS
    products = np.empty((width, step), dtype=np.float32)
    for start in range(0, len(first), width):
        rows = first[start : start + width]
        for low in range(0, len(second), step):
            block = second[low : low + step]
            np.matmul(rows, block.T, out=products[: len(rows), : len(block)])
    return float(products[0, 0])


def _peer(peers: Path, first: Floats, second: Floats) -> float:
    """The original's seconds, when its neighbours are ours."""
    own = peers / "venv" / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        np.save(root / "first.npy", first)
        np.save(root / "second.npy", second)
        driver, result = Path(__file__).with_name("near_duplicates_peer.py"), root / "result.npz"
        words = [own if own.exists() else sys.executable, driver, peers / "ImageNetV2", root / "first.npy"]
        command = [*map(str, words), str(root / "second.npy"), str(NEIGHBOURS), str(result)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with np.load(result) as found:
            positions, distances = nearest(FeatureL2(first, second), NEIGHBOURS).table(len(first), NEIGHBOURS)
            if not (np.array_equal(found["positions"], positions) and np.allclose(found["distances"], distances)):
                raise SystemExit("The original's neighbours are not ours.")
            return float(found["seconds"])


def _semantic(rows: int) -> None:
    """Rate, and the memory of all processes at its highest, of the command on a made pool."""
    print("\n| semantic deduplication | seconds | rows / s | CPU s | peak memory MB | of the features (float16) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        metadata = Path(folder) / "metadata"
        _make_pool(metadata, rows)
        command = [sys.executable, "-c", "from participant_kit.cli import main; main()", "dedup", "semantic"]
        paths = ["--metadata-dir", str(metadata), "--save-path", str(Path(folder) / "kept.npy"), "-j", "2"]
        cost = run([*command, *paths], memory=True)
    size = rows * DIMENSIONS * 2
    cells = [f"{rows:,} x {DIMENSIONS}", f"{cost.wall:.0f}", f"{rows / cost.wall:,.0f}", f"{cost.cpu:.0f}"]
    print(f"| {' | '.join([*cells, f'{cost.memory / 1e6:,.0f}', f'{cost.memory / size:.2f}'])} |")


def _make_pool(folder: Path, rows: int) -> None:
    """Unit vectors around centres, one in twenty nearly a copy of another one."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    centres = generator.standard_normal((5_000, DIMENSIONS), dtype=np.float32)
    for number in range(FILES):
        count = rows // FILES + (number < rows % FILES)
        points = centres[generator.integers(0, len(centres), count)]
        points += generator.standard_normal(points.shape, dtype=np.float32)
        copies = np.flatnonzero(generator.random(count) < COPIES)
        sources = points[generator.integers(0, count, len(copies))]
        points[copies] = sources + NOISE * generator.standard_normal(sources.shape, dtype=np.float32)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        stem = f"{number:032x}"
        np.savez(folder / f"{stem}.npz", l14_img=points.astype(np.float16))
        uids = _uids(generator, count)
        scores = pa.array(generator.random(count, dtype=np.float32))
        pq.write_table(pa.table({"uid": uids, "clip_l14_similarity_score": scores}), folder / f"{stem}.parquet")


def _uids(generator: np.random.Generator, count: int) -> list[str]:
    digits = generator.bytes(16 * count).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


if __name__ == "__main__":
    main(sys.argv[1:])
