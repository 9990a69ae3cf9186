"""Datasets of Hugging Face's library on disk: opened without a trace elsewhere, their images within the source.

A stranger wrote the files: an image's ``path`` may name any file of this machine, so one outside of the source's folder
is refused. The library turns parquet files into Arrow ones first; those go into a scratch folder, not into its cache.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from competition.data.atomic import make_folder, storage_errors
from competition.errors import DataFormatError, NotFoundError

_HINT = "Get the source again."

Scratch = Callable[[], Path]
"""Gives a folder that is made when it is first asked for."""


@contextmanager
def scratch_folder(root: Path) -> Iterator[Scratch]:
    """A hidden folder in ``root`` for what lasts no longer than this block (raises ``StorageError``)."""
    with ExitStack() as stack:

        @cache
        def folder() -> Path:
            make_folder(root)
            with storage_errors("writing", root):
                return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=root, prefix=".prepare-")))

        yield folder


@contextmanager
def damages(folder: Path) -> Iterator[None]:
    """What the library and pyarrow raise for damaged files, as a sentence.

    Raises:
        DataFormatError: a file is not what it should be.
        NotFoundError: one is absent.
    """
    import datasets
    import pyarrow as pa

    try:
        yield
    except OSError as error:  # pyarrow's own belong here too, and have no number
        if error.errno is not None or not isinstance(error, pa.ArrowException):
            raise NotFoundError(
                f"The dataset in {folder} is not whole ({error.strerror or error}).", hint=_HINT
            ) from error
        raise _unreadable(folder, error) from error
    except (
        *(datasets.exceptions.DatasetsError, pa.ArrowException, struct.error),
        *(ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, RuntimeError),
    ) as error:
        raise _unreadable(folder, error) from error


def open_saved(folder: Path) -> Any:
    """What ``save_to_disk`` wrote: a dataset, or splits by their names (errors as those of ``damages``)."""
    import datasets

    with damages(folder):
        return datasets.load_from_disk(str(folder))


def open_parquet(folder: Path, paths: Sequence[str], scratch: Scratch) -> Any:
    """Parquet files of ``folder`` as one dataset (errors as those of ``damages``)."""
    import datasets

    place = str(scratch())
    with damages(folder):
        return datasets.Dataset.from_parquet(list(paths), cache_dir=place, keep_in_memory=False)


def encoded_image(entry: Any, folder: Path, where: str) -> bytes | Path:
    """The image that a column of undecoded images has for a row: its bytes, or a file below ``folder``.

    Args:
        entry: ``{"bytes": ..., "path": ...}``, or nothing.
        folder: the source's.
        where: which image, for messages.

    Raises:
        DataFormatError: there is no image, or its path leads out of the folder.
        NotFoundError: the file is not there.
    """
    found = entry if isinstance(entry, dict) else {}
    if found.get("bytes") is not None:
        return bytes(found["bytes"])
    name = str(found.get("path") or "")
    if not name:
        raise DataFormatError(f"{where} is empty.", hint=_HINT)
    if "\0" in name:
        raise DataFormatError(f"{where} has no path, but {name[:80]!r}.", hint=_HINT)
    base = folder.resolve()
    with storage_errors("reading", folder):
        path = (base / name).resolve()
        inside, there = path.is_relative_to(base), path.is_file()
    if not inside:
        raise DataFormatError(
            f"{where} is the file {name[:120]!r}, outside of {folder}.",
            hint="Put the images' bytes into the dataset, or their files into its folder.",
        )
    if not there:
        raise NotFoundError(f"{where} is the file {name[:120]!r}, which is not in {folder}.", hint=_HINT)
    return path


def _unreadable(folder: Path, error: Exception) -> DataFormatError:
    cause = error.__cause__ or error
    reason = (str(cause).splitlines() or [""])[0] or type(cause).__name__
    return DataFormatError(f"The dataset in {folder} cannot be read ({reason[:160].rstrip('.')}).", hint=_HINT)
