"""Hugging Face datasets as a source: Arrow tables, mapped into memory, whose images stay as they are encoded.

Parquet files cannot be read in any order: the `datasets` library turns them into Arrow files once, in its own cache
(``HF_DATASETS_CACHE``), under their content's digest. No code of a dataset is ever run, and nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from competition.canonical import digest
from competition.data.atomic import storage_error, storage_errors
from competition.data.digests import file_sha256
from competition.data.engine import Needs, engine_of
from competition.data.uids import parse_uid
from competition.errors import DataFormatError, TrainingError
from competition.progress import ProgressHook
from participant_kit.train.data.columns import Columns, columns_of
from participant_kit.train.data.parquet_files import training_files
from participant_kit.train.data.source import Indices, Part, RawSample, part_name

_DAMAGED = "The file is cut short or damaged: write or download it again."
_FILES_BY_PATH = "images by path"


class HuggingFaceSource:
    """The rows of Arrow files, which each process opens for itself when it first reads."""

    def __init__(self, folder: Path, arrow: Sequence[Path], parts: Sequence[Part], columns: Columns) -> None:
        """``parts`` have as many samples as ``arrow`` have rows, in the same order.

        Raises:
            DataFormatError: a file is damaged, or files do not fit together, or an image lies outside ``folder``.
        """
        self._folder, self._arrow, self._columns = folder, tuple(arrow), columns
        self._table: Any = None
        external = self._external()
        self._parts = (*parts, external) if external else tuple(parts)
        self._firsts = np.concatenate([[0], np.cumsum([part.samples for part in self._parts])]).astype(np.int64)
        self._identities = self._identify()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The dataset's files; where images lie beside these, a part without samples stands for them."""
        return self._parts

    @property
    def identities(self) -> Indices:
        """[samples]: of the uid; of file and row where there is none."""
        return self._identities

    def read(self, index: int) -> RawSample:
        """The sample at a position (raises ``StorageError``)."""
        row = self._rows().fast_slice(index, 1).to_pylist()[0]
        columns = self._columns
        label = row[columns.label] if columns.label else None
        caption = row[columns.caption] if columns.caption else None
        return RawSample(
            image=self._image(row[columns.image]),
            caption=None if caption is None else caption.encode(),
            label=None if label is None or label < 0 else int(label),
        )

    def describe(self, index: int) -> str:
        """File and row of a sample, for messages."""
        number = int(np.searchsorted(self._firsts, index, side="right")) - 1
        return f"row {index - int(self._firsts[number])} of {self._parts[number].name} in {self._folder}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None}

    def _rows(self) -> Any:
        if self._table is None:
            self._table = _open_arrow(self._arrow, self._columns)
        return self._table

    def _image(self, value: Any) -> bytes | None:
        data: bytes | None = value["bytes"] if isinstance(value, dict) else value
        if data is not None or not isinstance(value, dict) or value.get("path") is None:
            return data
        path = self._inside(value["path"])
        with storage_errors("reading", path):
            return path.read_bytes()

    def _inside(self, name: str) -> Path:
        path = self._folder / name
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise DataFormatError(
                f"A row of {self._folder} names the image {name}, which lies outside of that folder.",
                hint="Store images' bytes in the dataset (as `save_to_disk` does), or their files in its folder.",
            )
        return path

    def _external(self) -> Part | None:
        """The image files that rows name instead of holding bytes: their content counts, too."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._rows().column(self._columns.image)
        if not pa.types.is_struct(column.type) or column.type.get_field_index("path") < 0:
            return None
        paths = pc.struct_field(column, "path").filter(pc.is_null(pc.struct_field(column, "bytes"))).drop_null()
        names = sorted(set(paths.to_pylist()))
        files = {name: self._inside(name) for name in names}
        with storage_errors("reading images of", self._folder):
            found = [[name, file_sha256(path)] for name, path in files.items()]
        return Part(_FILES_BY_PATH, 0, digest(found)) if found else None

    def _identify(self) -> Indices:
        import pyarrow as pa
        import pyarrow.compute as pc

        identities = np.concatenate([_by_row(part) for part in self._parts])
        if self._columns.uid is None:
            return identities
        column = self._rows().column(self._columns.uid)
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, "uid")
        for row, uid in enumerate(column.cast(pa.string()).to_pylist()):
            if uid is not None:
                identities[row] = _by_uid(uid)
        return identities


def open_saved(folder: Path, workers: int, progress: ProgressHook) -> HuggingFaceSource:
    """A dataset that ``Dataset.save_to_disk`` wrote.

    Args:
        folder: with ``dataset_info.json`` and ``state.json``.
        workers: threads that read files.
        progress: told how many are read.

    Raises:
        DataFormatError: a file is damaged, or leads out of the folder, or no column holds images.
        TrainingError: the dataset has no rows.
        StorageError: a file cannot be read.
    """
    state = folder / "state.json"
    with storage_errors("reading", state):
        content = state.read_bytes()
    try:
        names = sorted({str(entry["filename"]) for entry in json.loads(content)["_data_files"]})
    except (ValueError, KeyError, TypeError) as error:
        raise DataFormatError(f"{state} does not list data files.", hint="Save the dataset again.") from error
    if any(Path(name).name != name for name in names):
        raise DataFormatError(f"{state} lists files outside of {folder}.", hint="Save the dataset again.")
    paths = [folder / name for name in names]
    parts = _parts(folder, paths, names, _arrow_rows, workers, progress)
    with _readable(paths[0]):
        columns = columns_of(_arrow_schema(paths[0]), str(folder))
    return HuggingFaceSource(folder, paths, parts, columns)


def open_parquet(folder: Path, workers: int, progress: ProgressHook, named: str = "") -> HuggingFaceSource:
    """A dataset of parquet files, laid out as on the Hub (see ``training_files``).

    Args:
        folder: with ``*.parquet``, or with one folder that holds them.
        workers: threads that read files.
        progress: told how many are read.
        named: what stands before the files' names in those of the parts.

    Raises:
        DataFormatError: a file is damaged, files do not fit together, or no column holds images.
        TrainingError: the dataset has no rows.
        StorageError: a file cannot be read, or there is no room for the Arrow files.
    """
    found = [
        path.relative_to(folder).as_posix() for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern)
    ]
    names = training_files(found, str(folder))
    paths = [folder / name for name in names]
    parts = _parts(folder, paths, [named + name for name in names], _parquet_rows, workers, progress)
    with _readable(paths[0]):
        columns = columns_of(_parquet_schema(paths[0]), str(folder))
    content = digest([part.sha256 for part in parts])
    return HuggingFaceSource(folder, _converted(paths, columns, content, folder), parts, columns)


def _parts(
    folder: Path,
    paths: Sequence[Path],
    names: Sequence[str],
    rows: Callable[[Path], int],
    workers: int,
    progress: ProgressHook,
) -> list[Part]:
    read = engine_of(workers).map(
        partial(_measure, rows),
        {str(path): path for path in paths},
        stage="reading data files",
        needs=Needs(threads=True),
        progress=progress,
    )
    if not sum(count for count, _ in read.values()):
        raise TrainingError(f"The dataset in {folder} has no rows.", hint="Give another as --data-dir.")
    return [Part(part_name(name, folder), *read[str(path)]) for name, path in zip(names, paths, strict=True)]


def _measure(rows: Callable[[Path], int], path: Path) -> tuple[int, str]:
    with _readable(path):
        return rows(path), file_sha256(path)


def _arrow_rows(path: Path) -> int:
    import pyarrow as pa

    with pa.memory_map(str(path)) as stream, pa.ipc.open_stream(stream) as batches:
        return sum(batch.num_rows for batch in batches)


def _arrow_schema(path: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as stream, pa.ipc.open_stream(stream) as batches:
        return batches.schema


def _parquet_rows(path: Path) -> int:
    from pyarrow.parquet import read_metadata

    return int(read_metadata(path).num_rows)


def _parquet_schema(path: Path) -> Any:
    from pyarrow.parquet import read_schema

    return read_schema(path)


def _converted(paths: Sequence[Path], columns: Columns, content: str, folder: Path) -> list[Path]:
    """The files as Arrow files with these columns alone, in the cache of `datasets`."""
    import datasets
    from datasets.exceptions import DatasetGenerationError

    datasets.disable_progress_bars()
    cache = Path(datasets.config.HF_DATASETS_CACHE) / "datacup" / content
    try:
        table = datasets.Dataset.from_parquet(
            [str(path) for path in paths], cache_dir=str(cache), columns=columns.names
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno:
            with storage_errors("writing", cache):
                raise error.__cause__ from error
        reason = str(error.__cause__ or error).splitlines()[0]
        raise DataFormatError(
            f"The parquet files of {folder} cannot be read as one table ({reason}).",
            hint="Are all of one schema? " + _DAMAGED,
        ) from error
    return [Path(file["filename"]) for file in table.cache_files]


def _open_arrow(paths: Sequence[Path], columns: Columns) -> Any:
    """A table of these columns that reads rows quickly, mapped into memory."""
    from datasets import Dataset, concatenate_datasets

    with _readable(paths[0].parent):
        tables = [Dataset.from_file(str(path)).select_columns(columns.names) for path in paths]
        return concatenate_datasets(tables).data


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # Arrow's own, of damaged files, have no number
            raise storage_error(error, "reading", path) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataFormatError(f"{path} cannot be read ({reason}).", hint=_DAMAGED) from error


def _by_row(part: Part) -> Indices:
    rows = (f"{part.sha256}:{row}".encode() for row in range(part.samples))
    return np.fromiter((_hashed(row) for row in rows), dtype=np.int64, count=part.samples)


def _by_uid(uid: str) -> int:
    """As for shards, so that copies in several sources are known as such."""
    try:
        high, low = parse_uid(uid)
    except DataFormatError:
        return _hashed(uid.encode())
    return int(np.uint64(high ^ low).view(np.int64))


def _hashed(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little", signed=True)
