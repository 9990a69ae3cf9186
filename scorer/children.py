"""Processes that touch entries: forked from one preloaded server that never held a credential.

Imports are dear (torch 4 s, open_clip 10 s) and a fork of them is cheap, so one server process imports everything once.
It is started with a scrubbed environment and by exec, so neither its environment nor its memory ever held the token of
this process, and neither do the processes that are forked from it. Each of those separates itself from the machine
before it reads its request (``scorer.sandbox``): one process stays outside and waits, its child does the work. They
answer in lines of JSON over a pipe; nothing that they send is ever unpickled. No wait for the server or for a process
is without a limit: a worker that waited for ever would renew its lease for ever.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import BinaryIO

from pydantic import ValidationError

from competition.data.atomic import make_folder
from competition.errors import DataCupError, EngineError, RejectionError
from scorer import messages, sandbox
from scorer.mirror import DamagedFileError
from scorer.namespaces import NOTHING, Access, enclose, separate
from scorer.watch import Watch

Send = Callable[[messages.Message], None]
Chore = Callable[[str, Send], None]
"""Runs in a process of its own: takes a JSON request, sends messages, may raise ``DataCupError``."""

# Without "__main__" every single process would import the command line again.
_PRELOAD = ["__main__", "scorer.preload"]
_MAX_MESSAGE_BYTES = 256 * 2**20
_READ_BYTES = 2**20
_POLL_S = 0.1
_EXIT_S = 10.0
# What multiprocessing says about a process whose server is gone: it may well be alive.
_SERVER_DIED = 255
_GIB = 2**30


class OverdueError(EngineError):
    """A process said nothing for longer than it may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"A process of the scorer was ended after {seconds:g} s without progress.")
        self.seconds = seconds


@dataclass(frozen=True)
class Bounds:
    """Limits of one process. Durations in seconds: ``start`` until it is ready, ``opening`` from then to its first
    message, where that is not ``step``, the limit from message to message.

    ``memory_bytes`` (resident) and ``tasks`` (processes and threads) are of the process and all that it starts.
    ``file_bytes`` bounds each file, ``scratch_bytes`` all of ``/tmp``; ``free_bytes`` must stay free on the disks of
    the folders that the process may write.
    """

    start: float
    step: float
    memory_bytes: int
    file_bytes: int
    scratch_bytes: int = 4 * _GIB
    tasks: int = 4096
    free_bytes: int = _GIB
    opening: float | None = None


class Children:
    """Starts processes and listens to them; may be used from several threads.

    ``insecure`` processes are not isolated: they see the network, the file system and each other.
    """

    def __init__(self, *, insecure: bool = False) -> None:
        self._insecure = insecure
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOAD)
        self._starting = threading.Lock()

    def warm_up(self) -> None:
        """Start the server that imports everything, without waiting for it."""
        with self._starting, sandbox.scrubbed_environment():
            forkserver.ensure_running()

    def run(
        self,
        chore: Chore,
        request: str,
        bounds: Bounds,
        *,
        access: Access = NOTHING,
        on_message: Callable[[messages.Message], None],
        guard: Callable[[], None],
    ) -> None:
        """Run ``chore(request)`` in a process and hand its messages to ``on_message`` until it is done.

        The process reaches what ``access`` names, whose writable folders are created. ``guard`` is called about ten
        times a second; what it raises ends the process and is passed on.

        Raises:
            RejectionError: the process found the entry at fault.
            EngineError: the process failed, died, could not be isolated, or ran over one of its limits.
            StorageError: a folder cannot be created, or its disk is about to be full.
        """
        for folder in access.writable:
            make_folder(folder)
        receiver, sender = self._context.Pipe(duplex=False)
        work = _Work(chore, request, bounds, None if self._insecure else access)
        process = self._context.Process(target=_main, args=(work, sender))
        with receiver:
            with sender:
                self._start(process, bounds.start, guard)
            try:
                _listen(process, _Inbox(receiver), bounds, access, on_message, guard)
            finally:
                _end(process)

    def _start(self, process: ForkServerProcess, limit: float, guard: Callable[[], None]) -> None:
        """Have the server fork the process. The standard call waits for the server without a limit: a thread makes it.

        A call that is given up ends when the server answers, and its process when it finds nobody listening.
        """
        deadline = time.monotonic() + limit
        started: Future[None] = Future()
        threading.Thread(target=self._fork, args=(process, started), daemon=True, name="fork").start()
        while not started.done():
            guard()
            if time.monotonic() > deadline:
                raise EngineError(f"The server of the scorer's processes was not ready after {limit:.0f} s.")
            wait([started], timeout=_POLL_S)
        try:
            started.result()
        except (OSError, EOFError) as error:
            raise EngineError(
                "The server of the scorer's processes ended when it was to start one.",
                hint="Its last words are in the scorer's log.",
            ) from error

    def _fork(self, process: ForkServerProcess, started: Future[None]) -> None:
        try:
            # The environment is scrubbed at every start, because a server that died is started anew.
            with self._starting, sandbox.scrubbed_environment():
                process.start()
        except BaseException as error:  # noqa: BLE001 - raised again where the outcome is waited for
            started.set_exception(error)
        else:
            started.set_result(None)


