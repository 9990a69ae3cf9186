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
    repair, alone = "Get the damaged shards again; then run the same command: finished work is kept.", 1
    if report.damaged_shards:
        first = report.damaged_shards[0]
    elif report.foreign:
        examples = ", ".join(report.foreign_examples)
        first = f"{report.foreign:,} uids of {subset_path} are neither in the pool's shards nor in its metadata"
        first, alone, repair = f"{first} (first: {examples}).", report.foreign, "Was the subset made for another pool?"
    else:
        first = f"{report.lost} entries of {subset_path} have a sample in the pool whose json cannot be read."
        alone = report.lost
    others = f" {report.faults - alone} more faults." if report.faults > alone else ""
    raise DataFormatError(
        first, hint=f"{repair} Or pass `--tolerate {report.faults}` to go on without what is lost.{others}"
    )
