"""What became of a task: a result with what it cost, or why there is none; and how both travel between processes."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from competition.errors import DataCupError

HOST = socket.gethostname()
"""This machine, as messages name it."""


@dataclass(frozen=True, slots=True)
class Done:
    """A task's result, the seconds that it took, and the machine it ran on."""

    result: Any
    seconds: float
    host: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that did not give a result, and why."""

    error: Exception
    host: str = HOST


Outcome = Done | Failure

Outcomes = Generator[tuple[str, Outcome], None, None]
"""Task names with what became of them, one by one; closing it ends what still runs."""

Answer = tuple[str, Any, float, str]
"""An outcome as plain values, since exceptions whose constructors take something else do not unpickle."""


class WorkerDiedError(Exception):
    """A worker process ended without an answer: killed, out of memory, or crashed in native code."""


class WorkerError(Exception):
    """An exception of another process, with its traceback as text, since tracebacks do not travel."""


def attempt(function: Callable[[Any], Any], task: Any) -> Outcome:
    """Run a task in this process."""
    start = time.perf_counter()
    try:
        return Done(function(task), time.perf_counter() - start, HOST)
    except Exception as error:  # noqa: BLE001 - retried, then raised with the task's name
        return Failure(error)


def answer(function: Callable[[Any], Any], task: Any) -> Answer:
    """Run a task in a worker, for a parent elsewhere."""
    start = time.perf_counter()
    kind, value = "result", None
    try:
        value = function(task)
    except DataCupError as error:
        kind, value = "user error", (type(error), error.args, error.__dict__)
    except Exception as error:  # noqa: BLE001 - told to the parent, which retries and then raises
        kind, value = "error", described(error)
    return kind, value, time.perf_counter() - start, HOST


def described(error: Exception) -> tuple[str, str, str]:
    """An error's type, text and traceback."""
    return type(error).__name__, str(error), traceback.format_exc()


def outcome(kind: str, content: Any, seconds: float, host: str) -> Outcome:
    """What a worker's ``answer`` says."""
    if kind == "result":
        return Done(content, seconds, host)
    if kind == "user error":
        error_type, arguments, state = content
        error = error_type.__new__(error_type, *arguments)
        error.__dict__.update(state)  # not through __init__: subclasses take other arguments
        return Failure(error, host)
    name, message, trace = content
    error = WorkerError(f"{name}: {message}" if message else name)
    error.__cause__ = WorkerError(f"\n{trace}")
    return Failure(error, host)
