"""Resharding beside its physical limit: copying the byte ranges of the selected samples, on the same disk, in turns.

The limit is one process per core that calls ``copy_file_range`` for each range and does nothing else; ``cp`` copies the
finished output. CPU seconds are those of this process and its children: write-back makes the wall clock noisy.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from competition.data.shards import Sample, list_shards, write_shard
from competition.data.tar import open_tar
from competition.data.uids import load_subset, parse_uids, save_subset, sort_uids
from participant_kit.pools.index import INDEX_NAME, build_index, scan_shard
from participant_kit.reshard import Options, reshard
from participant_kit.reshard.selection import count_copies

SHARDS, SAMPLES, IMAGE_BYTES, ROUNDS, WORKERS, SHARE = 8, 2000, (12_000, 52_000), 7, 2, 0.3

Range = tuple[Path, int, int]


def main() -> None:
    """Print a Markdown table: wall and CPU seconds (medians of the rounds), and their ratios to the limit."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        _make_pool(root)
        ranges = _selected(root)
        sides: dict[str, Callable[[], None]] = {
            "limit: copy_file_range, a process per core": lambda: _copy_ranges(ranges, root / "copy"),
            "cp of the output": lambda: _cp(root),
            "reshard": lambda: _reshard(root, digests=True, indexed=False),
            "reshard --no-digests": lambda: _reshard(root, digests=False, indexed=False),
            "reshard --no-digests, with the pool's index": lambda: _reshard(root, digests=False, indexed=True),
        }
        size = sum(stop - start for _, start, stop in ranges) / 1e6
        print(f"{len(ranges):,} of {SHARDS * SAMPLES:,} samples, {size:,.0f} MB; {ROUNDS} rounds, {WORKERS} workers\n")
        _print(_measured(sides, root))


def _measured(sides: dict[str, Callable[[], None]], root: Path) -> dict[str, tuple[float, float]]:
    """Medians of (wall, CPU) seconds; the sides take turns, and the first round only warms up."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):
        for name, side in sides.items():
            shutil.rmtree(root / "copy", ignore_errors=True)
            (root / "copy").mkdir()
            wall, cpu = time.perf_counter(), sum(os.times()[:4])
            side()
            if turn:
                seconds[name].append((time.perf_counter() - wall, sum(os.times()[:4]) - cpu))
    return {name: (_median(values, 0), _median(values, 1)) for name, values in seconds.items()}


def _median(values: list[tuple[float, float]], column: int) -> float:
    return statistics.median(value[column] for value in values)


def _print(measured: dict[str, tuple[float, float]]) -> None:
    limit = next(iter(measured.values()))
    print("| side | wall s | of the limit | CPU s | of the limit |\n| --- | --- | --- | --- | --- |")
    for name, (wall, cpu) in measured.items():
        print(f"| {name} | {wall:.3f} | {wall / limit[0]:.2f} | {cpu:.2f} | {cpu / limit[1]:.2f} |")


def _reshard(root: Path, *, digests: bool, indexed: bool) -> None:
    present, absent = root / "shards" / INDEX_NAME, root / INDEX_NAME
    before, after = (absent, present) if indexed else (present, absent)
    if before.exists():
        before.rename(after)
    options = Options(digests=digests)
    reshard(root / "shards", root / "copy" / "out", root / "subset.npy", workers=WORKERS, options=options)
    if not (root / "out").exists():
        (root / "copy" / "out").rename(root / "out")


def _cp(root: Path) -> None:
    if (root / "out").exists():
        shutil.copytree(root / "out", root / "copy" / "cp")


def _copy_ranges(ranges: list[Range], target: Path) -> None:
    children = []
    for core in range(WORKERS):
        child = os.fork()
        if not child:
            _copy_part(ranges[core * len(ranges) // WORKERS : (core + 1) * len(ranges) // WORKERS], target / str(core))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _copy_part(ranges: list[Range], target: Path) -> None:
    sources = {path: os.open(path, os.O_RDONLY) for path, _, _ in ranges}
    output = os.open(target, os.O_WRONLY | os.O_CREAT)
    for path, start, stop in ranges:
        position = start
        while position < stop:
            position += os.copy_file_range(sources[path], output, stop - position, position)


def _selected(root: Path) -> list[Range]:
    subset = load_subset(root / "subset.npy")
    ranges: list[Range] = []
    for shard in list_shards(root / "shards").shards:
        with open_tar(shard.path) as buffer:
            found, _, _ = scan_shard(buffer, shard.path)
        chosen = count_copies(found.uids, subset) > 0
        spans = zip(found.starts[chosen].tolist(), found.stops[chosen].tolist(), strict=True)
        ranges += [(shard.path, start, stop) for start, stop in spans]
    return ranges


def _make_pool(root: Path) -> None:
    generator = np.random.default_rng(0)
    (root / "shards").mkdir()
    uids = [generator.bytes(16).hex() for _ in range(SHARDS * SAMPLES)]
    for shard in range(SHARDS):
        part = uids[shard * SAMPLES : (shard + 1) * SAMPLES]
        samples = (_sample(generator, f"{shard:08d}{index:04d}", uid) for index, uid in enumerate(part))
        write_shard(root / "shards", shard, samples)
    build_index(root / "shards")
    chosen = generator.choice(len(uids), size=int(SHARE * len(uids)), replace=False)
    save_subset(root / "subset.npy", sort_uids(parse_uids(uids)[chosen]))


def _sample(generator: np.random.Generator, key: str, uid: str) -> Sample:
    caption = "a photograph of something that takes some words to say"
    described: dict[str, object] = {
        "uid": uid,
        "face_bboxes": [],
        "caption": caption,
        "url": f"https://example.com/{uid}.jpg",
        "key": key,
    }
    described |= {"status": "success", "error_message": None, "width": 512, "height": 384, "sha256": uid * 2}
    image = generator.bytes(int(generator.integers(*IMAGE_BYTES)))
    return Sample(key, {"jpg": image, "json": json.dumps(described).encode(), "txt": caption.encode()})
