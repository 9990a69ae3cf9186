"""The loop of the service: claim a job, do it, say how it ended.

Nothing is lost, whatever happens to this process: results are handed in task by task, a lease that is not renewed ends
and the job is given to somebody else, and messages of an attempt that has ended are refused.

On SIGTERM or SIGINT no more jobs are claimed. A running evaluation ends after the tasks that run, any
step ends after ``DATACUP_STOP_SECONDS`` at the latest, and the job is handed back as failed on the platform's side, so
that another worker goes on with it after the back-off instead of after the lease. A second signal does not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import structlog

from competition.client import LeaderboardClient
from competition.errors import ConflictError, DataCupError, RejectionError, ServiceUnavailableError
from competition.records.lifecycle import JobKind
from competition.records.scoring import (
    ClaimRequest,
    EntryFilter,
    EntryInvalid,
    JobFinish,
    JobGrant,
    JobOutcome,
    PlatformFailure,
)
from scorer.children import Children
from scorer.engine import EvaluationEngine, LocalEngine
from scorer.guard import Guard, Stop
from scorer.jobs import Job
from scorer.lease import Lease
from scorer.logs import identity
from scorer.settings import ScorerSettings

_MAX_MESSAGE = 2000

Observer = Callable[[dict[str, Any]], None]
"""Hears every event as a dictionary of plain values: ``event``, ``submission``, ``job``, ``kind``, ``attempt``, ..."""

log = structlog.get_logger()


class Mode(StrEnum):
    """When the loop ends by itself."""

    FOREVER = "forever"
    DRAIN = "drain"
    ONCE = "once"


class Service:
    """Workers of one process that share the preloaded server, the connection to the leaderboard and the engine.

    ``only`` narrows the jobs to those of some entries.
    """

    def __init__(
        self,
        settings: ScorerSettings,
        client: LeaderboardClient,
        children: Children,
        *,
        engine: EvaluationEngine | None = None,
        kinds: tuple[JobKind, ...] = tuple(JobKind),
        only: EntryFilter | None = None,
        observe: Observer = lambda _event: None,
    ) -> None:
        self.stop = Stop(settings.stop_seconds)
        self._settings = settings
        self._client = client
        self._children = children
        self._engine = engine or LocalEngine(children, settings)
        self._kinds = kinds
        self._only = only
        self._observe = observe
        self._busy = 0
        self._lock = threading.Lock()
        self._crashes: list[BaseException] = []

    def run(self, mode: Mode, jobs: int = 1) -> None:
        """Work in ``jobs`` threads until ``mode`` or ``stop`` says that it is enough.

        Raises the ``DataCupError`` that made a worker give up: a token that is not accepted, or, unless the mode is
        ``FOREVER``, a leaderboard that does not answer.
        """
        self._settings = self._settings.model_copy(update={"threads": max(1, self._settings.threads // jobs)})
        self._children.warm_up()
        threads = [
            threading.Thread(target=self._worker, args=(self._name(number, jobs), mode), name=f"worker-{number}")
            for number in range(jobs)
        ]
        for thread in threads:
            thread.start()
        # Joined in short turns: signal handlers run only while the main thread is not blocked.
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
        if self._crashes:
            raise self._crashes[0]

    def _name(self, number: int, jobs: int) -> str:
        return self._settings.worker if jobs == 1 else f"{self._settings.worker}/{number}"

    def _worker(self, name: str, mode: Mode) -> None:
        try:
            while not self.stop.requested and self._turn(name, mode):
                pass
        except BaseException as error:
            self._crashes.append(error)
            self.stop.request()
            if not isinstance(error, DataCupError):
                raise

    def _turn(self, name: str, mode: Mode) -> bool:
        """Claim and do one job; whether there is to be another turn."""
        try:
            grant = self._client.claim(ClaimRequest(worker=name, kinds=self._kinds, only=self._only))
        except ServiceUnavailableError as error:
            if mode is not Mode.FOREVER:
                raise
            log.warning("claim_failed", worker=name, error=error.message)
            self.stop.wait(self._settings.poll_seconds)
            return True
        if grant is None:
            if mode is Mode.ONCE or (mode is Mode.DRAIN and not self._busy):
                return False
            self.stop.wait(self._settings.poll_seconds)
            return True
        with self._at_work():
            self._handle(grant)
        return mode is not Mode.ONCE

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _handle(self, grant: JobGrant) -> None:
        """Do one job and hand in its outcome."""
        known = identity(grant)
        bound = log.bind(**known)

        def notify(event: str, **detail: object) -> None:
            bound.info(event, **detail)
            self._observe({"event": event, **known, **detail})

        notify("claimed", finished_tasks=len(grant.finished_tasks))
        try:
            with Lease(self._client, grant, self._settings.heartbeat_seconds) as lease:
                guard = Guard(lease, self.stop)
                job = Job(grant, self._client, self._children, self._settings, guard, notify, self._engine)
                outcome = _outcome(job)
                self._client.finish(grant, JobFinish(report=outcome))
        except ConflictError as error:
            bound.warning("attempt_over", error=error.message)
            notify("abandoned", message=error.message)
        except DataCupError as error:
            bound.error("outcome_not_delivered", error=error.message)
            notify("abandoned", message=error.message)
        else:
            _announce(outcome, notify)


def _outcome(job: Job) -> JobOutcome:
    """Run a job; faults of the entry and of the platform are outcomes, the end of the attempt is an exception."""
    attempt = job.grant.attempt
    try:
        return job.run()
    except RejectionError as error:
        return EntryInvalid(attempt=attempt, reason=error.reason, message=error.message[:_MAX_MESSAGE])
    except ConflictError:
        raise
    except DataCupError as error:
        return PlatformFailure(attempt=attempt, message=str(error)[:_MAX_MESSAGE])
    except Exception as error:  # a bug must fail this job and not end the service
        log.exception("unexpected_error", **identity(job.grant))
        return PlatformFailure(attempt=attempt, message=f"The scorer met an unexpected {type(error).__name__}.")


def _announce(outcome: JobOutcome, notify: Callable[..., None]) -> None:
    detail: dict[str, object] = {}
    if isinstance(outcome, EntryInvalid):
        detail = {"reason": outcome.reason.value, "message": outcome.message}
    elif isinstance(outcome, PlatformFailure):
        detail = {"message": outcome.message}
    notify(outcome.outcome, **detail)
