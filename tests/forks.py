"""Processes that have PyTorch loaded when they start: forks of one that imported it, a session's only such import.

An interpreter that imports PyTorch, open_clip and timm anew takes longer than most of what these tests run in it. The
forks are processes of their own all the same, with their own environment, pipes, signals and end.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Forks:
    """Runs code in forks of a process that has imported ``participant_kit.train`` and what that needs."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.forks", str(theirs.fileno())],
            cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True,
        )  # fmt: skip
        theirs.close()

    def run(self, code: str, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """``python -W ignore -c code words...`` in the current folder, with variables beside this process's own."""
        (finished,) = self.run_all(code, words, [variables])
        return finished

    def run_all(
        self, code: str, words: Sequence[object], environments: Sequence[Mapping[str, str]], timeout: float = 200
    ) -> list[subprocess.CompletedProcess[str]]:
        """The same in as many processes at once as there are environments. Raises ``TimeoutError``.

        As with ``subprocess.run``, it lasts until nobody holds the pipes of their output any longer.
        """
        request = {
            "code": code,
            "words": [str(word) for word in words],
            "folder": str(Path.cwd()),
            "environments": [{**os.environ, **variables} for variables in environments],
        }
        pipes = [os.pipe() for _ in range(2 * len(environments))]
        with tempfile.NamedTemporaryFile("w", prefix="datacup-fork-", suffix=".json") as file:
            json.dump(request, file)
            file.flush()
            socket.send_fds(self._socket, [file.name.encode()], [write for _, write in pipes])
            for _, write in pipes:
                os.close(write)
            outputs = self._read([read for read, _ in pipes], time.monotonic() + timeout)
        codes = json.loads(self._socket.recv(10_000))
        return [
            subprocess.CompletedProcess(request["words"], returncode, *outputs[2 * place : 2 * place + 2])
            for place, returncode in enumerate(codes)
        ]

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._server.wait(20)

    def _read(self, pipes: Sequence[int], until: float) -> list[str]:
        """What comes out of each pipe until it ends."""
        said: dict[int, bytes] = dict.fromkeys(pipes, b"")
        with selectors.DefaultSelector() as selector:
            for pipe in pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, until - time.monotonic()))
                if not ready:
                    os.killpg(self._server.pid, signal.SIGKILL)
                    raise TimeoutError(b"".join(said.values()).decode(errors="replace"))
                for key, _ in ready:
                    found = os.read(key.fd, 65536)
                    said[key.fd] += found
                    if not found:
                        selector.unregister(key.fd)
                        os.close(key.fd)
        return [content.decode(errors="replace") for content in said.values()]


def _forked(requests: socket.socket) -> Iterator[tuple[dict[str, Any], int]]:
    """In the server: nothing, ever. In a fork: the request and the fork's place in it, with its output in place."""
    while True:
        path, pipes, *_ = socket.recv_fds(requests, 4096, 100)
        if not path:
            return
        request = json.loads(Path(path.decode()).read_text())
        children = []
        for place in range(len(request["environments"])):
            children.append(os.fork())
            if not children[-1]:
                os.dup2(pipes[2 * place], 1)
                os.dup2(pipes[2 * place + 1], 2)
                for pipe in pipes:
                    os.close(pipe)
                yield request, place
                return
        for pipe in pipes:
            os.close(pipe)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        requests.sendall(json.dumps(codes).encode())


def _serve(requests: socket.socket) -> None:
    import open_clip  # noqa: F401 - what makes the start of a process long
    import timm.data  # noqa: F401

    import tests.participant_kit.train.test_selfsupervised  # noqa: F401

    for request, place in _forked(requests):
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environments"][place])
        sys.argv = ["-c", *request["words"]]
        exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
