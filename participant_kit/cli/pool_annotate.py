"""``datacup pool annotate``: DataComp's metadata for any shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from competition.data.engine import Workers
from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import spread


@spread
def command(
    shards_dir: Annotated[Path, typer.Option("--shards-dir", "-i", help="Shards in webdataset's layout.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="The metadata folder to make.")],
    model: Annotated[
        list[str],
        typer.Option("--model", help="An open_clip name, a configuration's .json, or a run's folder. Once or twice."),
    ],
    pretrained: Annotated[
        list[str] | None,
        typer.Option("--pretrained", help="For each --model that is no run: a tag of open_clip, or a .safetensors."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--as", help="For each --model: which columns it fills, b32 or l14; default: b32, then l14."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pairs that go through a model together.")] = 256,
    language_model: Annotated[
        Path | None, typer.Option("--language-model", help="fastText model; default: the bundled lid.176.ftz.")
    ] = None,
    tolerate: Annotated[int, typer.Option("--tolerate", min=0, help="Damaged shards that do not fail the run.")] = 0,
    workers: Workers = 2,
    as_json: JsonOption = False,
) -> None:
    """Make the metadata of any shards: sizes, digests, CLIP scores.

    Features, languages and copy descriptors too. A GPU is used if there is one. A killed run goes on where it stopped.
    Samples without a usable image or caption are counted by reason. Of a damaged shard that --tolerate lets pass, the
    samples before the damage get rows. The ISC descriptors of DataComp's pools are not computed: `dedup` holds the
    first model's image features in 256 dimensions, and extras/ has each image's perceptual hash.
    """
    console = Console(as_json=as_json)

    from participant_kit.pools.annotate.models import ROLES, ModelChoice
    from participant_kit.pools.annotate.run import AnnotateOptions, annotate_pool

    roles = role or list(ROLES[: len(model)])
    weights = iter(pretrained or [])
    chosen = [None if Path(name).is_dir() else next(weights, None) for name in model]
    if len(roles) != len(model) or next(weights, None) is not None:
        raise UsageError(
            f"{len(model)} times --model, {len(pretrained or [])} times --pretrained and {len(roles)} times --as do "
            "not fit together.",
            hint="Name each --model with its own --pretrained (unless it is a run) and its own --as.",
        )
    choices = tuple(ModelChoice(*each) for each in zip(model, chosen, roles, strict=True))
    options = AnnotateOptions(choices, batch, language_model, tolerate)
    with console.progress(f"Annotating {shards_dir}") as progress:
        report = annotate_pool(shards_dir, output_dir, options, workers, progress=progress)
    shown: dict[str, object] = {"shards": f"{report.shards:,}", "samples": f"{report.samples:,}"}
    shown |= {f"  dropped: {reason}": f"{count:,}" for reason, count in report.dropped.items()}
    shown |= {"rows": f"{report.rows:,}"}
    shown |= {f"  {note}": f"{count:,}" for note, count in report.notes.items()}
    shown |= {f"{each['role']} by": each["name"] for each in report.models}
    shown |= {"metadata": output_dir}
    console.pairs(report.as_json(), shown)
    for damage in report.damaged_shards:
        console.note(f"Warning: {damage}")
    if report.gaps:
        console.note(f"Warning: shard numbers are missing: {report.gaps}")
    console.next_step(f"datacup pool info --metadata-dir {output_dir} --shards-dir {shards_dir}")
