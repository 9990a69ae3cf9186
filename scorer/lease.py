"""Keeping a lease alive while its job runs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import structlog

from competition.client import LeaderboardClient
from competition.errors import AuthenticationError, ConflictError, DataCupError, StaleAttemptError
from competition.records.scoring import Heartbeat, JobGrant
from scorer.logs import identity

_BEATS_PER_LEASE = 3.0

log = structlog.get_logger()


class Unleased:
    """What stands for the lease of work that nobody else could take up."""

    def check(self) -> None:
        """It does not end."""


class Lease:
    """Sends heartbeats from a thread for as long as the block runs.

    A leaderboard that does not answer is no reason to stop: the lease may well outlive the fault, and if it does not,
    the next message is refused. Only the leaderboard's word ends the work.
    """

    def __init__(self, client: LeaderboardClient, grant: JobGrant, interval: float) -> None:
        self._client = client
        self._grant = grant
        self._interval = min(interval, grant.lease_seconds / _BEATS_PER_LEASE)
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name=f"heartbeat-{grant.job_id}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def check(self) -> None:
        """Raises ``StaleAttemptError`` once the leaderboard has said that the attempt is no longer the live one.

        So it is, too, when the token that the job was claimed with was revoked.
        """
        if self._lost.is_set():
            raise StaleAttemptError(f"The lease of job {self._grant.job_id} has ended.")

    def _beat(self) -> None:
        message = Heartbeat(attempt=self._grant.attempt)
        while not self._over.wait(self._interval):
            try:
                self._client.heartbeat(self._grant, message)
            except (ConflictError, AuthenticationError):
                self._lost.set()
                return
            except DataCupError as error:
                log.warning("heartbeat_failed", **identity(self._grant), error=error.message)
