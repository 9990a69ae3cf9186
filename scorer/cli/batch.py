"""``datacup-scorer batch``: work in bulk for organisers."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from competition.client import LeaderboardClient
from competition.errors import UsageError
from competition.records.base import Record
from competition.records.rescoring import PublishRequest, RescoringRequest, RescoringState, RescoringView
from competition.records.scoring import EntryFilter
from competition.rules import find_competition
from scorer import batch, batch_text, logs
from scorer.batch import Tally, Workplace
from scorer.children import Children
from scorer.cli.run import isolate
from scorer.guard import Stop
from scorer.mirror import Mirror
from scorer.rulebook import check_files
from scorer.settings import ScorerSettings


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The options that narrow and shape the work."""

    track: str | None
    scale: str | None
    phase: str | None
    fresh: bool
    dry_run: bool
    publish: bool
    allow_missing: bool
    yes: bool
    as_json: bool


def command(
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="ID@VERSION", help="Re-score under this suite; with --replay: that suite's."),
    ] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="Do everything that waits, then say what became of it.")
    ] = (False),
    replay: Annotated[
        str | None, typer.Option("--replay", metavar="ID", help="Evaluate one scored entry again, and compare.")
    ] = None,
    competition: Annotated[
        str | None, typer.Option("--competition", help="The competition, by id or file; with --suite its new version.")
    ] = None,
    track: Annotated[str | None, typer.Option("--track", help="Entries of this track alone.")] = None,
    scale: Annotated[str | None, typer.Option("--scale", help="Entries of this scale alone.")] = None,
    phase: Annotated[str | None, typer.Option("--phase", help="Entries received in this phase alone.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --suite: take no result over, evaluate every task again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="With --suite: make the new scores public when all are done.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Publish although entries of the table have no new score.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="With --suite: end the open re-scoring unpublished.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Jobs at a time.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Score without isolation: only entries of people you trust.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")] = False,
) -> None:
    """Score in bulk: everything that waits, a competition under a new suite, or one entry once more.

    Needs DATACUP_TOKEN of scope admin, and the settings of `datacup-scorer run`. May be stopped at any time: the same
    command goes on where it was. Exits with status 1 when something is left, has failed, or differs.
    """
    wanted = Wanted(track, scale, phase, fresh, dry_run, publish, allow_missing, yes, as_json)
    _check_options(wanted, suite, replay, pending=pending, cancel=cancel)
    settings = _settings(competition)
    logs.configure(settings.log_level)
    with LeaderboardClient(settings.require_endpoint(), settings.require_token()) as client, _stopping() as stop:
        if not (dry_run or cancel):
            isolate(insecure)
            Mirror(settings.mirror_root).sweep()
        tally = Tally()
        place = Workplace(settings, client, Children(insecure=insecure), stop, tally, jobs)
        if replay is not None:
            complete = _replay(place, replay, suite, wanted)
        elif suite is not None:
            complete = _cancel(place, suite) if cancel else _rescore(place, suite, wanted)
        else:
            complete = _pending(place, tally, competition, wanted)
    if not complete:
        raise typer.Exit(1)


def _check_options(wanted: Wanted, suite: str | None, replay: str | None, *, pending: bool, cancel: bool) -> None:
    # A replay may name the suite under which it is made.
    if pending + (suite is not None or replay is not None) != 1:
        raise UsageError("Give one of --suite, --pending and --replay.", hint="`datacup-scorer batch --help` explains.")
    rescoring = {"--fresh": wanted.fresh, "--publish": wanted.publish, "--cancel": cancel}
    rescoring["--allow-missing"] = wanted.allow_missing
    narrowing = {"--track": wanted.track, "--scale": wanted.scale, "--phase": wanted.phase, "--dry-run": wanted.dry_run}
    refused = (rescoring if pending or replay else {}) | (narrowing if replay else {})
    for option, given in refused.items():
        if given:
            raise UsageError(f"{option} does not go with this.", hint="`datacup-scorer batch --help` explains.")
    if wanted.allow_missing and not wanted.publish:
        raise UsageError("--allow-missing goes with --publish.")


def _settings(competition: str | None) -> ScorerSettings:
    settings = ScorerSettings.read()
    if competition is not None and Path(competition).suffix in {".yaml", ".yml"}:
        settings = settings.model_copy(update={"competitions": (*settings.competitions, competition)})
    check_files(settings.competitions)
    return settings


