"""The whole chain in one go: pool, subset, shards, training, evaluation, and the entry when a leaderboard is set.

Every step recognises finished work, so an interrupted chain is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from competition.client import LeaderboardClient
from competition.errors import UsageError
from competition.progress import ProgressHook
from competition.records.base import Record
from competition.records.evaluation import EvaluationReport
from competition.records.submission import SubmissionView
from competition.rules import Competition, Scale, Track
from participant_kit.evaluation import evaluate_run
from participant_kit.hub import HubTarget
from participant_kit.pools.digits import build_digits_pool
from participant_kit.reshard import reshard
from participant_kit.submission import Entry, submit
from participant_kit.subsets import STRATEGIES, StrategyOptions, build_subset
from participant_kit.train.launcher import train

Stage = Callable[[str], AbstractContextManager[ProgressHook]]

# What each strategy is run with here: the choices that its authors report as best, or that it was tuned to.
OPTIONS: dict[str, StrategyOptions] = {
    "no_filter": StrategyOptions(),
    "basic_filter": StrategyOptions(),
    "clip_score": StrategyOptions(arch="l14", fraction=0.3),
    "clip_score_diverse": StrategyOptions(fraction=0.3),
    "clip_score_english": StrategyOptions(),
}
METHOD_NAMES: dict[str, str] = {
    "no_filter": "No filter",
    "basic_filter": "Basic filter",
    "clip_score": "CLIP score, best 30 %",
    "clip_score_diverse": "CLIP score, diverse",
    "clip_score_english": "CLIP score, English",
}


@dataclass(frozen=True)
class Plan:
    """What is run, and where its files go."""

    competition: Competition
    track: Track
    scale: Scale
    folder: Path
    author: str
    seed: int
    workers: int

    @property
    def pool(self) -> Path:
        """The pool's folder."""
        return self.folder / "pools" / self.scale.pool.id

    def entry(self, strategy: str) -> Entry:
        """The entry that a strategy's run becomes."""
        return Entry(
            competition=self.competition,
            track=self.track,
            scale=self.scale,
            run_dir=self.folder / "runs" / strategy,
            subset=self.folder / "subsets" / f"{strategy}.npy",
            method_name=METHOD_NAMES[strategy],
            author=self.author,
            description=STRATEGIES[strategy].description,
            metadata_dir=self.pool / "metadata",
        )


class Outcome(Record):
    """What came of one strategy."""

    strategy: str
    pool_samples: int
    subset_samples: int
    training_seconds: float
    evaluation: EvaluationReport
    submission: SubmissionView | None


def check(strategies: list[str]) -> None:
    """Raise ``UsageError`` when a strategy is unknown or named twice."""
    for name in strategies:
        if name not in OPTIONS:
            raise UsageError(f"There is no strategy {name!r}.", hint=f"Strategies are: {', '.join(OPTIONS)}.")
    if len(set(strategies)) != len(strategies):
        raise UsageError("A strategy is named twice.", hint="Name each strategy once.")


def build_pool(plan: Plan, stage: Stage) -> None:
    """Build the plan's pool, or recognise that it is there."""
    with stage(f"Pool {plan.scale.pool.id}") as progress:
        build_digits_pool(plan.pool, plan.scale, workers=plan.workers, progress=progress)


def run_strategy(
    plan: Plan,
    strategy: str,
    evaluation_root: Path,
    stage: Stage,
    enter: Callable[[Entry], SubmissionView] | None,
) -> Outcome:
    """Build, train, evaluate and (with ``enter``) submit one strategy's entry on the plan's pool."""
    entry = plan.entry(strategy)
    with stage(f"{strategy}: choosing samples") as progress:
        chosen = build_subset(
            strategy,
            plan.pool / "metadata",
            entry.subset,
            OPTIONS[strategy],
            workers=plan.workers,
            progress=progress,
        )
    shards = plan.folder / "shards" / strategy
    with stage(f"{strategy}: writing shards") as progress:
        reshard(plan.pool / "shards", shards, entry.subset, workers=plan.workers, progress=progress)
    recipe = plan.competition.recipe_of(plan.scale)
    with stage(f"{strategy}: training {recipe.id}") as progress:
        training = train(
            recipe,
            plan.competition.id,
            [shards],
            entry.run_dir.parent,
            entry.run_dir.name,
            seed=plan.seed,
            progress=progress,
        )
    with stage(f"{strategy}: evaluating") as progress:
        evaluation = evaluate_run(entry.run_dir, plan.competition, evaluation_root, progress)
    return Outcome(
        strategy=strategy,
        pool_samples=chosen.total,
        subset_samples=chosen.kept,
        training_seconds=training.seconds,
        evaluation=evaluation,
        submission=enter(entry) if enter else None,
    )


def entering(
    client: LeaderboardClient, hub: HubTarget, notify: Callable[[str], None]
) -> Callable[[Entry], SubmissionView]:
    """The last step, for a leaderboard and a Hub repository; notes begin with the name of the entry's run."""
    return lambda entry: submit(entry, client, hub, lambda note: notify(f"{entry.run_dir.name}: {note}"))
