"""The record beside every subset file: how it was made, and from what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import competition
from competition.data.atomic import storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.errors import UsageError

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class SubsetReport:
    """How a subset was made; written beside it as ``<subset>.json``. The same run always gives the same report.

    Args:
        strategy: its name, or that of the operation on subsets.
        options: those that were given or are the strategy's defaults; a file appears by name, its digest in ``assets``.
        metadata_files: parquet files read; 0 where only subsets were.
        total: metadata rows, or rows of subsets, read.
        kept: uids in the subset; without ``repeats`` and with ``dropped`` they sum to ``total``.
        dropped: rows by the first reason that met them.
        repeats: copies beyond the first of rows that were drawn more than once.
        assets: further files that the result depends on: role to name and sha256.
        tools: programs that worked on it where there is more than one with the same answers: role to name. Language is
            found by ``native`` (compiled with DataCup), ``fasttext``, or ``gcld3`` of the named version.
        subset: file name of the subset.
        subset_sha256: digest of its bytes.
        code_version: of DataCup.
        format_version: of this record.
        shared_uids: kept rows whose uid another one before them has, since rows of the metadata share it.
        details: what the strategy found on its way.
        picture: file name of the SVG that shows it; empty where there is none.
    """

    strategy: str
    options: dict[str, Any]
    metadata_files: int
    total: int
    kept: int
    dropped: dict[str, int]
    repeats: int
    assets: dict[str, dict[str, str]]
    tools: dict[str, str]
    subset: str
    subset_sha256: str
    code_version: str = competition.__version__
    format_version: int = REPORT_VERSION
    shared_uids: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    picture: str = ""

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)

    def write(self, save_path: Path) -> None:
        """Put the record beside the subset ``save_path``, and remove the picture of one that was there before.

        Raises:
            StorageError: the disk is full or the path cannot be written.
        """
        with storage_errors("removing", picture_path(save_path)):
            picture_path(save_path).unlink(missing_ok=True)
        text = json.dumps(self.as_json(), indent=2, sort_keys=True) + "\n"
        write_bytes(record_path(save_path), text.encode())


def record_path(subset: Path) -> Path:
    """Where a subset's record lies."""
    return subset.with_name(f"{subset.name}.json")


def picture_path(subset: Path) -> Path:
    """Where a subset's picture lies, if its strategy draws one."""
    return subset.with_name(f"{subset.name}.svg")


def digests(paths: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Files by role as a record names them: file name and sha256, never a folder of this machine."""
    return {role: {"file": path.name, "sha256": file_sha256(path)} for role, path in paths.items()}


def check_save_path(save_path: Path) -> None:
    """Refuse a path that is no subset's.

    Raises:
        UsageError: it does not end in ``.npy``.
    """
    if save_path.suffix != ".npy":
        raise UsageError(f"The save path {save_path} does not end in .npy.", hint="A subset is a `.npy` file of uids.")
