"""What is wrong with a pool or a subset, and is only reported where a participant says so."""

from __future__ import annotations

from pathlib import Path

from competition.errors import DataFormatError
from participant_kit.reshard.report import ReshardReport


def refuse_faults(report: ReshardReport, tolerate: int, subset_path: Path) -> None:
    """Stop when there are more faults than tolerated, be they of this run or of a finished one.

    Raises:
        DataFormatError: names the first fault.
    """
    if report.faults <= tolerate:
        return
    first = (
        report.damaged_shards[0]
        if report.damaged_shards
        else f"{report.lost} entries of {subset_path} have a sample in the pool whose json cannot be read."
    )
    others = f" {report.faults - 1} more faults." if report.damaged_shards and report.faults > 1 else ""
    raise DataFormatError(
        first,
        hint=f"Get the damaged shards again; then run the same command: finished work is kept. Or pass "
        f"`--tolerate {report.faults}` to go on without what is lost.{others}",
    )
