"""What a filter strategy is: a pure function from pool metadata to sorted uids, with a count for each drop reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from competition.errors import UsageError
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import SubsetResult

ARCHITECTURES = ("b32", "l14")
DATACOMP_SCALES = ("small", "medium", "large", "xlarge")


@dataclass(frozen=True, slots=True)
class Option:
    """How a participant meets a field of ``StrategyOptions``: the command line is made from this.

    Args:
        help: one sentence.
        choices: the allowed values; any when empty.
        allows: is a value in range?
        otherwise: ends the sentence about a value out of range, for instance "is not above 0".
        name: of the field, in Python.
        kind: its type, ``None`` included, for instance ``float | None``.
    """

    help: str
    choices: tuple[str, ...] = ()
    allows: Callable[[Any], bool] = lambda _: True
    otherwise: str = ""
    name: str = ""
    kind: Any = None

    @property
    def flag(self) -> str:
        """How it is typed: ``--language-model``."""
        return f"--{self.name.replace('_', '-')}"

    def check(self, value: Any) -> None:
        """Refuse a value out of range.

        Raises:
            UsageError: names the option and what is allowed.
        """
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.flag} {value} is unknown.", hint=f"Choose one of {', '.join(self.choices)}.")
        if not self.allows(value):
            raise UsageError(f"{self.flag} {value} {self.otherwise}.")


def option(help: str, **rules: Any) -> dict[str, Option]:  # noqa: A002 - as everywhere in command lines
    """A field's metadata."""
    return {"option": Option(help, **rules)}


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Every option that some strategy takes; ``None`` means not given.

    This is the one place where options are declared: type, meaning and range. The commands follow from it.
    """

    arch: str | None = field(
        default=None, metadata=option("Whose scores and features: b32 or l14.", choices=ARCHITECTURES)
    )
    fraction: float | None = field(
        default=None,
        metadata=option(
            "Share of the pool to keep, in (0, 1].",
            allows=lambda value: 0 < value <= 1,
            otherwise="is not above 0 and at most 1",
        ),
    )
    threshold: float | None = field(
        default=None,
        metadata=option(
            "Keep scores of at least this, compared as float32.",
            allows=math.isfinite,
            otherwise="is not a finite number",
        ),
    )
    language_model: Path | None = field(
        default=None, metadata=option("fastText model; lid.176.bin is downloaded; default: the bundled lid.176.ftz.")
    )
    wordnet_dir: Path | None = field(
        default=None, metadata=option("WordNet 3.0's `dict` folder; default: the cache's, then /usr/share/wordnet.")
    )
    synset_ids: Path | None = field(
        default=None, metadata=option("List of synset ids, one `n########` a line; default: ImageNet-21k's.")
    )
    image_based_scale: str | None = field(
        default=None,
        metadata=option("Use DataComp's centroids of this scale's pool, from the cache.", choices=DATACOMP_SCALES),
    )
    centroids: Path | None = field(
        default=None, metadata=option("Cluster centres, a float32 .npy as `datacup pool cluster` writes it.")
    )
    target_features: Path | None = field(
        default=None,
        metadata=option(
            "Features of the target images, .npz or .npy; image-based strategies have ImageNet-1k's, cached."
        ),
    )

    seed: int | None = field(
        default=None,
        metadata=option("Seed of the draw; default: 0.", allows=lambda value: value >= 0, otherwise="is negative"),
    )
    alpha: float | None = field(
        default=None,
        metadata=option(
            "Share of a group: 1 as large as in the pool, 0 as large as any other; default: 0.2.",
            allows=lambda value: math.isfinite(value) and value >= 0,
            otherwise="is not a number of at least 0",
        ),
    )
    size: int | None = field(
        default=None,
        metadata=option("How many samples to choose.", allows=lambda value: value > 0, otherwise="is not above 0"),
    )
    columns: list[str] | None = field(
        default=None,
        metadata=option("NAME or NAME:WEIGHT, a column of numbers; a negative weight prefers small ones. Repeatable."),
    )
    by: str | None = field(
        default=None, metadata=option("Column of numbers whose greatest are kept; default: a draw by --seed.")
    )
    neighbours: int | None = field(
        default=None,
        metadata=option(
            "Which of the nearest target images counts; default: 1, the nearest.",
            allows=lambda value: value > 0,
            otherwise="is not above 0",
        ),
    )
    features: str | None = field(default=None, metadata=option("Member of the npz files; default: l14_img."))
    num_clusters: int | None = field(
        default=None,
        metadata=option(
            "Centroids of the target images; default: 100.", allows=lambda value: value > 0, otherwise="is not above 0"
        ),
    )
    budget: float | None = field(
        default=None,
        metadata=option(
            "Share of the pool to select, in (0, 1].",
            allows=lambda value: 0 < value <= 1,
            otherwise="is not above 0 and at most 1",
        ),
    )
    stop: bool | None = field(
        default=None, metadata=option("Select until what is left is unlike the targets, instead of a budget.")
    )
    tau: float | None = field(
        default=None,
        metadata=option(
            "Stop below this share of the reference round's value, in (0, 1]; default: 0.95.",
            allows=lambda value: 0 < value <= 1,
            otherwise="is not above 0 and at most 1",
        ),
    )
    reference_round: int | None = field(
        default=None,
        metadata=option(
            "Round that later ones are compared with; default: 20, as in SimCore's code; its paper has 1.",
            allows=lambda value: value > 0,
            otherwise="is not above 0",
        ),
    )
    cap: int | None = field(
        default=None,
        metadata=option(
            "Samples at most with --stop; default: 50 for each target image.",
            allows=lambda value: value > 0,
            otherwise="is not above 0",
        ),
    )

    def given(self) -> dict[str, Any]:
        """The options that are set, by name."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, strategy: Strategy) -> None:
        """Refuse what the strategy does not take, and values out of range.

        Raises:
            UsageError: names the option and what is allowed.
        """
        declared = declared_options()
        for name, value in self.given().items():
            if name not in strategy.accepts:
                takes = ", ".join(declared[option].flag for option in strategy.accepts) or "no options"
                raise UsageError(
                    f"Strategy {strategy.name} does not take {declared[name].flag}.", hint=f"It takes {takes}."
                )
            declared[name].check(value)


def declared_options() -> dict[str, Option]:
    """Every option by field name, in the order of declaration."""
    kinds = get_type_hints(StrategyOptions)
    return {
        each.name: replace(each.metadata["option"], name=each.name, kind=kinds[each.name])
        for each in fields(StrategyOptions)
    }


NO_OPTIONS = StrategyOptions()


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named way to choose a subset.

    Args:
        name: as the command line knows it.
        description: one sentence for a participant.
        select: from the pool and checked options to the result; deterministic.
        accepts: names of the ``StrategyOptions`` that it takes.
        assets: files beside the metadata that the result depends on, by role; recorded with the subset.
        tools: packages whose answers the result depends on, by role; recorded with the subset.
        defaults: values of options that are not given, recorded with the subset like given ones.
    """

    name: str
    description: str
    select: Callable[[MetadataPool, StrategyOptions], SubsetResult]
    accepts: tuple[str, ...] = ()
    assets: Callable[[StrategyOptions], Mapping[str, Path]] = field(default=lambda _: {})
    tools: Callable[[], Mapping[str, str]] = field(default=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def complete(self, options: StrategyOptions) -> StrategyOptions:
        """The options with the strategy's defaults where nothing is given."""
        return replace(options, **{name: value for name, value in self.defaults.items() if name not in options.given()})