def _listen(
    process: ForkServerProcess,
    inbox: _Inbox,
    bounds: Bounds,
    access: Access,
    on_message: Callable[[messages.Message], None],
    guard: Callable[[], None],
) -> None:
    assert process.pid is not None
    watch = Watch(process.pid, bounds.memory_bytes, bounds.tasks, access.writable, bounds.free_bytes)
    limit = bounds.start
    deadline = time.monotonic() + limit
    while True:
        guard()
        message = _receive(process, inbox)
        if isinstance(message, messages.FINAL):
            _conclude(message)
            return
        watch.check()
        if message is not None:
            on_message(message)
            opening = bounds.opening if isinstance(message, messages.Ready) else None
            limit = bounds.step if opening is None else opening
            deadline = time.monotonic() + limit
        elif time.monotonic() > deadline:
            raise OverdueError(limit)


class _Inbox:
    """Lines that come through a pipe, read as they come: half a line keeps nobody waiting."""

    def __init__(self, receiver: Connection) -> None:
        os.set_blocking(receiver.fileno(), False)
        self._receiver = receiver
        self._buffer = bytearray()
        self._searched = 0

    def next(self) -> bytes | None:
        """The next whole line, or None when there is none yet; waits a tenth of a second at most.

        Raises ``EOFError`` when the other side has closed, ``OSError`` when its line is too long.
        """
        end = self._buffer.find(b"\n", self._searched)
        if end >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            return line
        self._searched = len(self._buffer)
        if self._searched > _MAX_MESSAGE_BYTES:
            raise OSError("a message is too long")
        if self._receiver.poll(_POLL_S):
            received = os.read(self._receiver.fileno(), _READ_BYTES)
            if not received:
                raise EOFError
            self._buffer += received
        return None


@dataclass(frozen=True)
class _Work:
    """What a process is to do, under which limits; no ``access``: without isolation."""

    chore: Chore
    request: str
    bounds: Bounds
    access: Access | None


def _main(work: _Work, connection: Connection) -> None:
    """The life of the process that waits: it reads nothing of an entry."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sandbox.confine(work.bounds.file_bytes)
    outbox = os.fdopen(os.dup(connection.fileno()), "wb")
    connection.close()
    try:
        if work.access is not None:
            separate(work.access)
    except EngineError as error:
        _send(outbox, messages.Failed(message=error.message, hint=error.hint))
        os._exit(0)
    pid = sandbox.fork_into(lambda: _do(work, outbox))
    outbox.close()
    sandbox.wait_for(pid)


def _do(work: _Work, outbox: BinaryIO) -> None:
    """The life of the process that works."""

    def send(message: messages.Message) -> None:
        _send(outbox, message)

    sandbox.only_descriptors({outbox.fileno()})
    try:
        if work.access is not None:
            enclose(work.access, work.bounds.scratch_bytes, work.bounds.tasks)
        send(messages.Ready())
        work.chore(work.request, send)
    except RejectionError as error:
        send(messages.Rejected(reason=error.reason, message=error.message))
    except DamagedFileError as error:
        send(messages.Damaged(sha256=error.sha256))
        send(messages.Failed(message=error.message, hint=error.hint))
    except DataCupError as error:
        send(messages.Failed(message=error.message, hint=error.hint))
    else:
        send(messages.Done())


def _send(outbox: BinaryIO, message: messages.Message) -> None:
    try:
        outbox.write(message.model_dump_json().encode() + b"\n")
        outbox.flush()
    except BrokenPipeError:
        # The scorer is gone, and with it everybody who could want to know more.
        os._exit(1)


def _receive(process: ForkServerProcess, inbox: _Inbox) -> messages.Message | None:
    try:
        line = inbox.next()
        return messages.parse(line) if line is not None else None
    except (EOFError, OSError):
        process.join(_EXIT_S)
        raise EngineError(f"A process of the scorer {_ending(process.exitcode)} before it was done.") from None
    except ValidationError as error:
        raise EngineError("A process of the scorer sent something that is no message.") from error


def _conclude(message: messages.Message) -> None:
    if isinstance(message, messages.Rejected):
        raise RejectionError(message.reason, message.message)
    if isinstance(message, messages.Failed):
        raise EngineError(message.message, hint=message.hint)


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "closed its connection"
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with status {exit_code} (its traceback is in the scorer's log)"


def _end(process: ForkServerProcess) -> None:
    """Kill the process, unless it has ended, with everything that it started."""
    if process.exitcode in {None, _SERVER_DIED} and process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.join(_EXIT_S)
