"""``datacup subset``: choose samples of a pool with a filter strategy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import WorkersOption


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="One of the strategies above.",
            metavar="NAME",
        ),
    ],
    metadata_dir: Annotated[Path, typer.Option("--metadata-dir", help="The pool's metadata folder.")],
    save_path: Annotated[Path, typer.Option("--save-path", help="Where the subset goes: an .npy file.")],
    arch: Annotated[str | None, typer.Option("--arch", help="Whose scores and features: b32 or l14.")] = None,
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Share of the pool to keep by score, above 0 and at most 1.")
    ] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Keep scores of at least this.")] = None,
    language_model: Annotated[
        Path | None, typer.Option("--language-model", help="fastText model; default: the bundled lid.176.ftz.")
    ] = None,
    workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Choose samples of a pool with a strategy.

    \b
    no_filter           every sample
    basic_filter        English captions of some length, images of some size
                        [--language-model FILE]
    clip_score          pairs that a reference CLIP finds most alike
                        --arch b32|l14  --fraction F | --threshold T
    clip_score_diverse  well-matched pairs of images that do not look alike
                        [--arch l14] [--fraction 0.5]
    clip_score_english  English captions among the best-scored pairs
                        [--arch l14] [--fraction 0.4] [--language-model FILE]

    Prints how many samples were dropped, and why. A killed run goes on where it stopped.
    """
    console = Console(as_json=as_json)

    from participant_kit.subsets import StrategyOptions, build_subset

    options = StrategyOptions(arch=arch, fraction=fraction, threshold=threshold, language_model=language_model)
    with console.progress(f"Choosing with {name}") as progress:
        report = build_subset(name, metadata_dir, save_path, options, workers=workers, progress=progress)
    shown: dict[str, object] = {"strategy": name, "pool": f"{report.total:,}"}
    shown |= {f"  dropped: {reason.replace('_', ' ')}": f"{count:,}" for reason, count in report.dropped.items()}
    shown |= {"kept": f"{report.kept:,} ({report.kept / max(1, report.total):.1%})", "subset": save_path}
    console.pairs(asdict(report), shown)
    shards = metadata_dir.parent / "shards"
    console.next_step(f"datacup reshard -i {shards} -o shards/{save_path.stem} -s {save_path}")
