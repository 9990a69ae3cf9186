"""When running work must end before it is done: an operator wants it, or the leaderboard has given it to others."""

from __future__ import annotations

import time

from competition.errors import EngineError
from scorer.lease import Lease, Unleased

_LOOK_S = 0.1


class Stop:
    """The wish of an operator that the service ends. ``grace``, in seconds: how long running work may go on.

    Requests come from signal handlers too, and a second signal may interrupt the handler of the first: there is no lock
    here that a handler could wait for in vain, which is why waiting looks again and again.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._requested = False
        self._deadline = float("inf")

    def request(self) -> None:
        """Ask for an end; asking again ends the patience."""
        self._deadline = time.monotonic() + (0.0 if self._requested else self._grace)
        self._requested = True

    @property
    def requested(self) -> bool:
        """Whether an end was asked for."""
        return self._requested

    def wait(self, seconds: float) -> None:
        """Pause, but not beyond a request."""
        end = time.monotonic() + seconds
        while not self._requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_S))

    @property
    def overdue(self) -> bool:
        """Whether the patience with running work has ended too."""
        return self.requested and time.monotonic() >= self._deadline


class Guard:
    """What a running job asks whether it may go on."""

    def __init__(self, lease: Lease | Unleased, stop: Stop) -> None:
        self._lease = lease
        self._stop = stop

    def check(self) -> None:
        """Asked many times a second. Raises ``StaleAttemptError`` or ``EngineError``."""
        self._lease.check()
        if self._stop.overdue:
            raise _stopped()

    def check_between_tasks(self) -> None:
        """Asked where nothing is lost by stopping. Raises ``EngineError``."""
        if self._stop.requested:
            raise _stopped()


def _stopped() -> EngineError:
    return EngineError("The scorer was asked to stop.", hint="The job goes on where it was, on the next claim.")
