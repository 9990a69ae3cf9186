"""Suites whose sets are made from code instead of downloaded."""

from __future__ import annotations

from pathlib import Path

from competition.catalog.digits.finished import all_complete

DIGITS_SUITES = ("digits", "digits-classification", "digits-features")


def must_be_made(suite_id: str, root: Path) -> bool:
    """Whether sets of this suite are made from code and are not all below ``root``. Cheap: nothing heavy is loaded."""
    return suite_id in DIGITS_SUITES and not all_complete(root)
