"""The digits competition's strategies on three seeds: accuracy with its interval, and what can be told apart."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from competition.progress import ProgressHook
from competition.records.submission import Score
from competition.rules import find_competition
from participant_kit.cli.standings import format_score
from participant_kit.pipelines.run import Terminal
from participant_kit.quickstart.methods import METHODS
from participant_kit.quickstart.run import Outcome, Plan, build_pool, run_methods

SEEDS = (0, 1, 2)


def main() -> None:
    """Print a Markdown table: strategy, seed, samples, training seconds, and every task."""
    competition = find_competition("digits")
    tasks = competition.suite.tasks
    print("| strategy | seed | samples | training s | " + " | ".join(task.title for task in tasks) + " |")
    print("| --- " * (4 + len(tasks)) + "|")
    first: dict[tuple[str, int], tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for seed in SEEDS:
            plan = Plan(competition, competition.tracks[0], competition.scales[0], Path(folder), "bench", seed, 2)
            for outcome in _run(plan, Path(folder)):
                print(_row(outcome, seed), flush=True)
                interval = outcome.evaluation.results[0].interval
                assert interval is not None, "an accuracy has one"
                first[outcome.strategy, seed] = interval.low, interval.high
    for strategy in METHODS:
        apart = [seed for seed in SEEDS if first[strategy, seed][0] > first["no_filter", seed][1]]
        print(f"\n{strategy}: beats no_filter on {tasks[0].title} with intervals apart on seeds {apart or 'none'}")


def _run(plan: Plan, folder: Path) -> list[Outcome]:
    """Every strategy's run in a folder of its seed; pool, subsets and shards are shared by all seeds."""
    build_pool(plan, _SILENT)
    outcomes = run_methods(plan, list(METHODS), folder / "evaluation", _SILENT, None)
    for strategy in METHODS:
        run = plan.entry(strategy).run_dir
        run.rename(run.with_name(f"{strategy}-{plan.seed}"))
    return outcomes


def _row(outcome: Outcome, seed: int) -> str:
    scores = (
        format_score(Score(value=result.value, interval=result.interval)) for result in outcome.evaluation.results
    )
    cells = [outcome.strategy, str(seed), f"{outcome.subset_samples:,}", f"{outcome.training_seconds:.1f}", *scores]
    return f"| {' | '.join(cells)} |"


@contextlib.contextmanager
def _quiet(_title: str) -> Iterator[ProgressHook]:
    yield lambda _progress: None


_SILENT = Terminal(_quiet, lambda _note: None)
