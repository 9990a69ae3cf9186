"""The whole chain in one go: pool, subset, shards, training, evaluation, and the entry when a leaderboard is set.

Every step recognises finished work, so an interrupted chain is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from competition.client import LeaderboardClient
from competition.data.engine import LocalEngine
from competition.errors import UsageError
from competition.evaluation.sets import ensure_sets
from competition.progress import Progress, ProgressHook
from competition.records.base import Record
from competition.records.evaluation import EvaluationReport
from competition.records.submission import SubmissionView
from competition.rules import Competition, Scale, Track
from participant_kit.evaluation import evaluate_run
from participant_kit.hub import HubTarget
from participant_kit.pools.digits import build_digits_pool
from participant_kit.reshard import reshard
from participant_kit.submission import Entry, submit
from participant_kit.subsets import STRATEGIES, StrategyOptions, SubsetReport, build_subset
from participant_kit.train.launcher import LOG_FILE, train
from participant_kit.train.run_log import steps_done

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

    def shards(self, strategy: str) -> Path:
        """The folder of a strategy's shards."""
        return self.folder / "shards" / strategy

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


def run_strategies(
    plan: Plan,
    strategies: Sequence[str],
    evaluation_root: Path,
    stage: Stage,
    enter: Callable[[Entry], SubmissionView] | None,
) -> list[Outcome]:
    """Build, train, evaluate and (with ``enter``) submit the strategies' entries on the plan's pool.

    As many are trained at a time as there are workers: a small model gains nothing from a second core.
    """
    sizes = {strategy: _choose(plan, strategy, stage) for strategy in strategies}
    with stage("Evaluation sets") as progress:
        ensure_sets(plan.competition.suite.id, evaluation_root, progress)
    outcomes = []
    for strategy, trained in _train_all(plan, strategies, evaluation_root, stage).items():
        entry = plan.entry(strategy)
        outcomes.append(
            Outcome(
                strategy=strategy,
                pool_samples=sizes[strategy].total,
                subset_samples=sizes[strategy].kept,
                training_seconds=trained.seconds,
                evaluation=trained.evaluation,
                submission=enter(entry) if enter else None,
            )
        )
    return outcomes


def _choose(plan: Plan, strategy: str, stage: Stage) -> SubsetReport:
    """The strategy's subset and its shards."""
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
    with stage(f"{strategy}: writing shards") as progress:
        reshard(plan.pool / "shards", plan.shards(strategy), entry.subset, workers=plan.workers, progress=progress)
    return chosen


@dataclass(frozen=True)
class _Job:
    """One training and its evaluation, for a process of its own."""

    plan: Plan
    strategy: str
    evaluation_root: Path
    threads: int


@dataclass(frozen=True)
class _Trained:
    seconds: float
    evaluation: EvaluationReport


def _train_all(plan: Plan, strategies: Sequence[str], evaluation_root: Path, stage: Stage) -> dict[str, _Trained]:
    recipe = plan.competition.recipe_of(plan.scale)
    lanes = min(plan.workers, len(strategies))
    jobs = {name: _Job(plan, name, evaluation_root, max(1, plan.workers // lanes)) for name in strategies}
    logs = [plan.entry(name).run_dir / LOG_FILE for name in strategies]
    title = f"Training {recipe.id} on {', '.join(strategies)}" + (f", {lanes} at a time" if lanes > 1 else "")
    with stage(title) as progress, _watching(logs, recipe.steps, progress):
        return LocalEngine(lanes).map(_train_and_evaluate, jobs, stage="training")


def _train_and_evaluate(job: _Job) -> _Trained:
    import torch

    torch.set_num_threads(job.threads)
    plan, run_dir = job.plan, job.plan.entry(job.strategy).run_dir
    recipe, data = plan.competition.recipe_of(plan.scale), [plan.shards(job.strategy)]
    report = train(recipe, plan.competition.id, data, run_dir.parent, run_dir.name, seed=plan.seed)
    evaluation = evaluate_run(run_dir, plan.competition, job.evaluation_root, lambda _progress: None)
    return _Trained(report.seconds, evaluation)


@contextmanager
def _watching(logs: Sequence[Path], steps: int, progress: ProgressHook) -> Iterator[None]:
    """Tell from their logs how far runs of other processes are, twice a second."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(0.5):
            progress(Progress("training", sum(map(steps_done, logs)), steps * len(logs)))

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def entering(
    client: LeaderboardClient, hub: HubTarget, notify: Callable[[str], None]
) -> Callable[[Entry], SubmissionView]:
    """The last step, for a leaderboard and a Hub repository; notes begin with the name of the entry's run."""
    return lambda entry: submit(entry, client, hub, lambda note: notify(f"{entry.run_dir.name}: {note}"))
