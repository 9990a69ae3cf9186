"""Functions for the engine's tests: workers import them by name, so they live in a module of their own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from competition.errors import DataFormatError, RejectionError, RejectionReason, StorageError


def double(value: int) -> int:
    return 2 * value


def process_id(_value: int) -> int:
    return os.getpid()


def leave_mark(folder: Path, name: str) -> str:
    """Leaves one file for each call, so that a test can count how often a task ran."""
    mark(folder, name)
    return name


def mark(folder: Path, name: str) -> int:
    (folder / f"{name}.{time.monotonic_ns()}").touch()
    return len(list(folder.glob(f"{name}.*")))


def die_once(folder: Path, name: str) -> str:
    if name == "b" and mark(folder, name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def die_always(value: int) -> int:
    if value == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def fail_once(folder: Path, name: str) -> str:
    if mark(folder, name) == 1:
        raise RuntimeError("flaky")
    return name


def fail_on_odd(value: int) -> int:
    if value % 2:
        raise ValueError(f"odd {value}")
    return value


def user_error_on_odd(value: int) -> int:
    if value % 2:
        raise DataFormatError(f"Shard {value} is damaged.", hint="Get it again.")
    return value


def reject(value: int) -> int:
    raise RejectionError(RejectionReason.SUBSET_UNSORTED, f"Entry {value} is unsorted.")


def disk_full_first(folder: Path, name: str) -> str:
    mark(folder, name)
    if name == "t00":
        raise StorageError("There is no space left.")
    time.sleep(0.2)
    return name


def unpicklable(_value: int) -> object:
    return (_ for _ in ())


def sleep_on_first(folder: Path, name: str) -> str:
    mark(folder, name)
    if name == "t3":
        time.sleep(600)
    return name


def sleep_and_tell(folder: Path, name: str) -> str:
    """Says which process sleeps, so that a test can see it end."""
    (folder / name).write_text(str(os.getpid()))
    time.sleep(600)
    return name


def stay(_value: int) -> tuple[float, float]:
    """From when to when it ran."""
    start = time.monotonic()
    time.sleep(0.4)  # long beside what passes between two starts
    return start, time.monotonic()


def host_folder(_value: int) -> str:
    return str(Path.cwd())
