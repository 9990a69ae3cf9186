"""``datacup metrics clip-score|clip-iqa|inception-score``: scores of one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import FeatureArrayOption, SeedOption

_ImagesArgument = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Features of the images: an .npy or .npz file.")
]


def clip_score(
    images: Annotated[Path, typer.Argument(metavar="IMAGES.npz", help="Features and labels of the images.")],
    texts: Annotated[Path, typer.Argument(metavar="TEXTS", help="One feature a label, in the labels' order.")],
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Also name the best so many images of each class.")
    ] = None,
    member: FeatureArrayOption = None,
    as_json: JsonOption = False,
) -> None:
    """How well images fit the texts of their classes.

    100 times the cosine, and Hessel et al.'s CLIP-S, which is 2.5 times the cosine where that is positive. With --keep,
    the images that GenBench would keep of each class, by number, best first.
    """
    from competition.evaluation.dataset_metrics.clip_score import best_of_each_class, clip_s, clip_scores
    from competition.evaluation.dataset_metrics.features import Features
    from participant_kit.feature_files import read_features, read_labelled

    console = Console(as_json=as_json)
    shown, said = read_labelled([images], member), read_features(texts, member)
    scores = clip_scores(Features(shown.features, shown.name), said, shown.labels)
    payload: dict[str, object] = {
        "images": str(images),
        "texts": str(texts),
        "rows": len(shown),
        "clip_score": float(scores.mean()),
        "clip_s": float(clip_s(scores).mean()),
    }
    table: dict[str, object] = {
        "images": f"{len(shown):,}",
        "CLIP score": f"{scores.mean():.4f}",
        "CLIP-S": f"{clip_s(scores).mean():.4f}",
    }
    if keep is not None:
        best = best_of_each_class(scores, shown.labels, said.rows, keep)
        payload["best"] = [[{"row": int(row), "score": float(scores[row])} for row in rows] for rows in best]
        table |= {f"best of class {number}": " ".join(map(str, rows)) for number, rows in enumerate(best)}
    console.pairs(payload, table)


def clip_iqa(
    images: _ImagesArgument,
    positive: Annotated[Path, typer.Option("--positive", help="Features of texts as 'Good photo.'.")],
    negative: Annotated[Path, typer.Option("--negative", help="Of their opposites, in the same order.")],
    member: FeatureArrayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which of two opposite texts images are closer to.

    CLIP-IQA: the positive text's share of the softmax over 100 times both cosines, on average over the images, for each
    pair of texts.
    """
    from competition.evaluation.dataset_metrics.clip_iqa import clip_iqa as shares_of
    from participant_kit.feature_files import read_features

    console = Console(as_json=as_json)
    shown = read_features(images, member)
    shares = shares_of(shown, read_features(positive, member), read_features(negative, member))
    means, deviations = shares.mean(axis=0).tolist(), shares.std(axis=0).tolist()
    payload = {
        "images": str(images),
        "positive": str(positive),
        "negative": str(negative),
        "rows": shown.rows,
        "pairs": [{"mean": mean, "deviation": each} for mean, each in zip(means, deviations, strict=True)],
    }
    rows = [
        [str(number), f"{mean:.4f}", f"{each:.4f}"]
        for number, (mean, each) in enumerate(zip(means, deviations, strict=True))
    ]
    console.table(payload, "", ["pair", "mean", "deviation"], rows)


def inception_score(
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="A classifier's logits, one row an image.")],
    splits: Annotated[int, typer.Option("--splits", min=1, help="Parts that images are dealt to.")] = 10,
    seed: SeedOption = 0,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="The rows are probabilities and not logits.")
    ] = False,
    member: FeatureArrayOption = None,
    as_json: JsonOption = False,
) -> None:
    """How sure and how various a classifier's answers are.

    The Inception score, mean and standard deviation over the splits. Images are dealt to the splits at random.
    """
    from competition.evaluation.dataset_metrics.inception_score import Answers
    from competition.evaluation.dataset_metrics.inception_score import inception_score as score_of
    from participant_kit.feature_files import read_features

    console = Console(as_json=as_json)
    rows = read_features(answers, member)
    kind = Answers.PROBABILITIES if probabilities else Answers.LOGITS
    found = score_of(rows, splits=splits, seed=seed, kind=kind)
    payload = {
        "answers": str(answers),
        "rows": rows.rows,
        "classes": rows.dimensions,
        "kind": kind.value,
        "seed": seed,
        "mean": found.mean,
        "deviation": found.deviation,
        "splits": found.splits.tolist(),
    }
    shown = {"images": f"{rows.rows:,}", "Inception score": f"{found.mean:.4f}", "deviation": f"{found.deviation:.4f}"}
    console.pairs(payload, shown)
