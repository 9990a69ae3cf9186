"""Stopping: signals may come at any moment, also while an earlier one is being handled."""

from __future__ import annotations

import subprocess
import sys

from scorer.guard import Stop

SIGNALLED_ALL_THE_TIME = """
import signal, time
from scorer.guard import Stop
stop = Stop(60)
signal.signal(signal.SIGALRM, lambda *_: stop.request())
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
end = time.monotonic() + 1
while time.monotonic() < end:
    stop = Stop(60)
    stop.request()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_that_interrupts_the_handling_of_another_is_no_deadlock() -> None:
    subprocess.run([sys.executable, "-c", SIGNALLED_ALL_THE_TIME], check=True, timeout=60)


def test_the_first_request_leaves_time_and_the_second_does_not() -> None:
    stop = Stop(60)
    assert (stop.requested, stop.overdue) == (False, False)
    stop.request()
    assert (stop.requested, stop.overdue) == (True, False)
    stop.wait(60)
    stop.request()
    assert stop.overdue
