"""Running the chain for some methods on one pool.

Every step recognises finished work, so an interrupted chain is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from competition.client import LeaderboardClient
from competition.data.atomic import make_folder, write_bytes
from competition.data.engine import LocalEngine
from competition.errors import UsageError
from competition.evaluation.sets import ensure_sets
from competition.progress import Progress, ProgressHook
from competition.records.base import Record
from competition.records.evaluation import EvaluationReport
from competition.records.lineage import LINEAGE_NAME
from competition.records.submission import SubmissionView
from competition.rules import Competition, Scale, Track
from participant_kit.evaluation import evaluate_run
from participant_kit.hub import HubTarget
from participant_kit.pipelines.load import load_pipeline
from participant_kit.pipelines.operations import SUBSET_NAME
from participant_kit.pipelines.run import Built, Terminal, build
from participant_kit.pools.cluster import ClusterOptions, cluster_pool
from participant_kit.pools.digits import build_digits_pool
from participant_kit.quickstart.methods import CENTROIDS, CLUSTERS, METHODS
from participant_kit.reshard import reshard
from participant_kit.submission import Entry, submit
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan as Training
from participant_kit.train.launcher import train
from participant_kit.train.run import LOG_FILE
from participant_kit.train.run_log import steps_done


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
        return self.folder / "pools" / self.scale.given_pool.id

    @property
    def pipelines(self) -> Path:
        """Where the pipelines' files lie, and what several need: of this pool, for another has other centres."""
        return self.folder / "pipelines" / self.scale.given_pool.id

    def dataset(self, method: str) -> Path:
        """The folder of a method's dataset."""
        return self.folder / "datasets" / method

    def shards(self, method: str) -> Path:
        """The folder of a method's shards."""
        return self.folder / "shards" / method

    def entry(self, method: str) -> Entry:
        """The entry that a method's run becomes."""
        return Entry(
            competition=self.competition,
            track=self.track,
            scale=self.scale,
            run_dir=self.folder / "runs" / method,
            subset=self.dataset(method) / SUBSET_NAME,
            method_name=METHODS[method].title,
            author=self.author,
            description=METHODS[method].description,
            metadata_dir=self.pool / "metadata",
            lineage=self.dataset(method) / LINEAGE_NAME,
        )


class Outcome(Record):
    """What came of one strategy."""

    strategy: str
    pool_samples: int
    subset_samples: int
    training_seconds: float
    evaluation: EvaluationReport
    submission: SubmissionView | None


def check(methods: Sequence[str]) -> None:
    """Raise ``UsageError`` when a method is unknown or named twice."""
    for name in methods:
        if name not in METHODS:
            raise UsageError(f"There is no strategy {name!r}.", hint=f"Strategies are: {', '.join(METHODS)}.")
    if len(set(methods)) != len(methods):
        raise UsageError("A strategy is named twice.", hint="Name each strategy once.")


def build_pool(plan: Plan, terminal: Terminal) -> None:
    """Build the plan's pool, or recognise that it is there."""
    with terminal.show(f"Pool {plan.scale.given_pool.id}") as progress:
        build_digits_pool(plan.pool, plan.scale, workers=plan.workers, progress=progress)


def run_methods(
    plan: Plan,
    methods: Sequence[str],
    evaluation_root: Path,
    terminal: Terminal,
    enter: Callable[[Entry], SubmissionView] | None,
) -> list[Outcome]:
    """Build, train, evaluate and (with ``enter``) submit the methods' entries on the plan's pool.

    As many are trained at a time as there are workers: a small model gains little from a second core.
    """
    built = {method: _build(plan, method, terminal) for method in methods}
    with terminal.show("Evaluation sets") as progress:
        ensure_sets(plan.competition.suite.id, evaluation_root, progress)
    outcomes = []
    for method, trained in _train_all(plan, methods, evaluation_root, terminal).items():
        entry, lineage = plan.entry(method), built[method].lineage
        outcomes.append(
            Outcome(
                strategy=method,
                pool_samples=plan.scale.given_pool.samples,
                subset_samples=lineage.result.kept,
                training_seconds=trained.seconds,
                evaluation=trained.evaluation,
                submission=enter(entry) if enter else None,
            )
        )
    return outcomes


def _build(plan: Plan, method: str, terminal: Terminal) -> Built:
    """The method's dataset and its shards."""
    chosen = METHODS[method]
    if chosen.clusters:
        _cluster(plan, terminal)
    path = plan.pipelines / f"{method}.yaml"
    make_folder(plan.pipelines)
    write_bytes(path, chosen.text(f"../../pools/{plan.scale.given_pool.id}").encode())
    told = Terminal(lambda title: terminal.show(f"{method}: {title[:1].lower()}{title[1:]}"), terminal.note)
    built = build(load_pipeline(path), plan.dataset(method), plan.workers, told)
    with terminal.show(f"{method}: writing shards") as progress:
        reshard(plan.pool / "shards", plan.shards(method), built.subset, workers=plan.workers, progress=progress)
    return built


def _cluster(plan: Plan, terminal: Terminal) -> None:
    """Group the pool's images, once for all methods that need it."""
    path = plan.pipelines / CENTROIDS
    if path.exists():
        return
    make_folder(plan.pipelines)
    with terminal.show("Grouping the pool's images") as progress:
        cluster_pool(plan.pool / "metadata", path, ClusterOptions(CLUSTERS), plan.workers, progress)


@dataclass(frozen=True)
class _Job:
    """One training and its evaluation, for a process of its own."""

    plan: Plan
    method: str
    evaluation_root: Path
    threads: int


@dataclass(frozen=True)
class _Trained:
    seconds: float
    evaluation: EvaluationReport


def _train_all(plan: Plan, methods: Sequence[str], evaluation_root: Path, terminal: Terminal) -> dict[str, _Trained]:
    recipe = plan.competition.clip_recipe_of(plan.scale)
    lanes = min(plan.workers, len(methods))
    jobs = {name: _Job(plan, name, evaluation_root, max(1, plan.workers // lanes)) for name in methods}
    logs = [plan.entry(name).run_dir / LOG_FILE for name in methods]
    title = f"Training {recipe.id} on {', '.join(methods)}" + (f", {lanes} at a time" if lanes > 1 else "")
    with terminal.show(title) as progress, _watching(logs, recipe.steps, progress):
        return LocalEngine(lanes).map(_train_and_evaluate, jobs, stage="training")


def _train_and_evaluate(job: _Job) -> _Trained:
    import torch

    torch.set_num_threads(job.threads)
    plan, run_dir = job.plan, job.plan.entry(job.method).run_dir
    recipe, data = plan.competition.clip_recipe_of(plan.scale), DataChoice((str(plan.shards(job.method)),))
    report = train(Training(recipe, plan.competition.id, data, run_dir.parent, run_dir.name, plan.seed))
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
