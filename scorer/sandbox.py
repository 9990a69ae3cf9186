"""What a process that touches an entry may do: an environment without secrets, limits of the operating system, and a
view of the machine that holds what it needs and nothing else (``scorer.namespaces``).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import NoReturn

from competition.errors import EngineError
from scorer.namespaces import NOTHING, enclose, end_with_parent, separate

_OPEN_FILES = 1024
_WATCH_S = 0.5

# Only these reach a process that handles an entry: an allow-list, because no list of secrets is ever complete.
_KEPT = {
    *("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TORCH_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
}
_KEPT_PREFIXES = ("LC_", "PYTHON", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NCCL_")


@contextmanager
def scrubbed_environment(*further_prefixes: str) -> Iterator[None]:
    """Processes that are started inside the block inherit an environment without secrets.

    ``further_prefixes``: of variables that are kept too.
    """
    saved, prefixes = dict(os.environ), (*_KEPT_PREFIXES, *further_prefixes)
    kept = {name: value for name, value in saved.items() if name in _KEPT or name.startswith(prefixes)}
    os.environ.clear()
    os.environ.update(kept)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def ending_with_parent() -> Iterator[None]:
    """Inside the block this process ends soon after its parent, by a timer: for a server that must not have threads.

    A server that only afterwards listens for the end of its parent would import for nobody, and keep its output open.
    """
    parent = os.getppid()

    def check(_number: int, _frame: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    before = signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, _WATCH_S, _WATCH_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def confine(file_bytes: int) -> None:
    """Restrict this process: no core dumps, files of at most ``file_bytes``, few open files.

    The process becomes the leader of a session, so that it can be ended together with whatever it starts.
    """
    os.setsid()
    os.umask(0o077)
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (value, value))


def wait_for(pid: int) -> NoReturn:
    """Wait for the child ``pid`` and end as it ended; when the scorer is gone, end at once with all of the session."""
    # By descriptors: a process whose children are in another process namespace can start no thread.
    parent = parent_process()
    scorer = [parent.sentinel] if parent is not None else []
    ended = [os.pidfd_open(pid)] if sys.platform == "linux" else []
    while True:
        ready = wait([*scorer, *ended], None if ended else _WATCH_S)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if set(ready) & set(scorer):
            os.killpg(os.getpid(), signal.SIGKILL)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def only_descriptors(kept: set[int]) -> None:
    """Close every file descriptor but the three standard ones and ``kept``, and have stdout lead to stderr.

    What a process prints must not look like the scorer's own events, and the pipes of the server are not its business.
    """
    os.dup2(2, 1)
    listing = list(Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd").iterdir())
    for descriptor in {int(path.name) for path in listing} - {0, 1, 2} - kept:
        with contextlib.suppress(OSError):  # the listing's own
            os.close(descriptor)


def require_isolation() -> None:
    """Isolate a process and let it end (raises ``EngineError`` with what to do when the system does not allow it)."""
    code = "from scorer import sandbox; sandbox.try_isolation()"
    place = str(Path(__file__).resolve().parent.parent)
    with scrubbed_environment():
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=60, check=False
        )
    if done.returncode != 0:
        message, _, hint = done.stdout.strip().partition("\n")
        raise EngineError(message or f"A process could not be isolated: {done.stderr.strip()[-500:]}", hint=hint)


def try_isolation() -> NoReturn:
    """The process that ``require_isolation`` starts: prints message and hint when it cannot be isolated."""

    def inside() -> None:
        enclose(NOTHING, scratch_bytes=2**20, tasks=512)

    try:
        separate(NOTHING)
    except EngineError as error:
        os.write(1, f"{error.message}\n{error.hint}\n".encode())
        os._exit(1)
    wait_for(fork_into(inside))


def fork_into(inside: Callable[[], None]) -> int:
    """Fork a process that runs ``inside`` and ends: with status 1 after an exception, which it prints, else with 0."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            end_with_parent()
            inside()
            status = 0
        except EngineError as error:
            os.write(1, f"{error.message}\n{error.hint}\n".encode())
        except BaseException:  # noqa: BLE001 - the traceback is for the log, and nothing may go on as the parent
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid
