"""The record beside every labelled dataset: how it was made, from what, and how it is spread over the classes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import competition
from competition.data.atomic import write_bytes
from competition.errors import UsageError

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class LabelledReport:
    """How a labelled dataset was made; written beside its table as ``<table>.json``. The same run always gives the same
    report.

    Args:
        strategy: its name.
        options: as given or by default; a file appears by name, its digest in ``assets``.
        files: parquet files (or tables of labels) read.
        total: rows read.
        kept: rows of the table; without ``repeats`` and with ``dropped`` they sum to ``total``.
        dropped: rows by the first reason that met them.
        repeats: rows of the table beyond the first of samples that have several labels; of ``balance``, beyond the
            first copy of a row that was read.
        missing: samples that were asked for by ``--size`` and are not there.
        per_class: samples by class id, in the order of the class list.
        balance: SELECT's figures about them, see ``class_statistics.ClassBalance``.
        empty_classes: ids of classes without a sample.
        few_images: ids of classes that have some but fewer than 500, or than ``--per-class`` asks for.
        largest_classes: ids and samples of the largest 5 % of the classes, the largest first.
        notes: what the strategy alone can say, for instance which labels no class was found for.
        assets: further files that the result depends on: role to name and sha256.
        tools: what worked on it where that matters: role to name.
        table: file name of the table, a parquet of uid, label, score and source.
        table_sha256: digest of its bytes.
        subset: file name of the same samples' uids.
        subset_sha256: digest of its bytes.
        code_version: of DataCup.
        format_version: of this record.
    """

    strategy: str
    options: dict[str, Any]
    files: int
    total: int
    kept: int
    dropped: dict[str, int]
    repeats: int
    missing: int
    per_class: dict[str, int]
    balance: dict[str, Any]
    empty_classes: list[str]
    few_images: list[str]
    largest_classes: list[tuple[str, int]]
    notes: dict[str, Any]
    assets: dict[str, dict[str, str]]
    tools: dict[str, str]
    table: str
    table_sha256: str
    subset: str
    subset_sha256: str
    code_version: str = competition.__version__
    format_version: int = field(default=REPORT_VERSION)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self) | {"largest_classes": [list(pair) for pair in self.largest_classes]}

    def write(self, table: Path) -> None:
        """Put the record beside the table.

        Raises:
            StorageError: the disk is full or the path cannot be written.
        """
        text = json.dumps(self.as_json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        write_bytes(table.with_name(f"{table.name}.json"), text.encode())


def check_table_path(path: Path) -> None:
    """Refuse a path that is no table's.

    Raises:
        UsageError: it does not end in ``.parquet``.
    """
    if path.suffix != ".parquet":
        raise UsageError(
            f"The save path {path} does not end in .parquet.",
            hint="A labelled dataset is a parquet table; its uids go to an .npy file of the same stem.",
        )
