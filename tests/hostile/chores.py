"""The scorer's own chores, watched: where they may write without being asked, and how much memory they take."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from competition.data.uids import UidArray
from competition.errors import RejectionError
from competition.records.base import Record
from competition.rules import Competition
from competition.verification import check_submission
from scorer.children import Send
from scorer.messages import Checking
from scorer.verify import fetch_entry, verify_entry

GROWN = "grown "
ENDED = "ended "


class Watched(Record):
    """A chore's request, and the folder in which its process believes to be at home."""

    ground: Path
    request: str


class FolderRequest(Record):
    """A folder on this machine, as ``datacup check`` and ``datacup-scorer verify`` take it."""

    folder: Path
    competition: Competition


class FoldersRequest(Record):
    """Folders to be checked one after the other."""

    folders: tuple[Path, ...]
    competition: Competition


def fetch(raw: str, send: Send) -> None:
    watched = Watched.model_validate_json(raw)
    with _at_home(watched.ground, send):
        fetch_entry(watched.request, send)


def verify(raw: str, send: Send) -> None:
    watched = Watched.model_validate_json(raw)
    with _at_home(watched.ground, send):
        verify_entry(watched.request, send)


def check_folder(raw: str, send: Send) -> None:
    watched = Watched.model_validate_json(raw)
    request = FolderRequest.model_validate_json(watched.request)
    with _at_home(watched.ground, send):
        check_submission(request.folder, request.competition, _pool())


def check_folders(raw: str, send: Send) -> None:
    """Tell how each folder ended: reason and message, or null."""
    watched = Watched.model_validate_json(raw)
    request = FoldersRequest.model_validate_json(watched.request)
    with _at_home(watched.ground, send):
        for folder in request.folders:
            end = None
            try:
                check_submission(folder, request.competition, _pool())
            except RejectionError as error:
                end = {"reason": error.reason, "message": error.message}
            send(Checking(check=ENDED + json.dumps(end)))


def _pool() -> UidArray:
    # Imported inside: it starts threads of pyarrow, and a process with threads cannot be isolated.
    from tests.competition.verification.entries import pool_array

    return pool_array()


@contextmanager
def _at_home(ground: Path, send: Send) -> Iterator[None]:
    """Home, temporary and working folder lie in ``ground``; at the end, tell by how much the memory grew at most."""
    for variable, name in (("HOME", "home"), ("TMPDIR", "tmp")):
        os.environ[variable] = str(ground / name)
    tempfile.tempdir = None
    os.chdir(ground / "work")
    before = _kilobytes("VmRSS")
    try:
        yield
    finally:
        send(Checking(check=f"{GROWN}{1024 * (_kilobytes('VmHWM') - before)}"))


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
