"""The tasks of a suite spread over several devices: a process and a copy of the model for each."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from competition.data.atomic import storage_errors
from competition.data.engine import LocalEngine, Needs
from competition.data.journal import Journal
from competition.errors import EngineError
from competition.evaluation.decoding import processors
from competition.evaluation.entrants import Entrant
from competition.evaluation.protocols import Subject
from competition.evaluation.shares import shares
from competition.evaluation.task import evaluate_task
from competition.progress import Progress
from competition.records.evaluation import TaskResult
from competition.rules.suites import Suite, Task

ResultCallback = Callable[[TaskResult], None]


@dataclass(frozen=True, slots=True)
class _Spread:
    """What all processes work on; ``claims`` is a folder where each of them takes a device for itself."""

    entrant: Entrant
    suite: Suite
    root: Path
    devices: tuple[str, ...]
    claims: Path


@dataclass(frozen=True, slots=True)
class _Share:
    """Tasks on the same evaluation set, so that its features are computed on one device only."""

    spread: _Spread
    tasks: tuple[str, ...]


class _Claimed:
    """The device of this process, and what was loaded on it; both last as long as the process."""

    device: torch.device | None = None
    claim: IO[bytes] | None = None
    subject: Subject | None = None


def default_devices() -> tuple[torch.device, ...]:
    """All GPUs that this process may use, else the CPU."""
    return tuple(torch.device("cuda", number) for number in range(torch.cuda.device_count())) or (torch.device("cpu"),)


def evaluate_spread(
    entrant: Entrant,
    suite: Suite,
    tasks: Sequence[Task],
    root: Path,
    devices: Sequence[torch.device],
    on_result: ResultCallback,
) -> None:
    """Evaluate tasks with as many processes as there are devices, and say each result as soon as its set is done.

    Args:
        entrant: is loaded once a device.
        suite: of the tasks.
        tasks: to evaluate.
        root: folder of the evaluation sets.
        devices: more than one; the same one twice makes two processes on it.
        on_result: called in this process.

    Raises:
        EvaluationError: as ``evaluate_task``; the tasks on other sets were finished first.
        EngineError: a process died twice.
    """
    with tempfile.TemporaryDirectory(prefix="datacup-devices-") as scratch:
        names = tuple(str(device) for device in devices)
        spread = _Spread(entrant, suite, root.absolute(), names, Path(scratch))
        work = {", ".join(each): _Share(spread, each) for each in shares(tasks)}
        finished = Journal(Path(scratch) / "finished.jsonl", suite.digest, synced=False)

        def tell(progress: Progress) -> None:
            for result in finished.completed.get(progress.task, ()):
                on_result(TaskResult.model_validate_json(result))

        engine = LocalEngine(len(devices), gpus=len(devices))
        stage = f"evaluating {suite.reference}"
        engine.map(_evaluate_share, work, stage=stage, needs=Needs(gpus=1), journal=finished, progress=tell)


def _evaluate_share(share: _Share) -> list[str]:
    """Results as JSON of the tasks of a share, in a process of the pool."""
    spread = share.spread
    if _Claimed.device is None:
        torch.set_num_threads(max(1, processors() // len(spread.devices)))
        _Claimed.device = torch.device(_claim(spread))
        if _Claimed.device.type == "cuda":
            torch.cuda.set_device(_Claimed.device)
    if _Claimed.subject is None:
        _Claimed.subject = spread.entrant.load(_Claimed.device, spread.suite.precision, spread.root)
    tasks = [spread.suite.task(name) for name in share.tasks]
    results = [evaluate_task(_Claimed.subject, task, spread.suite, spread.root) for task in tasks]
    return [result.model_dump_json() for result in results]


def _claim(spread: _Spread) -> str:
    """A device that no other process has; the system takes the claim back when this one ends, however it ends."""
    for number, device in enumerate(spread.devices):
        path = spread.claims / f"{number}.claim"
        with storage_errors("opening", path):
            stream = path.open("wb")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            continue
        _Claimed.claim = stream
        return device
    raise EngineError(f"All of {len(spread.devices)} devices are taken.", hint="Run the same command again.")