@contextmanager
def _stopping() -> Iterator[Stop]:
    """Signals ask for an end while the block runs, as they do of ``datacup-scorer run``."""
    stop = Stop(ScorerSettings.read().stop_seconds)
    before = {
        number: signal.signal(number, lambda _number, _frame: stop.request())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rescore(place: Workplace, suite: str, wanted: Wanted) -> bool:
    document = batch.find_version(suite, place.settings.competitions)
    request = RescoringRequest(
        document=document, track=wanted.track, scale=wanted.scale, phase=wanted.phase, fresh=wanted.fresh
    )
    plan = place.client.plan_rescoring(request)
    _say(batch_text.plan(plan), plan if wanted.dry_run and wanted.as_json else None, quiet=wanted.as_json)
    if wanted.dry_run:
        return True
    if not plan.entries and plan.version_before == plan.version_after:
        _say((), plan if wanted.as_json else None)
        typer.echo("There is nothing to re-score.", err=True)
        return True
    _confirm(f"Evaluate {plan.entries} entries under {suite}?", wanted)
    view = batch.rescore(place, request, _teller())
    whole = not view.progress.unfinished and not view.progress.failed
    if wanted.publish and not view.progress.unfinished:
        _confirm("Make the new scores public?", wanted)
        published = PublishRequest(allow_missing=wanted.allow_missing)
        view = place.client.publish_rescoring(view.competition, view.id, published)
    report = place.client.rescoring(view.competition, view.id)
    _say(batch_text.report(report), report if wanted.as_json else None, quiet=wanted.as_json)
    _advise(place, view, whole=whole, publish=wanted.publish)
    return (whole or wanted.allow_missing) and (view.state is RescoringState.PUBLISHED or not wanted.publish)


def _teller() -> Callable[[RescoringView], None]:
    """Says where a re-scoring stands, whenever that is news."""
    last = ""

    def tell(view: RescoringView) -> None:
        nonlocal last
        line = batch_text.progress(view)
        if line != last:
            typer.echo(line, err=True)
        last = line

    return tell


def _advise(place: Workplace, view: RescoringView, *, whole: bool, publish: bool) -> None:
    """What comes next."""
    if view.state is RescoringState.PUBLISHED:
        address = f"{place.client.endpoint}/competitions/{view.competition}/rescorings/{view.id}"
        typer.echo(f"Published: {address}", err=True)
    elif whole and not publish:
        typer.echo("Nothing is public yet: the same command with --publish makes it so.", err=True)
    else:
        typer.echo("Not all is done: the same command goes on with what is left, and retries what failed.", err=True)


def _cancel(place: Workplace, suite: str) -> bool:
    document = batch.find_version(suite, place.settings.competitions)
    found = [view for view in place.client.rescorings(document.id) if view.state is RescoringState.OPEN]
    if not found or found[0].suite_digest != document.suite.digest:
        raise UsageError(f"No re-scoring under {suite} is open.")
    place.client.cancel_rescoring(document.id, found[0].id)
    typer.echo(f"Re-scoring {found[0].id} is cancelled; nothing of it is public.", err=True)
    return True


def _pending(place: Workplace, tally: Tally, competition: str | None, wanted: Wanted) -> bool:
    if wanted.phase is not None and competition is None:
        raise UsageError("--phase needs --competition: phases are a competition's.")
    only = EntryFilter(track=wanted.track, scale=wanted.scale)
    if competition is not None:
        only = batch.phase_filter(find_competition(competition), wanted.phase, wanted.track, wanted.scale)
    if wanted.dry_run:
        queue = batch.waiting(place.client, only)
        _say(batch_text.queue(queue), [view.model_dump(mode="json") for view in queue] if wanted.as_json else None)
        return True
    left = batch.work_off(place, only)
    lines = list(tally.lines.values())
    record = {"jobs": [dataclasses.asdict(line) for line in lines], "left": [view.id for view in left]}
    _say(batch_text.tally(lines, left), record if wanted.as_json else None)
    return not left and all(line.outcome in {"verified", "scored", "invalid"} for line in lines)


def _replay(place: Workplace, submission: str, suite: str | None, wanted: Wanted) -> bool:
    found = batch.replay(place, submission, suite)
    record = {**dataclasses.asdict(found), "differing": [task.task for task in found.differing]}
    _say(batch_text.replay(found), record if wanted.as_json else None)
    return not found.differing


def _say(lines: Iterable[str], record: Record | Any | None, *, quiet: bool = False) -> None:
    """The record as JSON where there is one, else the lines (unless JSON is what will be printed)."""
    if isinstance(record, Record):
        typer.echo(record.model_dump_json())
    elif record is not None:
        typer.echo(json.dumps(record, allow_nan=False))
    elif not quiet:
        for line in lines:
            typer.echo(line)


def _confirm(question: str, wanted: Wanted) -> None:
    if wanted.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("There is nobody to ask.", hint="Give --yes to go on without a question.")
    # At the question Ctrl-C is an answer, and no request to stop working.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        typer.confirm(question, abort=True, err=True)
    finally:
        signal.signal(signal.SIGINT, before)
