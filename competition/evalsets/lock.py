"""The lock file beside a set: at which commit it was taken, and the digest of every file.

``<root>/<set>.lock.json`` is what makes two machines' sets the same: copied to another one, it makes a download there
take the same commit and refuse every other byte.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from competition.canonical import digest
from competition.data.atomic import storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.data.engine import LocalEngine, Needs
from competition.errors import DataFormatError
from competition.evalsets.layout import MAX_SET_BYTES, byte_limit, files_of, folders_of
from competition.evalsets.sources import Origin
from competition.progress import ProgressHook
from competition.records.base import CommitSha, Identifier, Prose, Record, Sha256

LOCK_SUFFIX = ".lock.json"
MAX_LISTED = 100_000
"""Files that a lock lists one by one; beyond, it would be larger than many a set."""
_MAX_LOCK_BYTES = 256 * 2**20


class LockedFile(Record):
    """A file of a set."""

    path: Annotated[str, Field(min_length=1, max_length=1024)]
    size: int = Field(ge=0, le=MAX_SET_BYTES)
    sha256: Sha256


class LockedFolder(Record):
    """The files directly in one folder of a set of very many: how many, their bytes, and the digest of their list.

    ``sha256`` is that of the names, sizes and sha256 of the files, in the order of their names (``canonical.digest``).
    """

    path: Annotated[str, Field(max_length=1024)]
    files: int = Field(ge=1)
    size: int = Field(ge=0, le=MAX_SET_BYTES)
    sha256: Sha256


class SetLock(Record):
    """Content of a lock file.

    ``source`` is the repository on the Hub, or what the set was prepared from, in words; ``revision`` the commit of a
    repository. A set of more than ``MAX_LISTED`` files (ImageNet-C) is recorded by ``folders`` instead of ``files``.
    """

    schema_version: Literal[1] = 1
    name: Identifier
    origin: Origin
    source: Prose = ""
    revision: CommitSha | None = None
    files: tuple[LockedFile, ...] = ()
    folders: tuple[LockedFolder, ...] = ()

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.files) == bool(self.folders):
            raise ValueError("a lock has either files or folders")
        return self

    @property
    def count(self) -> int:
        """How many files the set has."""
        return len(self.files) + sum(folder.files for folder in self.folders)

    @property
    def bytes(self) -> int:
        """Size of the whole set."""
        return sum(file.size for file in self.files) + sum(folder.size for folder in self.folders)

    @property
    def digest(self) -> str:
        """Identity of the set's content, wherever it came from."""
        entries = [[file.path, file.size, file.sha256] for file in self.files]
        return digest(entries or [[entry.path, entry.files, entry.size, entry.sha256] for entry in self.folders])


