"""DataComp's seven baselines on one pool, in one table: what went in, what came out, and why the rest did not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.made_pool import MadePool
from bench.process import run
from bench.stand_ins import StandIns, make_stand_ins

_SCORE = ("--arch", "l14", "--fraction", "0.3")


def _baselines(made: StandIns) -> dict[str, tuple[str, ...]]:
    images = ("--centroids", str(made.centroids), "--target-features", str(made.targets))
    return {
        "no_filter": (),
        "basic_filter": (),
        "clip_score": _SCORE,
        "laion2b": (),
        "text_based": ("--synset-ids", str(made.synsets)),
        "image_based": images,
        "image_based_intersect_clip_score": (*images, *_SCORE),
    }


def print_baselines(console: Console, pool: MadePool, out: Path) -> None:
    """Run each baseline's command and print its record; one that lacks a file or package says so."""
    table = Table(title="DataComp's baselines", title_justify="left", header_style="bold")
    for column in ("baseline", "rows in", "rows out", "seconds", "rows/s"):
        table.add_column(column, justify="left" if column == "baseline" else "right")
    table.add_column("dropped", overflow="fold")
    for name, options in _baselines(make_stand_ins(pool)).items():
        table.add_row(name, *_line(name, options, pool, out / f"{name}.npy"))
    console.print(table)


def _line(name: str, options: tuple[str, ...], pool: MadePool, target: Path) -> list[str]:
    datacup = str(Path(sys.executable).with_name("datacup"))
    paths = ["--metadata-dir", str(pool.metadata), "--save-path", str(target)]
    try:
        cost = run([datacup, "subset", name, *paths, *options])
    except RuntimeError as error:
        return ["", "", "", "", str(error).partition("Error: ")[2].splitlines()[0]]
    record = json.loads(target.with_name(f"{target.name}.json").read_text())
    dropped = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in record["dropped"].items())
    return [
        f"{record['total']:,}",
        f"{record['kept']:,}",
        f"{cost.wall:.2f}",
        f"{record['total'] / cost.wall:,.0f}",
        dropped,
    ]
