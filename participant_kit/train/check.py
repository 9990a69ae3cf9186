"""Before a long run: are data, disk, memory and recipe fit for it, and how long will it take?

Twenty real steps are trained in a temporary folder. The run's own folder is only read.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from competition.errors import DataCupError
from competition.progress import ProgressHook
from participant_kit.train.check_report import CheckReport, DataFound, DiskFound, MemoryFound, TimeFound
from participant_kit.train.checkpoint import saved_bytes
from participant_kit.train.data.choice import DataChoice, open_data
from participant_kit.train.data.loader import Share
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.distributed import Group, join
from participant_kit.train.ingredients import ingredients_of
from participant_kit.train.launcher import FollowerError, Plan, checkpoint_of, finished, prepare
from participant_kit.train.machine import Machine
from participant_kit.train.probe import Probe, probe
from participant_kit.train.problems import Problems
from participant_kit.train.room import bytes_free, bytes_wanted, require_room
from participant_kit.train.run import Run
from participant_kit.train.spot_check import SpotCheck, require_tolerable, spot_check


def check(plan: Plan, machine: Machine | None = None, *, progress: ProgressHook | None = None) -> CheckReport:
    """Check what a run needs, and train its first steps on a copy that is thrown away.

    With the processes that torchrun or SLURM started together with this one; each of them opens the data itself.

    Args:
        plan: of the run; its folder is neither made nor changed.
        machine: how this machine is used.
        progress: told where the check stands.

    Raises:
        DataCupError: the run cannot go ahead; all that is wrong is said at once.
        FollowerError: the leader says what is wrong.
    """
    machine = machine or Machine()
    hook = progress or (lambda _progress: None)
    problems = Problems()
    with (
        torch.random.fork_rng(devices=[]),
        join(machine.device) as group,
        machine.thread_count() as threads,
        TemporaryDirectory(prefix="datacup-check-") as scratch,
    ):
        _look_at_place(plan, group, problems)
        started = time.monotonic()
        aside = replace(plan, output_dir=Path(scratch), exp_name="probe")
        data = _opened(plan.data, aside.folder, threads, hook, problems)
        if not all(group.gathered(data is not None)) or data is None:
            raise _said(problems, group)
        trial: _Trial | None = None
        with problems:
            run = prepare(aside, data, machine, threads, group, hook)
            seconds = time.monotonic() - started
            trial = _Trial(run, probe(run), seconds, _peaks(group))
        if trial is None and group.world > 1:  # the others may wait in the middle of a step: nothing more can be asked
            raise _said(problems, group)
        report = _findings(plan, data, trial, threads, problems) if group.leader else None
        if group.told(bool(problems)):
            raise _said(problems, group)
        return group.told(report)


@dataclass(frozen=True, slots=True)
class _Trial:
    """The run that was probed; peaks of memory are in MiB."""

    run: Run
    probe: Probe
    seconds_to_start: float
    peaks: tuple[int, int]


def _look_at_place(plan: Plan, group: Group, problems: Problems) -> None:
    """What can be said without the data."""
    with problems:
        bytes_free(plan.folder)
    with problems:
        Share(group.rank, group.world).of(plan.recipe.global_batch)


def _opened(
    choice: DataChoice, folder: Path, threads: int, progress: ProgressHook, problems: Problems
) -> TrainingSet | None:
    """The data; or, when they cannot be opened, what is wrong with each of their sources."""
    try:
        return open_data(choice, folder, threads, progress)
    except DataCupError as error:
        each = Problems()
        for source in choice.sources:
            with each:
                open_data(DataChoice((source,)), folder, threads, progress)
        for problem in each.errors or [error]:  # the sources may be sound, and not fit together
            problems.add(problem)
    return None


def _said(problems: Problems, group: Group) -> Exception:
    return problems.all() if group.leader and problems else FollowerError()


def _peaks(group: Group) -> tuple[int, int]:
    """The largest peaks of memory among the processes: in all, and on the GPU."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
    gpu = torch.cuda.max_memory_allocated(group.device) // 2**20 if group.device.type == "cuda" else 0
    memories, gpus = zip(*group.gathered((memory, gpu)), strict=True)
    return max(memories), max(gpus)


def _findings(
    plan: Plan, data: TrainingSet, trial: _Trial | None, threads: int, problems: Problems
) -> CheckReport | None:
    """What else is found: a report, or problems."""
    spot, disk, done = None, None, 0
    with problems:
        spot = _spot(plan, data, trial, threads)
        require_tolerable(spot, data, plan.recipe)
    with problems:
        done = _steps_done(plan, data)
    if trial is not None:
        with problems:
            disk = _disk(plan, trial.run, done)
            require_room(plan.folder, disk.wanted_bytes, disk.free_bytes)
    if problems or trial is None or spot is None or disk is None:
        return None
    return _report(data, trial, spot, disk, done)


def _spot(plan: Plan, data: TrainingSet, trial: _Trial | None, threads: int) -> SpotCheck:
    if trial is not None:
        return spot_check(data, trial.run.preparation, plan.seed, threads)
    alone = Group(0, 1, torch.device("cpu"))
    return spot_check(data, ingredients_of(plan.recipe, data, plan.seed, alone).preparation, plan.seed, threads)


def _steps_done(plan: Plan, data: TrainingSet) -> int:
    """Steps of a run of the same thing that lies in the plan's folder (raises if it is one of something else)."""
    report, saved = finished(plan, data.digest), checkpoint_of(plan, data)
    if report is not None:
        return report.steps
    return saved[1].steps_done if saved is not None else 0


def _disk(plan: Plan, run: Run, done: int) -> DiskFound:
    checkpoint, model = saved_bytes(run.trainer)
    return DiskFound(
        checkpoint_bytes=checkpoint,
        model_bytes=model,
        wanted_bytes=bytes_wanted(plan.folder, checkpoint, model) if done < run.steps else 0,
        free_bytes=bytes_free(plan.folder),
    )


def _report(data: TrainingSet, trial: _Trial, spot: SpotCheck, disk: DiskFound, done: int) -> CheckReport:
    run, group = trial.run, trial.run.group
    recipe = run.recipe
    return CheckReport(
        recipe=recipe.id,
        recipe_digest=recipe.digest,
        seed=run.state.seed,
        steps=run.steps,
        steps_done=done,
        global_batch=recipe.global_batch,
        processes=group.world,
        device=torch.cuda.get_device_name(group.device) if group.device.type == "cuda" else "CPU",
        data=DataFound.of(data, recipe, spot, apart=run.apart),
        disk=disk,
        memory=MemoryFound.of(trial.peaks, group),
        time=TimeFound.of(trial.probe, trial.seconds_to_start, run.steps - done, recipe.global_batch, group),
    )
