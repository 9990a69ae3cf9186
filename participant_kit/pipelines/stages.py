"""Finished stages on the disk: ``stages/<digest>/``, made in a folder beside it and moved there as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import competition
from competition.data.atomic import make_folder, storage_errors, write_bytes
from competition.data.digests import file_sha256
from competition.errors import UsageError
from competition.records.base import Record, Sha256
from competition.records.lineage import Count
from participant_kit.pipelines.operations import RESULT_NAMES, SUBSET_NAME, Made

CACHE_FORMAT = 1
_MARK, _RESULT = "cache.json", "stage.json"
_PARTIAL = ".partial"


class StageResult(Record):
    """What a stage came to."""

    total: Count
    kept: Count
    repeats: Count
    dropped: dict[str, Count]
    subset_sha256: Sha256

    @classmethod
    def of(cls, made: Made) -> StageResult:
        """From the record of the strategy or operation that ran."""
        return cls(
            total=made.total,
            kept=made.kept,
            repeats=made.repeats,
            dropped=made.dropped,
            subset_sha256=made.subset_sha256,
        )


@dataclass(frozen=True, slots=True)
class StageCache:
    """The stages of one output folder. Nobody else may be at work there.

    Args:
        folder: of all stages.
    """

    folder: Path

    @property
    def used(self) -> bool:
        """A run was here."""
        return (self.folder / _MARK).exists()

    def check_format(self) -> str | None:
        """The version of DataCup that last worked here, where it is another one: its stages are not used.

        Raises:
            UsageError: the stages are laid out as another version of DataCup does it.
            StorageError: the folder cannot be read.
        """
        path = self.folder / _MARK
        if not self.used:
            return None
        with storage_errors("reading", path):
            content = path.read_bytes()
        try:
            mark: dict[str, Any] = json.loads(content)
            layout, version = mark["format_version"], str(mark["code_version"])
        except (ValueError, KeyError, TypeError):
            layout, version = None, "an unknown version"
        if layout != CACHE_FORMAT:
            raise UsageError(
                f"The stages in {self.folder} were kept by another version of DataCup, in a form that this one does "
                f"not know ({layout}).",
                hint="Choose another --output-dir, or remove that folder.",
            )
        return None if version == competition.__version__ else version

    def mark(self) -> None:
        """Say by which version the stages are kept."""
        make_folder(self.folder)
        content = {"format_version": CACHE_FORMAT, "code_version": competition.__version__}
        write_bytes(self.folder / _MARK, (json.dumps(content) + "\n").encode())

    def subset(self, digest: str) -> Path:
        """The subset of a finished stage."""
        return self.folder / digest / SUBSET_NAME

    def find(self, digest: str) -> StageResult | None:
        """The result of a stage that was finished, and whose subset is still what it was."""
        try:
            result = StageResult.model_validate_json((self.folder / digest / _RESULT).read_bytes())
            unchanged = file_sha256(self.subset(digest)) == result.subset_sha256
        except (OSError, ValidationError):
            return None
        return result if unchanged else None

    def make(self, digest: str, make: Callable[[Path], Made]) -> StageResult:
        """Have a stage made in a folder of its own, which holds what a killed run of it left, and keep it.

        Raises:
            StorageError: the disk is full, or a path cannot be written.
        """
        final, partial = self.folder / digest, self.folder / f"{digest}{_PARTIAL}"
        make_folder(partial)
        result = StageResult.of(make(partial))
        write_bytes(partial / _RESULT, result.model_dump_json(indent=2).encode())
        with storage_errors("moving a stage to", final):
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
        return result

    def files(self, digest: str) -> list[Path]:
        """What belongs to the result of a finished stage."""
        return [path for path in (self.folder / digest / name for name in RESULT_NAMES) if path.exists()]

    def clear(self) -> None:
        """Remove what killed runs left of stages that nobody asks for any more.

        Raises:
            StorageError: it cannot be removed.
        """
        for path in self.folder.glob(f"*{_PARTIAL}"):
            with storage_errors("removing", path):
                shutil.rmtree(path)
