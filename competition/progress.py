"""How long work says where it stands: a hook that is called with a ``Progress``, by pools, training and evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` tasks of a stage, ``resumed`` of them by an earlier run; ``task`` is the latest, which took
    ``seconds`` on the machine ``host`` where these are known."""

    stage: str
    done: int
    total: int
    resumed: int = 0
    task: str = ""
    seconds: float = 0.0
    host: str = ""


ProgressHook = Callable[[Progress], None]

_LINE_SECONDS = 30.0


def progress_lines(say: Callable[[str], None]) -> ProgressHook:
    """For logs of long runs: says how far it is, at most twice a minute."""
    said = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            say(f"{progress.stage}: {progress.done:,} of {progress.total:,}")

    return report
