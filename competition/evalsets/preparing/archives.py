"""Images in zip files beside their index: bounded, and none outside of the set's folder."""

from __future__ import annotations

import threading
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError, NotFoundError
from competition.evalsets.preparing.images import MAX_IMAGE_BYTES, read_image

_UNREADABLE = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError)


class Archives:
    """Zip files of a folder, each opened once; one member at a time, and none that unpacks to more than an image."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def read(self, name: str) -> bytes:
        """The image ``<zip>@<member>``, or the file ``<path>``, of the folder.

        Raises:
            NotFoundError: there is no such zip file or file.
            DataFormatError: the name leads out of the folder; the zip file does not give it; or it is too large.
        """
        archive, _, member = name.rpartition("@")
        check_inside(archive, member)
        if not archive:
            if not (self._folder / member).is_file():
                raise NotFoundError(f"{self._folder / member} is not there.", hint="Is the source whole?")
            return read_image(self._folder / member)
        with self._lock:
            opened = self._archive(archive)
            try:
                with opened.open(member) as stream:
                    data = stream.read(MAX_IMAGE_BYTES + 1)
            except _UNREADABLE as error:
                reason = str(error).strip("'\"") or type(error).__name__
                raise DataFormatError(
                    f"{self._folder / archive} does not give {member[:80]!r} ({reason}).", hint="Get the source again."
                ) from error
        if len(data) > MAX_IMAGE_BYTES:
            raise DataFormatError(f"{name[:80]!r} unpacks to more than an image may have.")
        return data

    def members(self, archive: str) -> dict[str, str]:
        """The members of a zip file by the last component of their names, without folders and hidden ones.

        Raises:
            NotFoundError: there is no such zip file.
            DataFormatError: it is none, or two members have one name.
        """
        check_inside(archive)
        with self._lock:
            names = self._archive(archive).namelist()
        found: dict[str, str] = {}
        for name in names:
            path = PurePosixPath(name)
            if name.endswith("/") or path.name.startswith(".") or "__MACOSX" in path.parts:
                continue
            if path.name in found:
                raise DataFormatError(f"{self._folder / archive} has two members {path.name[:80]!r}.")
            found[path.name] = name
        return found

    def _archive(self, name: str) -> zipfile.ZipFile:
        if name not in self._open:
            path = self._folder / name
            if not path.is_file():
                raise NotFoundError(f"{path} is not there.", hint="Put the zip files beside their index.")
            try:
                with storage_errors("reading", path):
                    self._open[name] = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
                raise DataFormatError(
                    f"{path} is no zip file, or not a whole one ({error}).", hint="Get the source again."
                ) from error
        return self._open[name]


def check_inside(*names: str) -> None:
    """Raise ``DataFormatError`` for a name that leads out of its folder: a stranger wrote the index."""
    for name in names:
        if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name or "\0" in name:
            raise DataFormatError(f"An index names an image outside of its folder: {name[:80]!r}.")
