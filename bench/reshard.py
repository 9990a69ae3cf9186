"""Resharding beside its physical limit: copying the bytes that were selected, on the same disk, in the same run."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from competition.data.shards import Sample, write_shard
from competition.data.uids import parse_uids, save_subset, sort_uids
from participant_kit.reshard import reshard

SHARDS, SAMPLES, IMAGE_BYTES, ROUNDS = 8, 2500, 20_000, 5


def main() -> None:
    """Print seconds and ratios of five rounds."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        _make_pool(root)
        for share in (0.1, 0.5, 1.0):
            _measure(root, share)


def _measure(root: Path, share: float) -> None:
    uids = np.load(root / "uids.npy")
    chosen = np.random.default_rng(0).choice(len(uids), size=int(share * len(uids)), replace=False)
    save_subset(root / "subset.npy", sort_uids(uids[chosen]))
    ours, copies = [], []
    for _ in range(ROUNDS):
        ours.append(_timed(lambda: reshard(root / "shards", root / "out", root / "subset.npy", workers=2)))
        copies.append(_timed(lambda: shutil.copytree(root / "out", root / "copy")))
        size = sum(path.stat().st_size for path in (root / "out").glob("*.tar"))
        shutil.rmtree(root / "out")
        shutil.rmtree(root / "copy")
    mine, copy = statistics.median(ours), statistics.median(copies)
    print(
        f"{share:4.0%} of {SHARDS * SAMPLES:,} samples ({size / 1e6:,.0f} MB): reshard {mine:.2f} s, "
        f"copying the selected bytes {copy:.2f} s, ratio {copy / mine:.2f} of the copy's speed"
    )


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _make_pool(root: Path) -> None:
    generator = np.random.default_rng(0)
    (root / "shards").mkdir()
    names = [f"{number:032x}" for number in generator.integers(0, 2**63, SHARDS * SAMPLES)]
    for shard in range(SHARDS):
        part = names[shard * SAMPLES : (shard + 1) * SAMPLES]
        samples = (
            Sample(
                f"{shard:08d}{index:04d}",
                {
                    "jpg": generator.bytes(IMAGE_BYTES),
                    "json": json.dumps({"uid": name, "caption": "a caption"}).encode(),
                    "txt": b"a caption",
                },
            )
            for index, name in enumerate(part)
        )
        write_shard(root / "shards", shard, samples)
    np.save(root / "uids.npy", parse_uids(names))
