"""Pools at DataComp's scale: our commands, the original programs, and the limit, side by side.

    python -m bench.pool [--peers DIR] [--rounds N]

``DIR/datacomp`` is a checkout of mlfoundations/datacomp and ``DIR/venv/bin/python`` an interpreter with what it needs.
Every figure is that of a fresh process, started when the page cache is hot; the sides take turns, and the median
counts. Start-up is the same command on a pool of a few rows; "warm" is the limit as a call where all is imported.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.limit import FRACTION, LIMITS
from bench.made_pool import CACHE, MadePool, PoolRecipe, make_pool
from bench.process import Cost, median, run
from bench.shards_alike import shards_alike
from bench.shows import print_baselines
from competition.data.shards import list_shards, read_samples
from competition.data.uids import parse_uids, save_subset, sort_uids
from participant_kit.subsets.language import language_model

FULL = PoolRecipe()
TINY = PoolRecipe(rows=100, samples=10, image_bytes=1000)
WORKERS = 2
SHARE = 0.3
OUT = CACHE / "out"
SELECTIONS = {
    "no_filter": (),
    "clip_score": ("--arch", "l14", "--fraction", str(FRACTION)),
    "basic_filter": (),
}

Command = Callable[[MadePool, Path], list[str]]


@dataclass(frozen=True, slots=True)
class Work:
    """One line of the table: each side's command writes to the path that it is given.

    Args:
        name: of the line.
        ours: our command.
        peer: the original's; ``None`` without it.
        limit: the least that the work needs.
        warm: the same limit as a function of this process, where it is one.
        alike: are both outputs the same?
    """

    name: str
    ours: Command
    peer: Command | None
    limit: Command
    warm: Callable[[MadePool, Path], None] | None
    alike: Callable[[Path, Path], bool]


@dataclass(frozen=True, slots=True)
class Measured:
    """A side's cost on the full pool, and its seconds on a tiny one."""

    full: Cost
    startup: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="bench.pool", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="folder with a checkout `datacomp` and its `venv`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of the lines to measure")
    given = parser.parse_args([] if arguments is None else arguments)
    console = Console(width=200)
    full, tiny = make_pool(FULL), make_pool(TINY)
    OUT.mkdir(parents=True, exist_ok=True)
    table = _empty_table(given.rounds, given.peers)
    for work in _works(given.peers, (full, tiny)):
        if given.only and work.name not in given.only:
            continue
        try:
            table.add_row(*_line(work, full, tiny, given.rounds))
        except RuntimeError as error:  # one side's failure is no reason to lose the other lines
            table.add_row(work.name, *[""] * (len(table.columns) - 2), "failed")
            console.print(str(error), markup=False)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; {WORKERS} workers a side.")
    if not given.only:
        print_baselines(console, full, OUT)


def _works(peers: Path | None, pools: Sequence[MadePool]) -> list[Work]:
    works = [_selection(name, options, peers) for name, options in SELECTIONS.items()]
    for pool in pools:
        _save_share(pool)
    return [*works, _resharding(peers)]


def _selection(name: str, options: Sequence[str], peers: Path | None) -> Work:
    def ours(pool: MadePool, target: Path) -> list[str]:
        paths = ["--metadata-dir", str(pool.metadata), "--save-path", str(target), "-j", str(WORKERS)]
        return [_datacup(), "subset", name, *paths, *options]

    def peer(pool: MadePool, target: Path) -> list[str]:
        paths = ["--metadata_dir", str(pool.metadata), "--save_path", str(target), "--num_workers", str(WORKERS)]
        return [*_original(peers), "baselines.py", "--name", name, *paths, *options]

    def limit(pool: MadePool, target: Path) -> list[str]:
        return [sys.executable, "-m", "bench.limit", name, str(pool.metadata), str(target)]

    def warm(pool: MadePool, target: Path) -> None:
        LIMITS[name](pool.metadata, target)

    return Work(name, ours, peer if peers else None, limit, warm, lambda a, b: filecmp.cmp(a, b, shallow=False))


def _resharding(peers: Path | None) -> Work:
    name = f"reshard {SHARE:.0%}"

    def ours(pool: MadePool, target: Path) -> list[str]:
        paths = ["-i", str(pool.shards), "-o", str(target), "-s", str(_share(pool))]
        return [_datacup(), "reshard", *paths, "-j", str(WORKERS)]

    def peer(pool: MadePool, target: Path) -> list[str]:
        paths = ["-i", str(pool.shards), "-o", str(target), "-s", str(_share(pool))]
        return [*_original(peers), "resharder.py", *paths, "--num-workers", str(WORKERS)]

    def limit(pool: MadePool, target: Path) -> list[str]:
        return ["cp", "--reflink=never", "-r", str(_output("ours", name, pool)), str(target)]

    return Work(name, ours, peer if peers else None, limit, None, shards_alike)


