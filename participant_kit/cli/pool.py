"""``datacup pool``: get or build the pool that entries choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from competition.data.engine import Workers
from competition.errors import UsageError
from competition.rules import find_competition, find_scale
from participant_kit.cli import (
    pool_annotate,
    pool_cluster,
    pool_download,
    pool_import,
    pool_index,
    pool_info,
    pool_search,
    pool_verify,
)
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import ScaleOption, spread

app = typer.Typer(no_args_is_help=True, help="Get or build the pool that entries choose from.")


@app.callback()
def _group() -> None:
    pass


@app.command("build")
@spread
def build(
    name: Annotated[str, typer.Argument(help="The competition whose pool is built: digits.", metavar="NAME")],
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Where the pool goes; default: pools/<pool>.")
    ] = None,
    scale: ScaleOption = "nano",
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Build a pool from data that ships with the competition.

    On two CPU cores nano takes about half a minute, micro about two. A killed build goes on where it stopped.
    """
    console = Console(as_json=as_json)
    if name != "digits":
        raise UsageError(f"The pool of {name!r} cannot be built here.", hint="Pools that can be built: digits.")
    competition = find_competition(name)
    chosen = find_scale(competition, scale)
    folder = output_dir or Path("pools") / chosen.given_pool.id

    from participant_kit.pools.digits import build_digits_pool

    with console.progress(f"Building pool {chosen.given_pool.id}") as progress:
        report = build_digits_pool(folder, chosen, workers=workers, progress=progress)
    shown = {"pool": chosen.given_pool.id, "samples": f"{report.samples:,}", "folder": folder}
    console.pairs({**report.model_dump(mode="json"), "folder": str(folder)}, shown)
    console.next_step(suggestion(folder))


def suggestion(pool: Path) -> str:
    """The command that chooses from a pool."""
    return f"datacup subset clip_score --metadata-dir {pool}/metadata --arch l14 --fraction 0.3 --save-path subset.npy"


# In the order of a participant's work.
app.command("download")(pool_download.command)
app.command("import")(pool_import.command)
app.command("annotate")(pool_annotate.command)
app.command("verify")(pool_verify.command)
app.command("info")(pool_info.command)
app.command("index")(pool_index.command)
app.command("cluster")(pool_cluster.command)
app.command("search")(pool_search.command)
