"""``datacup metrics distance``: how far two sets of features are from each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from competition.errors import UsageError
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import FeatureArrayOption

if TYPE_CHECKING:
    from competition.evaluation.dataset_metrics.features import Features


class Metric(StrEnum):
    """A way to compare two sets of features."""

    FRECHET = "frechet"
    KID = "kid"
    CMMD = "cmmd"
    PRECISION_RECALL = "precision-recall"
    PROXY_A = "proxy-a"


_FirstArgument = Annotated[Path, typer.Argument(metavar="A", help="Features of the reference: an .npy or .npz file.")]
_SecondArgument = Annotated[Path, typer.Argument(metavar="B", help="Features of the other set, from the same model.")]
_NormaliseOption = Annotated[
    bool, typer.Option("--normalise", help="Divide every row by its length first; cmmd always does.")
]
_GenbenchOption = Annotated[
    bool, typer.Option("--genbench", help="Of frechet and proxy-a: as GenBench's code computes them.")
]
_UnbiasedOption = Annotated[bool, typer.Option("--unbiased", help="Of cmmd: the unbiased estimate.")]
_NeighboursOption = Annotated[
    int | None, typer.Option("--neighbours", min=1, help="Of precision-recall: k of the balls; default: 5.")
]
_SubsetSizeOption = Annotated[
    int | None, typer.Option("--subset-size", min=2, help="Of kid: rows of a subset; default: all, once.")
]
_SplitsOption = Annotated[
    int | None, typer.Option("--splits", min=1, help="Random subsets of kid (default: 100), or splits of proxy-a (5).")
]
_SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Of subsets and splits; recorded. Default: 0.")]


def distance(
    first: _FirstArgument,
    second: _SecondArgument,
    metric: Annotated[Metric, typer.Option("--metric", help="How to compare them.")],
    normalise: _NormaliseOption = False,
    genbench: _GenbenchOption = False,
    unbiased: _UnbiasedOption = False,
    neighbours: _NeighboursOption = None,
    subset_size: _SubsetSizeOption = None,
    splits: _SplitsOption = None,
    seed: _SeedOption = None,
    member: FeatureArrayOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far two sets of features are from each other.

    frechet: of the Gaussians (FID). kid: kernel distance. cmmd: a thousand times the discrepancy under a Gaussian
    kernel. precision-recall: with density and coverage. proxy-a: how well a linear classifier tells them apart.
    """
    given = {
        "genbench": genbench or None,
        "unbiased": unbiased or None,
        "neighbours": neighbours,
        "subset_size": subset_size,
        "splits": splits,
        "seed": seed,
    }
    options = _options(metric, {name: value for name, value in given.items() if value is not None})
    from participant_kit.feature_files import read_features

    console = Console(as_json=as_json)
    one, other = (read_features(path, member) for path in (first, second))
    if normalise:
        one, other = one.directions(), other.directions()
    with console.progress(f"Comparing by {metric.value}"):
        values = _COMPUTED[metric](one, other, options)
    if values.get("singular"):
        console.note("A set has no more rows than dimensions: this distance is too large. Take more, or kid.")
    payload = {
        "metric": metric.value,
        "first": str(first),
        "second": str(second),
        "rows": [one.rows, other.rows],
        "dimensions": one.dimensions,
        "normalised": normalise or metric is Metric.CMMD,
        "options": options,
        "values": values,
    }
    shown: dict[str, object] = {"metric": metric.value, "rows": f"{one.rows:,} and {other.rows:,}"}
    shown |= {name.replace("_", " "): value for name, value in options.items() if value is not None}
    shown |= {_LABELS.get(name, name): _shown(value) for name, value in values.items()}
    console.pairs(payload, shown)


def _options(metric: Metric, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a metric goes by, as far as the command says; what it does not go by is refused."""
    taken = dict(_DEFAULTS[metric])
    if metric is Metric.KID and "subset_size" in given:
        taken |= {"splits": 100, "seed": 0}
    if metric is Metric.PROXY_A and "genbench" in given:
        taken = {"genbench": True}
    foreign = [name for name in given if name not in taken]
    if foreign:
        option = foreign[0].replace("_", "-")
        means = f"{metric.value} with --genbench" if "genbench" in taken and given.get("genbench") else metric.value
        of_subsets = metric is Metric.KID and option in {"splits", "seed"}
        hint = "Give --subset-size as well." if of_subsets else "Leave it away."
        raise UsageError(f"--{option} means nothing for --metric {means}.", hint=hint)
    return {**taken, **given}


_DEFAULTS: Mapping[Metric, Mapping[str, Any]] = {
    Metric.FRECHET: {"genbench": False},
    Metric.KID: {"subset_size": None},
    Metric.CMMD: {"unbiased": False},
    Metric.PRECISION_RECALL: {"neighbours": 5},
    Metric.PROXY_A: {"genbench": False, "splits": 5, "seed": 0},
}


def _frechet(first: Features, second: Features, options: Mapping[str, Any]) -> dict[str, Any]:
    from competition.evaluation.dataset_metrics.frechet import Normaliser, frechet_distance

    return asdict(frechet_distance(first, second, Normaliser.GENBENCH if options["genbench"] else Normaliser.OWN))


def _kid(first: Features, second: Features, options: Mapping[str, Any]) -> dict[str, Any]:
    from competition.evaluation.dataset_metrics import kid

    if options["subset_size"] is None:
        return {"value": kid.kernel_distance(first, second).value}
    size, subsets, seed = options["subset_size"], options["splits"], options["seed"]
    return asdict(kid.kernel_distance_of_subsets(first, second, size=size, subsets=subsets, seed=seed))


def _cmmd(first: Features, second: Features, options: Mapping[str, Any]) -> dict[str, Any]:
    from competition.evaluation.dataset_metrics.cmmd import Estimator, cmmd

    estimator = Estimator.UNBIASED if options["unbiased"] else Estimator.BIASED
    return {"value": cmmd(first, second, estimator=estimator)}


def _precision_recall(first: Features, second: Features, options: Mapping[str, Any]) -> dict[str, Any]:
    from competition.evaluation.dataset_metrics.neighbourhoods import neighbourhoods

    return asdict(neighbourhoods(first, second, options["neighbours"]))


def _proxy_a(first: Features, second: Features, options: Mapping[str, Any]) -> dict[str, Any]:
    from competition.evaluation.dataset_metrics.proxy_a import genbench_proxy_a_distance, proxy_a_distance

    if options["genbench"]:
        return {"value": genbench_proxy_a_distance(first, second)}
    return asdict(proxy_a_distance(first, second, splits=options["splits"], seed=options["seed"]))


_COMPUTED: Mapping[Metric, Callable[[Features, Features, Mapping[str, Any]], dict[str, Any]]] = {
    Metric.FRECHET: _frechet,
    Metric.KID: _kid,
    Metric.CMMD: _cmmd,
    Metric.PRECISION_RECALL: _precision_recall,
    Metric.PROXY_A: _proxy_a,
}


_LABELS = {"rows": "rows of a split"}
"""Of values whose name alone does not say enough in a table."""


def _shown(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else value
