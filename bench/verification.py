"""Verification of a subset at DataComp's size: a million uids against the index of a pool of 12.8 million.

    python -m bench.verification [--rounds N]

What is measured is the check that the scorer makes (format, order, membership, counts), with the index as the scorer
keeps it, in a fresh process for every round: seconds of the check alone, and the most memory that the process ever had
resident, Python and libraries included. The index and the subset are made once and kept under ``build/``; the page
cache is hot. The same membership by a binary search over the whole pool, as before, stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.made_pool import CACHE
from competition.data.uids import UID_DTYPE, UidArray, count_in, load_subset, save_subset, sort_uids

POOL, SUBSET = 12_800_000, 1_000_000
FOLDER = CACHE / "verification"
TARGET_SECONDS, TARGET_BYTES = 2.0, 300_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.verification", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=SIDES, help="measure one side in this process and print JSON")
    given = parser.parse_args([] if arguments is None else arguments)
    if given.one:
        print(json.dumps(_measured(SIDES[given.one])))
        return
    _make()
    table = Table(title=f"{SUBSET:,} uids against a pool of {POOL:,}; medians of {given.rounds} fresh processes")
    for heading in (
        "",
        "seconds",
        "slowest",
        "peak memory",
        f"target: {TARGET_SECONDS:g} s, {TARGET_BYTES / 1e6:g} MB",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in SIDES:
        rounds = [_fresh(name) for _ in range(given.rounds)]
        seconds, peak = [each[0] for each in rounds], max(each[1] for each in rounds)
        met = statistics.median(seconds) <= TARGET_SECONDS and peak <= TARGET_BYTES
        table.add_row(
            name,
            f"{statistics.median(seconds):.2f}",
            f"{max(seconds):.2f}",
            f"{peak / 1e6:.0f} MB",
            "met" if met else "missed",
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; the page cache hot.")


def verified() -> None:
    """The scorer's check of a subset, with the pool's index opened as the scorer opens it."""
    from competition.verification.subset import check_uids

    check_uids(_SUBSET_FILE.name, _SUBSET_FILE, limit=10_000_000, pool=load_subset(_INDEX_FILE), pool_id="made")


def searched() -> None:
    """Membership alone, by a binary search of every uid in the whole pool."""
    missing = int((count_in(load_subset(_SUBSET_FILE), load_subset(_INDEX_FILE)) == 0).sum())
    assert not missing


SIDES: dict[str, Callable[[], None]] = {"the scorer's check": verified, "binary search, membership alone": searched}
_INDEX_FILE, _SUBSET_FILE = FOLDER / f"pool-{POOL}.npy", FOLDER / f"subset-{SUBSET}.npy"


def _make() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    if _INDEX_FILE.exists() and _SUBSET_FILE.exists():
        return
    random = np.random.default_rng(0)
    pool: UidArray = np.empty(POOL, dtype=UID_DTYPE)
    for field in ("f0", "f1"):
        pool[field] = random.integers(0, 2**64, POOL, dtype=np.uint64)
    pool = sort_uids(pool)
    save_subset(_INDEX_FILE, pool)
    save_subset(_SUBSET_FILE, pool[np.sort(random.choice(POOL, SUBSET, replace=False))])


def _measured(side: Callable[[], None]) -> tuple[float, int]:
    """Seconds of the check, and the process's highest resident size in bytes."""
    if side is verified:
        pass
    start = time.perf_counter()
    side()
    seconds = time.perf_counter() - start
    # Not ru_maxrss: that remembers the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return seconds, int(status["VmHWM"].split()[0]) * 1024


def _fresh(name: str) -> tuple[float, int]:
    output = subprocess.run(
        [sys.executable, "-m", "bench.verification", "--one", name],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
    ).stdout
    seconds, peak = json.loads(output)
    return float(seconds), int(peak)


if __name__ == "__main__":
    main(sys.argv[1:])
