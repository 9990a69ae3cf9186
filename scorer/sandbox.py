"""What a process that touches an entry may do. Here: limits of the operating system and an environment without secrets.

Network isolation needs a namespace of its own and is not part of this module.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from threading import Thread

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
def scrubbed_environment() -> Iterator[None]:
    """Processes that are started inside the block inherit an environment without secrets."""
    saved = dict(os.environ)
    kept = {name: value for name, value in saved.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
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
    """Restrict this process: no core dumps, files of at most ``file_bytes``, few open files, and not to be orphaned.

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
    Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()


def _end_with_parent() -> None:
    """A scorer that was killed must not leave processes behind that go on computing for nobody."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
