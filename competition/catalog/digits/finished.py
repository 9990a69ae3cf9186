"""Whether the evaluation sets of the digits suites are there: to look costs none of the imports that make them."""

from __future__ import annotations

from pathlib import Path

REVISION = 2
"""Rises with every change of the sets' content, so that sets of an older revision are built again."""

REVISION_FILE = "revision.txt"
SET_NAMES = ("digits-test", "digits-shift", "digits-retrieval", "digits-hidden", "digits-probe")


def is_complete(folder: Path) -> bool:
    """The set was built by this revision."""
    path = folder / REVISION_FILE
    return path.exists() and path.read_text() == str(REVISION)


def all_complete(root: Path) -> bool:
    """All of the sets are below ``root``."""
    return all(is_complete(root / name) for name in SET_NAMES)
