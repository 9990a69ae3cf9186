"""A participant's own Python function on the pool's metadata."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from competition.data.digests import file_sha256
from competition.data.engine import Workers
from competition.data.metadata import column_types, column_uids, list_metadata, read_columns
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.record import SubsetReport
from participant_kit.subsets.result import SubsetResult
from participant_kit.subsets.run import Choice, run_choice
from participant_kit.subsets.where import keep_true

_EXAMPLE = "For instance: def keep(frame): return frame['original_width'] >= 200"


def function_subset(
    function: str, metadata_dir: Path, save_path: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> SubsetReport:
    """Keep the rows for which a function says true.

    The function takes the metadata of one file as a ``polars.DataFrame`` with all its columns, and returns one boolean
    ``polars.Series`` with a value for each row. It is called once a file, in the workers' processes, possibly twice for
    the same file: what it says about a row shall depend on that row alone, or the result depends on how the pool is
    cut into files. It runs with all rights of the person who runs the command. Rows with null are dropped and counted.

    Args:
        function: ``FILE.py:NAME``.
        metadata_dir: the pool's metadata folder.
        save_path: the ``.npy`` to write; the record, with the file's sha256, goes to ``<save_path>.json``.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every metadata file.

    Raises:
        UsageError: no such file or function, or it fails or returns something else; or a bad save path.
        DataFormatError: a metadata file is damaged.
        StorageError: a file cannot be read or written.
    """
    file, colon, name = function.rpartition(":")
    path = Path(file)
    if not (colon and name.isidentifier() and path.suffix == ".py"):
        raise UsageError(f"The function {function!r} is not of the form FILE.py:NAME.", hint=_EXAMPLE)
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    path = path.resolve()
    sha256 = file_sha256(path)
    load_function(path, name, sha256)
    list_metadata(metadata_dir)
    choice = Choice("function", {"function": name}, partial(_select, path, name, sha256), {"function": path})
    return run_choice(choice, metadata_dir, save_path, workers, progress)


@lru_cache(maxsize=1)
def load_function(path: Path, name: str, sha256: str) -> Callable[[pl.DataFrame], Any]:
    """The function of a Python file, which is run once a process. Its folder can be imported from.

    Raises:
        UsageError: the file cannot be run, has no such function, or changed since its digest was taken.
    """
    if file_sha256(path) != sha256:
        raise UsageError(f"The file {path} changed while it was in use.", hint="Run the same command again.")
    spec = importlib.util.spec_from_file_location(f"datacup_function_{sha256[:16]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"The file {path} cannot be run: {_said(error, path)}.") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"The file {path} has no function {name}.", hint=_EXAMPLE)
    chosen: Callable[[pl.DataFrame], Any] = found
    return chosen


def _select(path: Path, name: str, sha256: str, pool: MetadataPool) -> SubsetResult:
    return pool.select(partial(_select_file, path, name, sha256), f"calling {name}")


def _select_file(source: Path, name: str, sha256: str, path: Path) -> SubsetResult:
    function = load_function(source, name, sha256)
    table = read_columns(path, column_types(path).names)
    frame = pl.DataFrame([pl.Series(column, table.column(column)) for column in table.column_names])
    try:
        answers = function(frame)
    except Exception as error:
        raise UsageError(f"The function {name} failed on {path.name}: {_said(error, source)}.") from error
    if not isinstance(answers, pl.Series) or answers.dtype != pl.Boolean or len(answers) != table.num_rows:
        kind = f"a Series of {len(answers)} {answers.dtype}" if isinstance(answers, pl.Series) else f"{type(answers)}"
        raise UsageError(
            f"The function {name} returned {kind} for the {table.num_rows} rows of {path.name}, "
            "not a boolean Series of as many values.",
            hint=_EXAMPLE,
        )
    return keep_true(answers, "function").result(column_uids(table, path))


def _said(error: Exception, source: Path) -> str:
    """What went wrong, and in which line of the participant's file."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(source):
            line = trace.tb_lineno
        trace = trace.tb_next
    place = f"line {line}: " if line else ""
    return f"{place}{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(". :")
