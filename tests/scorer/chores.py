"""What ``test_children`` lets run in processes of their own."""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import subprocess
import time
from pathlib import Path

from competition.errors import EvaluationError, RejectionError, RejectionReason
from scorer.children import Send
from scorer.messages import Checking


def environment(_raw: str, send: Send) -> None:
    """Names and values of the environment of this process."""
    send(Checking(check=json.dumps(dict(os.environ))))


def reject(raw: str, _send: Send) -> None:
    raise RejectionError(RejectionReason.SUBSET_UNSORTED, raw)


def fail(_raw: str, _send: Send) -> None:
    raise EvaluationError("The set is absent.", hint="Get it.")


def crash(_raw: str, _send: Send) -> None:
    ctypes.string_at(0)


def leave(_raw: str, _send: Send) -> None:
    os._exit(3)


def half_a_message(_raw: str, send: Send) -> None:
    """Begin a message and never end it."""
    pipe = next(value for value in inspect.getclosurevars(send).nonlocals.values() if hasattr(value, "fileno"))
    os.write(pipe.fileno(), b"\0\0\0\x50")
    time.sleep(100)


def sleep(raw: str, send: Send) -> None:
    """Start a process of its own, say so, and sleep."""
    subprocess.Popen(["sleep", raw])
    send(Checking(check="sleeping"))
    time.sleep(float(raw))


def eat(_raw: str, send: Send) -> None:
    """Take memory until somebody minds, at most 2 GiB."""
    send(Checking(check="hungry"))
    time.sleep(0.5)
    send(Checking(check="eating"))
    hoard = []
    for _ in range(64):
        hoard.append(b"x" * 2**25)
        time.sleep(0.02)
    time.sleep(60)


def write_much(raw: str, _send: Send) -> None:
    Path(raw).write_bytes(bytes(2**20))


def work(raw: str, send: Send) -> None:
    """Use torch in the fork: its threads must start here."""
    import torch

    torch.set_num_threads(2)
    total = float((torch.ones(300, 300) @ torch.ones(300, 300)).sum())
    send(Checking(check=f"{raw} {total}"))
