"""``datacup metrics``: what features say of a dataset before anything is trained on it."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Annotated

import typer

from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.metrics_distance import distance
from participant_kit.cli.metrics_scores import clip_iqa, clip_score, inception_score
from participant_kit.cli.options import FeatureArrayOption

app = typer.Typer(
    help="Measure datasets by features: distances, CLER, CLIP score.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
app.command()(distance)


@app.command()
def cler(
    train: Annotated[
        list[Path],
        typer.Option("--train", help="An .npz with features and labels of the dataset; may be given several times."),
    ],
    test: Annotated[Path, typer.Option("--test", help="An .npz with features and labels of test images.")],
    text: Annotated[
        Path | None, typer.Option("--text", help="An .npy or .npz with one feature a class, in the classes' order.")
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", min=1, help="Nearest training images that vote.")] = 10,
    member: FeatureArrayOption = None,
    as_json: JsonOption = False,
) -> None:
    """How well features alone recognise the test images.

    Class-centred recognition (CLER) with GenBench's companions: zero-shot by text, the vote of the nearest training
    images, its average with the text, the classes' centres, and centres with text. Without --text there are only those
    that need none.
    """
    from competition.evaluation.dataset_metrics.cler import recognise
    from participant_kit.feature_files import read_features, read_labelled

    console = Console(as_json=as_json)
    known, asked = read_labelled(train, member), read_labelled([test], member)
    found = recognise(known, asked, None if text is None else read_features(text, member), neighbours=neighbours)
    payload = {
        "train": [str(path) for path in train],
        "test": str(test),
        "text": None if text is None else str(text),
        "rows": {"train": len(known), "test": len(asked)},
        "neighbours": neighbours,
        "scores": {
            name.value: {
                "accuracy": each.accuracy,
                "mean_per_class": each.mean_per_class,
                "recall": [None if isnan(value) else value for value in each.recall.tolist()],
            }
            for name, each in found.items()
        },
    }
    rows = [[name.value, f"{each.accuracy:.2%}", f"{each.mean_per_class:.2%}"] for name, each in found.items()]
    console.table(payload, "", ["recogniser", "accuracy", "mean per class"], rows)


for command in (clip_score, clip_iqa, inception_score):
    app.command()(command)
