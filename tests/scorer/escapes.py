"""What a process that reads an entry might try, if the entry had taken it over. Each says how far it came."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scorer.children import Send
from scorer.messages import Checking

_NEWUSER = 0x10000000
_REMOUNT, _BIND = 32, 4096


def _say(send: Send, value: object) -> None:
    send(Checking(check=json.dumps(value)))


def _outcome(action: Callable[[], object]) -> str:
    """``done``, or the name of what was raised."""
    try:
        action()
    except OSError as error:
        return type(error).__name__ if error.errno is None else os.strerror(error.errno)
    return "done"


def connect(raw: str, send: Send) -> None:
    """Connect by TCP to the port, and to the abstract socket of that name."""
    port, name = json.loads(raw)

    def by_name() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"\0{name}")

    _say(send, [_outcome(lambda: socket.create_connection(("127.0.0.1", port), 5).close()), _outcome(by_name)])


def others(raw: str, send: Send) -> None:
    """The processes that are seen, which of their environments hold the text, and whether the scorer can be stopped."""
    found = []
    pids = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    scorer, text = json.loads(raw)
    for pid in pids:
        try:
            if text in Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace"):
                found.append(pid)
        except OSError:
            continue
    _say(send, [pids, found, _outcome(lambda: os.kill(scorer, 0))])


def write(raw: str, send: Send) -> None:
    """Overwrite, add beside, remove, and open up each file."""

    def attempts(path: Path) -> list[str]:
        return [
            _outcome(lambda: path.write_text("forged")),
            _outcome(lambda: path.with_name("added").write_text("forged")),
            _outcome(path.unlink),
            _outcome(lambda: path.parent.chmod(0o777)),
        ]

    _say(send, [attempts(Path(path)) for path in json.loads(raw)])


def places(raw: str, send: Send) -> None:
    """Try to leave a file in each folder; and what can be listed there."""
    told = {}
    for folder in json.loads(raw):
        listed = [path.name for path in Path(folder).iterdir()] if Path(folder).is_dir() else None
        told[folder] = [_outcome(lambda folder=folder: Path(folder, "left-behind").write_text("x")), listed]
    _say(send, told)


def fill_scratch(_raw: str, send: Send) -> None:
    """Write to ``/tmp`` and to ``/dev/shm`` until it is refused; how much there is then, and why it ended."""
    reason, written = "done", 0
    for number in range(64):
        path = Path("/tmp" if number % 2 else "/dev/shm", f"block-{number}")
        reason = _outcome(lambda path=path: path.write_bytes(bytes(2**18)))
        written += path.stat().st_size
        if reason != "done":
            break
    _say(send, [reason, written])


def fill_disk(raw: str, send: Send) -> None:
    """Write 2 GiB at most, in small files."""
    _say(send, "writing")
    for number in range(4096):
        with Path(raw, f"block-{number}").open("wb") as stream:
            stream.write(bytes(2**19))
            os.fsync(stream.fileno())


def fork_bomb(_raw: str, send: Send) -> None:
    """A shell function that starts itself twice, in the background; the shell may die of it, this process does not."""
    _say(send, "lit")
    subprocess.run(["sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 30"], stderr=subprocess.DEVNULL, check=False)
    time.sleep(60)


def start_threads(raw: str, send: Send) -> None:
    """Start sleeping threads until it is refused, at most so many; how many there are."""
    started = 0
    while started < int(raw):
        try:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        except RuntimeError:
            break
        started += 1
    _say(send, started)


def start_programs(raw: str, _send: Send) -> None:
    """Start so many sleeping programs, and sleep."""
    for _ in range(int(raw)):
        subprocess.Popen(["sleep", "60"])
    time.sleep(60)


def privileges(raw: str, send: Send) -> None:
    """Capabilities, also of a program that is run, and attempts to get some, and to make the folder writable."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(status: int) -> str:
        return "done" if status == 0 else os.strerror(ctypes.get_errno())

    def held(text: str) -> list[str]:
        return [line.split()[1] for line in text.splitlines() if line.startswith(("CapEff", "CapBnd", "NoNewPrivs"))]

    own = held(Path("/proc/self/status").read_text())
    run = held(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout)
    remounted = call(libc.mount(None, raw.encode(), None, ctypes.c_ulong(_REMOUNT | _BIND), None))
    unmounted = call(libc.umount2(raw.encode(), 2))
    limit = _outcome(lambda: Path("/proc/sys/user/max_user_namespaces").write_text("100"))
    _say(send, [own, run, remounted, unmounted, limit, call(libc.unshare(_NEWUSER))])


def descriptors(_raw: str, send: Send) -> None:
    """What the process has open, and something on stdout."""
    print("forged event", flush=True)  # noqa: T201
    paths = [path for path in list(Path("/proc/self/fd").iterdir()) if path.is_symlink() and int(path.name) > 2]
    _say(send, [str(path.readlink()) for path in paths])


def rest(_raw: str, send: Send) -> None:
    """Say so, and sleep."""
    _say(send, "resting")
    time.sleep(100)


def imports(_raw: str, send: Send) -> None:
    """Import what no preloaded module has imported, and start the interpreter anew."""
    import wave

    import competition

    program = "import numpy, competition.evaluation.run; print(numpy.ones(3).sum())"
    place = Path(competition.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=place)
    _say(send, [wave.__name__, done.stdout.strip(), done.stderr])
