"""``datacup-scorer audit``: train an entry's recipe again on its subset, and compare."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
import typer

from competition.client import LeaderboardClient
from competition.errors import UsageError
from competition.records.audit import Arm, AuditBar, AuditReport, sentence
from competition.seed_noise import Bar
from scorer import logs
from scorer.cli.run import isolate
from scorer.settings import ScorerSettings

log = structlog.get_logger()


def command(
    submission_id: Annotated[str, typer.Argument(metavar="ID", help="A scored submission.", show_default=False)],
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=64, help="Trainings; more than before are added to those there are.")
    ] = 2,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Train at a smaller scale, which sets no badge; default: the entry's.")
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="How sure a verdict must be, one-sided.")] = 0.99,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="A smaller gain is never held against an entry, in units of the score.")
    ] = 0.005,
    resolution: Annotated[
        float, typer.Option("--resolution", help="The largest gain by chance with which an entry is still confirmed.")
    ] = 0.1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the report without sending it.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Run without isolation: only for entries of people you trust.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Train again from the mirrored subset, evaluate, and say whether the entry's score is within seed noise.

    Reads DATACUP_ENDPOINT, DATACUP_TOKEN (scope admin), DATACUP_MIRROR, DATACUP_POOLS (with the pool's shards),
    DATACUP_EVALUATION and DATACUP_CACHE, where finished trainings are kept: a killed audit goes on. `confirmed` sets
    the badge re-trained, `exceeds` flags the entry with the numbers as public reason, `undecided` says how many seeds
    would decide.
    """
    from scorer.audit import Audit, Choices
    from scorer.children import Children

    settings = ScorerSettings.read()
    logs.configure(settings.log_level)
    choices = Choices(scale, seeds, _bar(confidence, tolerance, resolution))
    endpoint, token = settings.require_endpoint(), settings.require_token()
    isolate(insecure)
    with LeaderboardClient(endpoint, token) as client:
        target = client.audit_target(submission_id)
        report = Audit(target, choices, Children(insecure=insecure), settings, _tell).run()
        if as_json:
            typer.echo(report.model_dump_json())
        else:
            _show(report)
        if dry_run:
            typer.echo("Not sent: --dry-run.", err=True)
            return
        view = client.report_audit(report)
    typer.echo(f"Recorded on the leaderboard (report {view.report_sha256[:12]}).", err=True)


def _bar(confidence: float, tolerance: float, resolution: float) -> AuditBar:
    try:
        Bar(confidence, tolerance, resolution)
    except ValueError as error:
        raise UsageError(
            "--confidence must be above 0.5 and below 1, and --resolution at least --tolerance, which is at least 0."
        ) from error
    return AuditBar(confidence=confidence, tolerance=tolerance, resolution=resolution)


def _tell(event: str, **detail: Any) -> None:
    """Notes of long work, on stderr; the steps of a training are for the log alone."""
    log.info(event, **detail)
    if event == "planned":
        lost = f", {detail['missing']} are missing here" if detail["missing"] else ""
        typer.echo(f"{detail['samples']} samples{lost}; seeds {', '.join(map(str, detail['seeds']))}", err=True)
    elif event == "run":
        typer.echo(f"{detail['arm']}, seed {detail['seed']}: trained in {detail['seconds']:.0f} s", err=True)


def _show(report: AuditReport) -> None:
    rows = [("score", report.score), *report.tasks.items()]
    width = max(len(name) for name, _ in rows)
    against = "entry" if all(run.arm is Arm.SUBSET for run in report.runs) else "subset"
    typer.echo(f"{'':<{width}}  {against:>9}  {'compared':>9}  {'gain':>9}  {'by chance':>9}  {'seed sd':>9}")
    for name, found in rows:
        numbers = (found.value, found.mean, found.gain, found.margin, found.seed_sd)
        mark = "  beyond chance" if found.gain > found.margin else ""
        typer.echo(f"{name:<{width}}  " + "  ".join(f"{number:9.4f}" for number in numbers) + mark)
    typer.echo(f"{report.verdict.value}: {sentence(report, shown=True)}")
    if report.same_shards:
        typer.echo("The entry's report names the very shards that were trained on here.")