def _line(work: Work, full: MadePool, tiny: MadePool, rounds: int) -> list[str]:
    sides: dict[str, Command] = {"ours": work.ours, **({"peer": work.peer} if work.peer else {}), "limit": work.limit}
    costs: dict[str, list[Cost]] = {side: [] for side in sides}
    starts: dict[str, list[Cost]] = {side: [] for side in sides}
    for turn in range(rounds + 1):  # the first warms the page cache and is forgotten
        for side, command in sides.items():
            starts[side].append(_run(side, work.name, command, tiny))
            costs[side].append(_run(side, work.name, command, full, memory=turn == 0))
    measured = {
        side: Measured(
            Cost(median(costs[side][1:]).wall, median(costs[side][1:]).cpu, costs[side][0].memory),
            median(starts[side][1:]).wall,
        )
        for side in sides
    }
    alike = "peer: absent"
    if work.peer:
        alike = (
            "same" if work.alike(_output("ours", work.name, full), _output("peer", work.name, full)) else "DIFFERENT"
        )
    warm = f"{_warm_seconds(work, full, rounds):.2f}" if work.warm else ""
    return [work.name, *_cells(measured, warm), alike]


def _run(side: str, name: str, command: Command, pool: MadePool, *, memory: bool = False) -> Cost:
    target = _output(side, name, pool)
    shutil.rmtree(target, ignore_errors=True)
    if side == "peer" and target.suffix != ".npy":
        target.mkdir()  # the original wants an empty folder
    return run(command(pool, target), memory=memory)


def _warm_seconds(work: Work, pool: MadePool, rounds: int) -> float:
    """The limit again, as a call in this process, where everything is imported."""
    assert work.warm is not None
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work.warm(pool, _output("limit", work.name, pool))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def _cells(measured: dict[str, Measured], warm: str) -> list[str]:
    ours, limit, peer = measured["ours"], measured["limit"], measured.get("peer")
    cells = [*_figures(ours), *(_figures(peer) if peer else [""] * 4)]
    cells += [f"{limit.full.wall:.2f}", f"{limit.full.cpu:.2f}", warm]
    if peer:
        per_row = (peer.full.wall - peer.startup) / (ours.full.wall - ours.startup)
        cells += [
            f"{peer.full.wall / ours.full.wall:.1f}",
            f"{per_row:.1f}",
            f"{ours.full.memory / peer.full.memory:.2f}",
        ]
    else:
        cells += [""] * 3
    return [*cells, f"{ours.full.wall / limit.full.wall:.2f}", f"{ours.full.cpu / limit.full.cpu:.2f}"]


def _figures(side: Measured) -> list[str]:
    return [f"{side.full.wall:.2f}", f"{side.full.cpu:.2f}", f"{side.full.memory / 1e6:.0f}", f"{side.startup:.2f}"]


def _empty_table(rounds: int, peers: Path | None) -> Table:
    pool = f"{FULL.files} x {FULL.rows:,} rows, {FULL.shards} x {FULL.samples:,} samples"
    title = f"{pool}; median of {rounds}; wall and CPU in s, memory in MB"
    table = Table(title=title if peers else f"{title}; peer: absent", title_justify="left", header_style="bold")
    table.add_column("work")
    sides = ["wall", "CPU", "memory", "start-up"]
    columns = [f"ours\n{name}" for name in sides] + [f"original\n{name}" for name in sides]
    columns += ["limit\nwall", "limit\nCPU", "limit\nwarm", "original\n/ ours", "without\nstart-up", "memory\nshare"]
    for column in [*columns, "ours /\nlimit", "CPU /\nlimit", "output"]:
        table.add_column(column, justify="right")
    return table


def _datacup() -> str:
    return str(Path(sys.executable).with_name("datacup"))


def _original(peers: Path | None) -> list[str]:
    assert peers is not None
    driver, checkout = Path(__file__).with_name("peer.py"), peers / "datacomp"
    return [str(peers / "venv" / "bin" / "python"), str(driver), str(checkout), str(language_model(None))]


def _output(side: str, name: str, pool: MadePool) -> Path:
    folder = OUT / pool.root.name
    folder.mkdir(exist_ok=True)
    return folder / (f"{side}-{name.partition(' ')[0]}" + (".npy" if name in SELECTIONS else ""))


def _share(pool: MadePool) -> Path:
    return OUT / f"share-{pool.root.name}.npy"


def _save_share(pool: MadePool) -> None:
    """A random share of the samples that the shards hold."""
    shards = [shard.path for shard in list_shards(pool.shards).shards]
    facts = [sample.members["json"] for path in shards for sample in read_samples(path, ["json"])]
    uids = parse_uids([json.loads(content)["uid"] for content in facts])
    chosen = np.random.default_rng(0).choice(len(uids), size=int(SHARE * len(uids)), replace=False)
    save_subset(_share(pool), sort_uids(np.unique(uids[chosen])))


if __name__ == "__main__":
    main(sys.argv[1:])
