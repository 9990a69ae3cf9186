"""Files over HTTP: digests of the bytes as they come, several files at a time, picked up again where they broke off.

The official client reads a file a second time for its digest and fetches one after the other; how much that costs is
measured by ``python -m bench mirroring``.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import httpx

_TRIES = 5
_LONGEST_PAUSE_S = 30.0
_PASSING = {408, 425, 429, 500, 502, 503, 504}
# Written back while more comes, so that little is left to wait for at the end.
_FLUSH_BYTES = 32 * 2**20
_SYNC_FILE_RANGE_WRITE = 2  # <linux/fs.h>


@dataclass(frozen=True)
class Received:
    """What came. ``sha256`` in lower-case hex; so is ``blob``, git's name of the bytes, where it was asked for.

    That is the sha1 of ``blob``, their number and themselves (Pro Git, "Git Objects").
    """

    path: Path
    size: int
    sha256: str
    blob: str | None


class UnexpectedStatusError(Exception):
    """The server answered something else than a file; ``reason`` is a Hub's word for it, empty without one."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.reason = reason


class UnexpectedSizeError(Exception):
    """Other than the announced number of bytes came."""


class Downloader:
    """Connections to one server; may be used by several threads.

    Args:
        headers: of every request. An ``Authorization`` does not follow a redirect to another host.
        answer_seconds: how long the next bytes are waited for.
        sleep: injected by tests.
    """

    def __init__(
        self, headers: Mapping[str, str], answer_seconds: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        # Compressed bytes are not those whose digest is known.
        sent = {**headers, "Accept-Encoding": "identity"}
        self._http = httpx.Client(headers=sent, timeout=answer_seconds, follow_redirects=True)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def download(self, url: str, target: Path, size: int, *, blob: bool = False) -> Received:
        """Fetch ``size`` bytes into the new file ``target``. A connection that breaks is resumed where it broke.

        ``blob``: make git's name of them, too.

        Raises:
            UnexpectedStatusError: the answer is no file, also after some tries where trying can help.
            UnexpectedSizeError: the file has another size.
            httpx.TransportError: the server cannot be reached, or breaks off again and again without sending anything.
            OSError: the file cannot be written.
        """
        with target.open("xb", buffering=0) as stream:
            sink = _Sink(stream, size, blob=blob)
            failures = 0
            while not sink.complete:
                before = sink.position
                try:
                    self._receive(url, sink)
                    break
                except (httpx.TransportError, _TryAgainError) as error:
                    failures = 1 if sink.position > before else failures + 1
                    if failures >= _TRIES:
                        if isinstance(error, _TryAgainError):
                            raise UnexpectedStatusError(error.status) from error
                        raise
                    self._sleep(_pause(error, failures))
            return sink.received(target)

    def _receive(self, url: str, sink: _Sink) -> None:
        resumed = {"Range": f"bytes={sink.position}-"} if sink.position else {}
        with self._http.stream("GET", url, headers=resumed) as response:
            if response.status_code in _PASSING:
                raise _TryAgainError(response.status_code, response.headers.get("Retry-After"))
            if response.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
                raise UnexpectedStatusError(response.status_code, response.headers.get("X-Error-Code", ""))
            if response.status_code == httpx.codes.OK:
                sink.restart()
            for piece in response.iter_bytes():
                sink.write(piece)
        if not sink.complete:
            # Without a length in its head an answer that breaks off looks whole.
            raise httpx.RemoteProtocolError(f"{sink.position} bytes came of {sink.size}")


class _TryAgainError(Exception):
    """A status that may pass."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after


class _Sink:
    """Bytes into a file and into digests."""

    def __init__(self, stream: BinaryIO, size: int, *, blob: bool) -> None:
        self.size = size
        self.position = 0
        self._stream = stream
        self._blob = blob
        self.restart()

    def restart(self) -> None:
        """The file begins anew."""
        if self.position:
            self._stream.seek(0)
            self._stream.truncate()
        self.position = self._flushed = 0
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False) if self._blob else None

    def write(self, piece: bytes) -> None:
        """Raises ``UnexpectedSizeError`` as soon as there is too much."""
        if self.position + len(piece) > self.size:
            raise UnexpectedSizeError(f"more than {self.size} bytes")
        self._sha256.update(piece)
        if self._sha1 is not None:
            self._sha1.update(piece)
        view = memoryview(piece)
        while view:
            view = view[self._stream.write(view) :]
        self.position += len(piece)
        if self.position - self._flushed >= _FLUSH_BYTES:
            _start_writing(self._stream, self._flushed, self.position)
            self._flushed = self.position

    @property
    def complete(self) -> bool:
        """Whether all bytes are here."""
        return self.position == self.size

    def received(self, path: Path) -> Received:
        """What came."""
        blob = self._sha1.hexdigest() if self._sha1 is not None else None
        return Received(path, self.position, self._sha256.hexdigest(), blob)


def _start_writing(stream: BinaryIO, start: int, end: int) -> None:
    """Have the system begin to write these bytes to the disk, where it can be told to; waits for nothing."""
    if sys.platform == "linux":
        offset, count = ctypes.c_int64(start), ctypes.c_int64(end - start)
        # What it answers is not looked at: whoever needs the bytes on the disk syncs the file and is told.
        _libc().sync_file_range(stream.fileno(), offset, count, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _pause(error: Exception, failures: int) -> float:
    """Seconds before the next try: what the server asks for, within reason."""
    asked = error.retry_after if isinstance(error, _TryAgainError) else None
    if asked is not None and asked.isdecimal():
        return min(float(asked), _LONGEST_PAUSE_S)
    return min(0.5 * 2.0**failures, _LONGEST_PAUSE_S)
