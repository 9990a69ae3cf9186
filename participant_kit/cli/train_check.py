"""``datacup train --check``: can the run go ahead, and how long will it take?"""

from __future__ import annotations

from contextlib import nullcontext

from participant_kit.cli.console import Console
from participant_kit.train.check import check
from participant_kit.train.check_report import CheckReport, DataFound
from participant_kit.train.launcher import Plan
from participant_kit.train.machine import Machine, is_leader


def show_check(plan: Plan, machine: Machine, console: Console) -> None:
    """Check a run and show what was found (raises what ``check`` raises)."""
    with console.progress(f"Checking {plan.recipe.id}") if is_leader() else nullcontext() as progress:
        report = check(plan, machine, progress=progress)
    if is_leader():
        console.pairs(report.model_dump(mode="json"), _shown(report))
        console.note("The run can go ahead.")


def _shown(report: CheckReport) -> dict[str, object]:
    disk, memory, time = report.disk, report.memory, report.time
    shown: dict[str, object] = {
        "recipe": report.recipe,
        "steps": f"{report.steps:,}" + (f", {report.steps_done:,} done" if report.steps_done else ""),
        "batch": f"{report.global_batch:,} samples over {report.processes} processes ({report.device})",
        **_data(report.data),
        "checkpoint": _mib(disk.checkpoint_bytes),
        "model": _mib(disk.model_bytes),
        "disk": f"{_mib(disk.wanted_bytes)} wanted, {_mib(disk.free_bytes)} free",
        "peak memory": f"{memory.peak_mib:,} MiB a process",
    }
    if memory.peak_gpu_mib is not None:
        shown["peak GPU memory"] = f"{memory.peak_gpu_mib:,} of {memory.gpu_mib:,} MiB"
    return shown | {
        "samples per second": f"{time.samples_per_second:,.1f} (over {time.measured_steps} steps)",
        "waiting for data": f"{time.data_wait_share:.1%} of the time",
        "estimated time": f"{_duration(time.estimated_seconds)}, of which {_duration(time.seconds_to_start)} to start",
        "estimated finish": f"{time.estimated_finish:%Y-%m-%d %H:%M} UTC, if started now",
        "estimated GPU-hours": f"{time.estimated_gpu_hours:,.2f}",
    }


def _data(data: DataFound) -> dict[str, object]:
    sources = " + ".join(f"{samples:,}" for samples in data.source_samples)
    copies = "no two copies of one meet in a batch" if data.copies_kept_apart else "copies of one may meet in a batch"
    corrupt = f"{data.corrupt:,} of {data.drawn:,} drawn; the recipe tolerates {data.corrupt_tolerance:.2%}"
    return {
        "samples": f"{data.samples:,}" + (f" ({sources})" if len(data.source_samples) > 1 else ""),
        "sources": len(data.source_samples),
        "parts": f"{data.parts:,}",
        "uids": f"{data.distinct_uids:,} distinct; {copies}",
        "corrupt": "; ".join([corrupt, *data.corrupt_named]),
    }


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m {rest:02}s" if hours else f"{minutes}m {rest:02}s"
