"""``datacup quickstart``: the whole chain in one command."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from competition.client import LeaderboardClient
from competition.errors import UsageError
from competition.records.submission import Score
from competition.rules import find_competition, find_scale, find_track
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import ScaleOption, SeedOption, TrackOption, WorkersOption
from participant_kit.cli.standings import format_score
from participant_kit.cli.status import suggest
from participant_kit.cli.submit import suggestion
from participant_kit.settings import KitSettings

if TYPE_CHECKING:
    from participant_kit.quickstart.run import Outcome


def command(
    strategies: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="Strategy to run; may be repeated.  [default: clip_score]", metavar="NAME"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every strategy, and compare them.")] = False,
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Where everything goes.")] = Path("quickstart"),
    scale: ScaleOption = "nano",
    track: TrackOption = "filtering",
    author: Annotated[str, typer.Option("--author", help="Your name, when the entries are submitted.")] = "quickstart",
    repo: Annotated[
        str, typer.Option("--hf-repo-name", help="Model repository, when the entries are submitted.")
    ] = "datacup-quickstart",
    seed: SeedOption = 0,
    workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Run the whole digits competition once.

    Pool, subset, shards, training, evaluation; with DATACUP_ENDPOINT and DATACUP_TOKEN set the entries are submitted
    too. On two CPU cores nano takes one to two minutes, --all about ten, micro four times that. Started again, it goes
    on where it was.
    """
    console = Console(as_json=as_json)
    settings = KitSettings()
    competition = find_competition("digits")
    if every and strategies:
        raise UsageError("Both --all and --strategy are given.", hint="Leave one of them out.")
    chosen_scale, chosen_track = find_scale(competition, scale), find_track(competition, track)

    from participant_kit.hub import resolve_repo
    from participant_kit.pipelines.run import Terminal
    from participant_kit.quickstart import run as quickstart
    from participant_kit.quickstart.methods import METHODS

    names = list(METHODS) if every else strategies or ["clip_score"]
    quickstart.check(names)
    plan = quickstart.Plan(competition, chosen_track, chosen_scale, output_dir, author, seed, workers)
    with ExitStack() as stack:
        enter = None
        if settings.endpoint:
            client = stack.enter_context(LeaderboardClient(settings.endpoint, settings.require_token()))
            enter = quickstart.entering(client, resolve_repo(settings.hub_endpoint, repo), console.note)
        terminal = Terminal(console.progress, console.note)
        quickstart.build_pool(plan, terminal)
        outcomes = quickstart.run_methods(plan, names, settings.evaluation_root, terminal, enter)
    for outcome in outcomes:
        console.note(f"{outcome.strategy}: {_summary(outcome)}")
    _show(console, outcomes)
    best = max(outcomes, key=lambda outcome: outcome.evaluation.results[0].value)
    if best.submission is None:
        entry = plan.entry(best.strategy)
        samples, recipe = shlex.quote(str(entry.subset)), competition.recipe_of(chosen_scale).id
        console.next_step(
            suggestion(competition, recipe, entry.run_dir, samples, pool=plan.pool, lineage=entry.lineage)
        )
    else:
        suggest(console, best.submission)


def _summary(outcome: Outcome) -> str:
    first = outcome.evaluation.results[0]
    return (
        f"kept {outcome.subset_samples:,} of {outcome.pool_samples:,}, trained in {outcome.training_seconds:.0f} s, "
        f"{first.task} {first.metric} {first.value:.3f}"
    )


def _show(console: Console, outcomes: list[Outcome]) -> None:
    payload = [
        outcome.model_dump(mode="json", exclude={"evaluation": {"results": {"__all__": {"outcomes"}}}})
        for outcome in outcomes
    ]
    tasks = [result.task for result in outcomes[0].evaluation.results]
    rows = [
        [
            outcome.strategy,
            f"{outcome.subset_samples:,}",
            *(
                format_score(Score(value=result.value, interval=result.interval))
                for result in outcome.evaluation.results
            ),
        ]
        for outcome in outcomes
    ]
    console.table({"entries": payload}, "Self-evaluated: value [95 % interval]", ["strategy", "samples", *tasks], rows)
