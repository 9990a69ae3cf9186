"""The GPUs of this machine, each given to one process of the scorer at a time.

A lease is a lock on a file that is named after the GPU, so it holds between the jobs of one scorer and between scorers
of one user, and the system takes it back from whoever is killed. The CPU is not leased: jobs share its cores.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from competition.data.atomic import make_folder, storage_errors
from scorer import messages
from scorer.children import Bounds, Children, Send

_LOOK_S = 0.2
_ACCELERATORS = ("nvidia[0-9]*", "kfd")


def find_devices(_raw: str, send: Send) -> None:
    """Say what PyTorch sees, in a process that ends afterwards: asking takes hundreds of megabytes of a GPU."""
    import torch

    properties = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    identities = [f"{each.name} {getattr(each, 'uuid', number)}" for number, each in enumerate(properties)]
    send(messages.DevicesFound(devices=tuple(identities)))


class Devices:
    """Leases of GPUs.

    Args:
        find: their identities, in the order of their numbers; asked once, when the first one is wanted.
        folder: where the locks lie; the same for all scorers of the machine.
    """

    def __init__(self, find: Callable[[], tuple[str, ...]], folder: Path | None = None) -> None:
        self._find = find
        self._folder = folder or Path(tempfile.gettempdir(), f"datacup-devices-{os.getuid()}")
        self._found: tuple[str, ...] | None = None
        self._finding = threading.Lock()

    @classmethod
    def of_this_machine(cls, children: Children, bounds: Bounds) -> Devices:
        """Those that PyTorch sees in a process that ``children`` starts."""

        def find() -> tuple[str, ...]:
            if not any(any(Path("/dev").glob(pattern)) for pattern in _ACCELERATORS):
                return ()
            found: list[str] = []

            def listen(message: messages.Message) -> None:
                if isinstance(message, messages.DevicesFound):
                    found.extend(message.devices)

            children.run(find_devices, "", bounds, on_message=listen, guard=lambda: None)
            return tuple(found)

        return cls(find)

    @contextmanager
    def lease(self, check: Callable[[], None]) -> Iterator[int | None]:
        """The number of a GPU that is this block's alone; None where the machine has none.

        Waits until one is free; ``check`` is asked often meanwhile, and what it raises ends the waiting.

        Raises:
            StorageError: the locks cannot be written.
        """
        with self._finding:
            if self._found is None:
                self._found = self._find()
        if not self._found:
            yield None
            return
        number, lock = self._wait(self._found, check)
        with lock:
            yield number

    def _wait(self, found: tuple[str, ...], check: Callable[[], None]) -> tuple[int, IO[bytes]]:
        make_folder(self._folder)
        while True:
            for number, identity in enumerate(found):
                lock = self._try(identity)
                if lock is not None:
                    return number, lock
            check()
            time.sleep(_LOOK_S)

    def _try(self, identity: str) -> IO[bytes] | None:
        """The lock of a GPU, held until it is closed; None when somebody has it."""
        path = self._folder / hashlib.sha256(identity.encode()).hexdigest()[:32]
        with contextlib.ExitStack() as stack:
            with storage_errors("opening", path):
                lock = stack.enter_context(path.open("wb"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            stack.pop_all()
            return lock
