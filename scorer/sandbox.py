"""What a process that touches an entry may do. Here: limits of the operating system and an environment without secrets.

Network isolation needs a namespace of its own and is not part of this module.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from threading import Thread

_OPEN_FILES = 1024

# Only these reach a process that handles an entry: an allow-list, because no list of secrets is ever complete.
_KEPT = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy"}
_KEPT_PREFIXES = ("LC_", "PYTHON", "LD_LIBRARY", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "NCCL_", "TORCH_HOME")


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
