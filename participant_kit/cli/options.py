"""Options that several commands share, so that they are named and explained alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CompetitionOption = Annotated[
    str, typer.Option("--competition", help="A built-in competition, or the path of a competition's YAML file.")
]
ScaleOption = Annotated[
    str, typer.Option("--scale", help="Scale of the competition; of digits: nano, or micro, four times as large.")
]
TrackOption = Annotated[str, typer.Option("--track", help="Track of the competition, for example filtering.")]
WorkersOption = Annotated[int, typer.Option("-j", "--num-workers", min=1, help="Processes on this machine.")]
RunOption = Annotated[
    Path, typer.Option("--train-output-dir", help="The run's folder: <output-dir>/<exp-name> of `datacup train`.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Of initial weights, order and crops; recorded with the result.")
]
MetadataDirOption = Annotated[Path, typer.Option("--metadata-dir", help="The pool's metadata folder.")]
SavePathOption = Annotated[Path, typer.Option("--save-path", help="Where the subset goes: an .npy file.")]
