"""``datacup-scorer run``: claim jobs and do them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Annotated, Any

import typer

from competition.client import LeaderboardClient
from competition.errors import EngineError, UsageError
from competition.printable import printable
from competition.records.lifecycle import JobKind
from scorer import logs, sandbox
from scorer.archive import Archive
from scorer.children import Children
from scorer.engine import EvaluationEngine, LocalEngine
from scorer.metrics import Metrics, served
from scorer.mirror import Mirror
from scorer.rulebook import check_files
from scorer.settings import ScorerSettings
from scorer.work import Mode, Observer, Service


def command(
    once: Annotated[bool, typer.Option("--once", help="Do at most one job, then exit.")] = False,
    drain: Annotated[bool, typer.Option("--drain", help="Exit when there is nothing left to claim.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Jobs at a time.")] = 1,
    kinds: Annotated[str, typer.Option("--kinds", help="Which jobs to take: intake, scoring, or both.")] = (
        "intake,scoring"
    ),
    engine: Annotated[
        str, typer.Option("--engine", help="Where tasks are evaluated: local, or ray (a cluster's GPUs or cores).")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", help="Ray cluster: HOST:PORT, auto (RAY_ADDRESS, else here) or local."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", min=0, max=65535, help="Serve metrics for Prometheus on this port.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Score without isolation: only entries of people you trust.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every event as one line of JSON on stdout.")] = False,
) -> None:
    """Work for the leaderboard: fetch, mirror and verify entries, then evaluate them task by task.

    Reads DATACUP_ENDPOINT, DATACUP_TOKEN (scope score) and the folders DATACUP_MIRROR, DATACUP_POOLS and
    DATACUP_EVALUATION. Runs until SIGTERM or Ctrl-C, unless --once or --drain is given: then no more jobs are claimed
    and the running one is handed back, at the latest after DATACUP_STOP_SECONDS. May be killed at any time: finished
    tasks are kept, and the job is given to the next worker when its lease has ended.
    """
    if once and drain:
        raise UsageError("--once and --drain exclude each other.")
    mode = Mode.ONCE if once else Mode.DRAIN if drain else Mode.FOREVER
    settings, chosen = ScorerSettings.read(), _kinds(kinds)
    check_files(settings.competitions)
    logs.configure(settings.log_level)
    endpoint, token = settings.require_endpoint(), settings.require_token()
    open_engine = _engine(engine, ray_address)
    isolate(insecure)
    Mirror(settings.mirror_root).sweep()
    if settings.archive is not None:
        Archive.open(settings.archive.get_secret_value())  # a URL that cannot be one ends here and not at the first job
    metrics = Metrics()
    tell = _observer(as_json)

    def observe(event: dict[str, Any]) -> None:
        metrics(event)
        tell(event)

    with ExitStack() as stack:
        client = stack.enter_context(LeaderboardClient(endpoint, token))
        if metrics_port is not None:
            port = stack.enter_context(served(metrics, settings.metrics_host, metrics_port))
            typer.echo(f"Metrics: http://{settings.metrics_host}:{port}/metrics", err=True)
        children = Children(insecure=insecure)
        where = stack.enter_context(open_engine(settings, children, insecure))
        service = Service(settings, client, children, engine=where, kinds=chosen, observe=observe)
        # After Ray, which has its own idea of what a signal means.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: service.stop.request())
        service.run(mode, jobs)


def isolate(insecure: bool) -> None:
    """Make sure that entries can be isolated, before there is one (raises ``EngineError``)."""
    if insecure:
        typer.echo("Warning: --insecure: entries are scored without isolation from this machine.", err=True)
        return
    try:
        sandbox.require_isolation()
    except EngineError as error:
        hint = f"{error.hint} Or score only entries of people you trust, with --insecure."
        raise EngineError(error.message, hint=hint) from error


OpenEngine = Callable[[ScorerSettings, Children, bool], AbstractContextManager[EvaluationEngine]]


def _engine(name: str, address: str | None) -> OpenEngine:
    """How to open the engine of that name (raises ``UsageError``)."""
    if name not in {"local", "ray"}:
        raise UsageError(f"--engine {name!r} is not known.", hint="Engines are: local, ray.")
    if name == "local" and address is not None:
        raise UsageError("--ray-address needs --engine ray.")

    @contextmanager
    def opened(settings: ScorerSettings, children: Children, insecure: bool) -> Iterator[EvaluationEngine]:
        if name == "local":
            yield LocalEngine(children, settings)
            return
        from scorer.ray_evaluation import RayEngine

        with RayEngine(settings, address, insecure=insecure) as cluster:
            yield cluster

    return opened


def _kinds(text: str) -> tuple[JobKind, ...]:
    try:
        return tuple(dict.fromkeys(JobKind(word.strip()) for word in text.split(",")))
    except ValueError:
        raise UsageError(
            f"--kinds {text!r} is not known.", hint="Give intake, scoring, or both with a comma between them."
        ) from None


def _observer(as_json: bool) -> Observer:
    def print_json(event: dict[str, Any]) -> None:
        typer.echo(json.dumps(event, allow_nan=False))

    def print_line(event: dict[str, Any]) -> None:
        sentence = _sentence(event)
        if sentence:
            typer.echo(f"{event['submission']}  {event['kind']:<7}  {sentence}")

    return print_json if as_json else print_line


def _sentence(event: dict[str, Any]) -> str | None:
    """An event in words; None for those that only machines want."""
    words = _SENTENCES.get(event["event"])
    return words(event) if words is not None else None


def _claimed(event: dict[str, Any]) -> str:
    done = event["finished_tasks"]
    return f"claimed (attempt {event['attempt']}" + (f", {done} tasks are already scored)" if done else ")")


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "claimed": _claimed,
    "mirrored": lambda event: f"mirrored: {event['files']} files, {event['bytes'] / 1e6:.1f} MB",
    "archived": lambda event: f"archived: {event['bytes'] / 1e6:.1f} MB sent",
    "verified": lambda _event: "verified: all checks passed",
    "task": lambda event: f"{event['task']}: {event['metric']} {event['value']:.4f} ({event['seconds']:.1f} s)",
    "scored": lambda _event: "scored: every task has a result",
    "invalid": lambda event: f"invalid ({event['reason']}): {printable(event['message'])}",
    "failed": lambda event: f"failed, to be tried again: {printable(event['message'])}",
    "abandoned": lambda event: f"abandoned: {printable(event['message'])}",
}
