"""What goes between a scorer's mirror and the archive of all scorers, under the eyes of a guard.

Bytes that cannot be moved for long end the job: a worker that waited for ever would renew its lease for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from competition.errors import DataFormatError, ServiceUnavailableError, StorageError
from competition.records.manifest import ManifestFile
from scorer.archive import Archive, Beat, DamagedBlobError
from scorer.mirror import Blob, Mirror, MirroredEntry, Source
from scorer.watch import free_bytes

T = TypeVar("T")
File = ManifestFile | Blob

_FILES_AT_A_TIME = 8
_LOOK_S = 0.1

log = structlog.get_logger()


@dataclass(frozen=True)
class Patience:
    """``guard`` is called about ten times a second, and what it raises ends the work; ``seconds`` may pass without
    progress; ``free_bytes`` must stay free on the mirror's disk."""

    guard: Callable[[], None]
    seconds: float
    free_bytes: int


class Archiving:
    """A mirror and its archive."""

    def __init__(self, mirror: Mirror, archive: Archive, patience: Patience) -> None:
        self._mirror = mirror
        self._archive = archive
        self._patience = patience

    def deposit(self, submission_id: str, entry: MirroredEntry) -> int:
        """Have the archive hold an entry that the mirror has whole; how many bytes were sent.

        Raises:
            ServiceUnavailableError: the archive cannot be reached.
            StorageError: a file of the mirror is absent or damaged.
        """

        def work(beat: Beat) -> int:
            def put(file: File) -> int:
                sent = self._archive.put(self._mirror.path(file.sha256), file.sha256, file.size, beat)
                return file.size if sent else 0

            sent = sum(self._each(put, entry.manifest.files))
            self._archive.remember(submission_id, entry)
            return sent

        return self._watched(work)

    def restore(self, submission_id: str, source: Source) -> bool:
        """Bring an entry that was archived whole from that very source into the mirror; whether it is there now.

        Raises:
            ServiceUnavailableError: the archive cannot be reached.
            StorageError: the mirror cannot be written.
        """

        def work(beat: Beat) -> MirroredEntry | None:
            try:
                entry = self._archive.entry(submission_id)
            except DataFormatError as error:
                log.warning("archived_entry_unreadable", submission=submission_id, error=error.message)
                return None
            if entry is None or entry.source != source:
                return None
            return entry if all(self._bring_all(entry.manifest.files, beat)) else None

        entry = self._watched(work)
        if entry is None:
            return False
        self._mirror.remember(submission_id, entry)
        return True

    def bring(self, files: Iterable[File]) -> bool:
        """Bring files into the mirror; whether it has all of them now (raises as ``restore``)."""
        wanted = list(files)
        return self._watched(lambda beat: all(self._bring_all(wanted, beat)))

    def bring_back(self, sha256: str) -> bool:
        """Fetch a file that the mirror has lost from the archive; whether that had a sound one."""
        blob = self._archive.look(sha256)
        return blob is not None and self.bring([blob])

    def send_back(self, sha256: str) -> bool:
        """Send a file that the archive has lost from the mirror; whether that had a sound one."""
        blob = self._mirror.look(sha256)
        if blob is None:
            return False
        path, size = self._mirror.path(sha256), blob.size
        try:
            self._watched(lambda beat: self._archive.put(path, sha256, size, beat))
        except StorageError as error:
            log.warning("mirror_damaged", sha256=sha256, error=error.message)
            return False
        return True

    def _bring_all(self, files: Iterable[File], beat: Beat) -> list[bool]:
        return self._each(lambda file: self._bring(file, beat), files)

    def _bring(self, file: File, beat: Beat) -> bool:
        if self._mirror.keeps(file.sha256, file.size):
            return True
        with self._mirror.scratch() as scratch:
            self._require_space(scratch, file.size)
            target = scratch / "file"
            try:
                found = self._archive.get(file.sha256, file.size, target, beat)
            except DamagedBlobError as error:
                log.error("archive_damaged", sha256=file.sha256, error=error.message)
                return False
            if found:
                self._mirror.adopt(target, file.sha256)
        return found

    def _require_space(self, folder: Path, size: int) -> None:
        free = free_bytes(folder)
        if free - size < self._patience.free_bytes:
            raise StorageError(
                f"Only {free} bytes are free where the mirror lies; a file of {size} bytes was not fetched.",
                hint="Free some space; the job is tried again.",
            )

    def _each(self, work: Callable[[File], T], files: Iterable[File]) -> list[T]:
        distinct = {file.sha256: file for file in files}.values()
        with ThreadPoolExecutor(_FILES_AT_A_TIME if self._archive.several else 1) as pool:
            working = [pool.submit(work, file) for file in distinct]
            try:
                return [each.result() for each in working]
            finally:
                for each in working:
                    each.cancel()

    def _watched(self, work: Callable[[Beat], T]) -> T:
        """Run ``work`` in a thread that is given up when the guard says so, or when nothing moves any more."""
        over = threading.Event()
        moved = [time.monotonic()]

        def beat() -> None:
            moved[0] = time.monotonic()
            if over.is_set():
                raise StorageError("The job is over.")

        done: Future[T] = Future()
        threading.Thread(target=_run, args=(done, work, beat), daemon=True, name="archive").start()
        try:
            while not done.done():
                self._patience.guard()
                if time.monotonic() - moved[0] > self._patience.seconds:
                    raise ServiceUnavailableError(
                        f"The archive of mirrored entries moved nothing for {self._patience.seconds:.0f} s.",
                        hint="It is tried again; check DATACUP_ARCHIVE and the network.",
                    )
                wait([done], timeout=_LOOK_S)
        finally:
            over.set()
        return done.result()


def _run(done: Future[T], work: Callable[[Beat], T], beat: Beat) -> None:
    try:
        done.set_result(work(beat))
    except BaseException as error:  # noqa: BLE001 - raised again where the outcome is waited for
        done.set_exception(error)
