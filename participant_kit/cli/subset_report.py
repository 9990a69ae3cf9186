"""How a new subset is shown, whatever made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from participant_kit.cli.console import Console

if TYPE_CHECKING:
    from participant_kit.subsets import SubsetReport


def show_report(
    console: Console,
    report: SubsetReport,
    save_path: Path,
    source: str,
    shards: Path,
    *,
    payload: Mapping[str, Any] | None = None,
    more: Mapping[str, object] | None = None,
) -> None:
    """Rows in, rows dropped by reason, rows out; then what to do with the subset.

    Args:
        console: of the command.
        report: the subset's record.
        save_path: where the subset is.
        source: what the rows were read from, for instance "pool".
        shards: the pool's shards, as far as they are known.
        payload: the record and more, for programs; the record when absent.
        more: what else a person is shown.
    """
    shown: dict[str, object] = {"strategy": report.strategy, source: f"{report.total:,}"}
    shown |= {f"  dropped: {reason.replace('_', ' ')}": f"{count:,}" for reason, count in report.dropped.items()}
    if report.repeats:
        shown["  repeats"] = f"{report.repeats:,}"
    shown |= {f"{role} by": tool for role, tool in report.tools.items()}
    shown |= {
        role.replace("_", " "): f"{asset['file']} (sha256 {asset['sha256'][:12]})"
        for role, asset in report.assets.items()
    }
    shown |= {name.replace("_", " "): each for name, each in report.details.items() if not isinstance(each, list)}
    shown |= {"kept": f"{report.kept:,} ({report.kept / max(1, report.total):.1%})"}
    if report.shared_uids:
        shown["  with the uid of another"] = f"{report.shared_uids:,}"
    shown |= {**(more or {}), "subset": save_path}
    if report.picture:
        shown["picture"] = save_path.with_name(report.picture)
    console.pairs(report.as_json() if payload is None else payload, shown)
    console.next_step(f"datacup reshard -i {shards} -o shards/{save_path.stem} -s {save_path}")