class Difference(Record):
    """How a set on disk differs from its lock, by relative paths."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.missing or self.changed or self.added)

    @property
    def words(self) -> str:
        """The first of them, for a message."""
        kinds = {"missing": self.missing, "other bytes": self.changed, "not part of it": self.added}
        return "; ".join(
            f"{kind}: {', '.join(paths[:3])}{' ...' if len(paths) > 3 else ''}"
            for kind, paths in kinds.items()
            if paths
        )


def lock_path(root: Path, name: str) -> Path:
    """Where the lock of a set lies."""
    return root / f"{name}{LOCK_SUFFIX}"


def read_lock(root: Path, name: str) -> SetLock | None:
    """The lock of a set; ``None`` where there is none.

    Raises:
        DataFormatError: the file is no lock, or is another set's.
        StorageError: it cannot be read.
    """
    path = lock_path(root, name)
    if not path.exists():
        return None
    with storage_errors("reading", path), path.open("rb") as stream:
        content = stream.read(_MAX_LOCK_BYTES)
    try:
        lock = SetLock.model_validate_json(content)
    except ValidationError as error:
        raise DataFormatError(
            f"{path} is no lock file of an evaluation set.",
            hint="Copy it again from where it came, or delete it: then the set's files have to be trusted anew.",
        ) from error
    if lock.name != name:
        raise DataFormatError(f"{path} is the lock of another set, {lock.name}.", hint="Name the file after its set.")
    return lock


def write_lock(root: Path, lock: SetLock) -> None:
    """Write the lock of a set (raises ``StorageError``)."""
    write_bytes(lock_path(root, lock.name), (lock.model_dump_json(indent=1) + "\n").encode())


def record_set(
    folder: Path,
    name: str,
    origin: Origin,
    *,
    source: str = "",
    revision: str | None = None,
    workers: int = 4,
    progress: ProgressHook | None = None,
) -> SetLock:
    """The lock of the files that lie below ``folder``.

    Raises:
        DataFormatError: the folder holds no file.
        StorageError: a file cannot be read.
    """
    count = 0
    for _, names in folders_of(folder):
        count += len(names)
    if not count:
        raise DataFormatError(f"The evaluation set {folder} holds no file.", hint="Download or prepare it again.")
    stage = f"hashing {name}"
    if count > MAX_LISTED:
        found = _hash_folders(folder, [inside for inside, _ in folders_of(folder)], stage, workers, progress)
        folders = tuple(entry for entry in found.values() if entry is not None)
        return SetLock(name=name, origin=origin, source=source, revision=revision, folders=folders)
    paths = files_of(folder)
    digests = hash_files(folder, paths, stage, workers, progress)
    files = tuple(LockedFile(path=path, size=(folder / path).stat().st_size, sha256=digests[path]) for path in paths)
    return SetLock(name=name, origin=origin, source=source, revision=revision, files=files)


def compare(
    folder: Path,
    lock: SetLock,
    workers: int = 4,
    progress: ProgressHook | None = None,
    *,
    digests: Callable[[list[Path]], list[str]] | None = None,
) -> Difference:
    """How the files below ``folder`` differ from the lock: all are hashed whose size is right.

    Args:
        folder: the set's.
        lock: of the set.
        workers: files hashed at a time.
        progress: told how far it is.
        digests: the sha256 of files, from one who knows them; they are read when absent.

    Raises:
        DataFormatError: links in the folder lead in a circle.
        StorageError: a file cannot be read.
    """
    if lock.folders:
        return _compare_folders(folder, lock, workers, progress)
    there = set(files_of(folder))
    missing = tuple(file.path for file in lock.files if file.path not in there)
    added = tuple(path for path in sorted(there - {file.path for file in lock.files}) if _counts(path, lock))
    present = [file for file in lock.files if file.path in there]
    with storage_errors("reading", folder):
        sized = [file for file in present if (folder / file.path).stat().st_size == file.size]
    paths = [file.path for file in sized]
    if digests is not None:
        found = dict(zip(paths, digests([folder / path for path in paths]), strict=True))
    else:
        found = hash_files(folder, paths, f"hashing {lock.name}", workers, progress)
    changed = tuple(file.path for file in present if found.get(file.path) != file.sha256)
    return Difference(missing=missing, changed=changed, added=added)


def _compare_folders(folder: Path, lock: SetLock, workers: int, progress: ProgressHook | None) -> Difference:
    """The same for a set that is recorded by folders; differences are named by them."""
    there = {inside for inside, _ in folders_of(folder)}
    known = {entry.path for entry in lock.folders}
    present = [entry for entry in lock.folders if entry.path in there]
    paths = [entry.path for entry in present]
    found = _hash_folders(folder, paths, f"hashing {lock.name}", workers, progress)
    return Difference(
        missing=tuple(_shown(path) for path in sorted(known - there)),
        changed=tuple(_shown(entry.path) for entry in present if found[entry.path] != entry),
        added=tuple(_shown(path) for path in sorted(there - known)),
    )


def _shown(path: str) -> str:
    return f"{path}/"


def _counts(path: str, lock: SetLock) -> bool:
    """A page beside the shards of a downloaded set is no part of it; a further image of a folder of images would be."""
    downloaded = lock.origin is Origin.HUB and lock.revision is not None
    return not downloaded or byte_limit(path) is not None


def hash_files(
    folder: Path, paths: list[str], stage: str, workers: int, progress: ProgressHook | None
) -> dict[str, str]:
    """The sha256 of files by their relative paths; hashing leaves the interpreter to others, so threads serve."""
    tasks = {path: folder / path for path in paths}
    return LocalEngine(workers, retries=0).map(
        _sha256, tasks, stage=stage, needs=Needs(threads=True), progress=progress
    )


def _hash_folders(
    folder: Path, paths: list[str], stage: str, workers: int, progress: ProgressHook | None
) -> dict[str, LockedFolder | None]:
    """What a lock says of folders, by their relative paths; ``None`` for one that has become empty meanwhile."""
    tasks = {path: (folder, path) for path in paths}
    return LocalEngine(workers, retries=0).map(
        _locked_folder, tasks, stage=stage, needs=Needs(threads=True), progress=progress
    )


def _locked_folder(task: tuple[Path, str]) -> LockedFolder | None:
    folder, inside = task
    place = folder / inside
    listed: list[list[str | int]] = []
    size = 0
    with storage_errors("reading", place):
        names = sorted(path.name for path in place.iterdir() if not path.name.startswith(".") and path.is_file())
        for name in names:
            bytes_of = (place / name).stat().st_size
            listed.append([name, bytes_of, file_sha256(place / name)])
            size += bytes_of
    return LockedFolder(path=inside, files=len(listed), size=size, sha256=digest(listed)) if listed else None


def _sha256(path: Path) -> str:
    with storage_errors("reading", path):
        return file_sha256(path)
