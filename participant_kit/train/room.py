"""Room on the disk for what a run writes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from competition.errors import StorageError
from participant_kit.train.checkpoint import KEPT
from participant_kit.train.run import CHECKPOINTS


def bytes_wanted(folder: Path, checkpoint: int, model: int) -> int:
    """Bytes that a run in ``folder`` may still take: the checkpoints that are kept, one that is being written, and
    the model; less what an interrupted run has written already."""
    written = sum(path.stat().st_size for path in (folder / CHECKPOINTS).glob("step-*/*"))
    return max(0, (KEPT + 1) * checkpoint + model - written)


def bytes_free(folder: Path) -> int:
    """Free bytes where ``folder`` lies or would be made (raises ``StorageError`` if nothing can be written there)."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise StorageError(f"{existing} is no folder.", hint="Choose another --output-dir.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StorageError(f"Permission is denied to write to {existing}.", hint="Choose another --output-dir.")
    return shutil.disk_usage(existing).free


def require_room(folder: Path, wanted: int, free: int) -> None:
    """Refuse a disk that would be full before the run ends (raises ``StorageError``)."""
    if wanted > free:
        raise StorageError(
            f"The run may write {wanted / 2**20:,.1f} MiB more to {folder}, and {free / 2**20:,.1f} MiB are free.",
            hint="Free some space, or choose an --output-dir on another disk.",
        )
