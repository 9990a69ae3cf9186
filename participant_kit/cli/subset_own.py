"""``datacup subset where|function``: a participant's own choice."""

from __future__ import annotations

from typing import Annotated

import typer

from competition.data.engine import Workers
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import MetadataDirOption, SavePathOption, spread
from participant_kit.cli.subset_report import show_report


@spread
def where(
    condition: Annotated[
        str,
        typer.Argument(
            metavar="CONDITION",
            help="SQL on the metadata's columns: 'clip_l14_similarity_score > 0.24 and original_width >= 200'.",
        ),
    ],
    metadata_dir: MetadataDirOption,
    save_path: SavePathOption,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """The samples for which your condition in SQL is true.

    The condition looks at one row at a time. A missing value (null or NaN) is null; where the condition is null the row
    is dropped, and counted apart. Numbers compare with scores as float32.
    """
    from participant_kit.subsets.where import where_subset

    console = Console(as_json=as_json)
    with console.progress("Evaluating the condition") as progress:
        report = where_subset(condition, metadata_dir, save_path, workers, progress)
    show_report(console, report, save_path, "pool", metadata_dir.parent / "shards")


@spread
def function(
    name: Annotated[
        str,
        typer.Argument(metavar="FILE.py:NAME", help="A function from a polars.DataFrame to a boolean polars.Series."),
    ],
    metadata_dir: MetadataDirOption,
    save_path: SavePathOption,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """The samples for which your Python function says true.

    It takes the metadata of one file with all columns, and runs with your rights; what it says about a row shall depend
    on that row alone. Rows with null are dropped, and counted apart.
    """
    from participant_kit.subsets.function import function_subset

    console = Console(as_json=as_json)
    with console.progress(f"Calling {name}") as progress:
        report = function_subset(name, metadata_dir, save_path, workers, progress)
    show_report(console, report, save_path, "pool", metadata_dir.parent / "shards")
