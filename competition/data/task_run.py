"""The state of one run over tasks, and what it says when it fails: the same whatever runs the tasks."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors
from competition.data.journal import Journal
from competition.data.outcome import HOST, Done, Failure, Outcome
from competition.errors import DataCupError, EngineError, StorageError
from competition.progress import Progress, ProgressHook

FAILURE_LIMIT = 16
"""Failed tasks after which no further task is started: more of them would say nothing new."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How an engine treats every task.

    Args:
        retries: how often a task is tried again after a failure that is not a user's error, or a worker's death.
        log: a file that gets a JSON line for every attempt: stage, task, host, seconds, error.
    """

    retries: int
    log: Path | None = None


class TaskRun:
    """Which tasks wait, which are done, and which failed.

    Args:
        tasks: names, in the order of the results.
        stage: what is being done, in words.
        conduct: of the engine.
        journal: its completed tasks are done; further ones are recorded in it.
        progress: told at the start and after every finished task.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        stage: str,
        conduct: Conduct,
        journal: Journal | None = None,
        progress: ProgressHook | None = None,
    ) -> None:
        self.stage = stage
        self._order = list(tasks)
        self._conduct = conduct
        self._journal = journal
        self._progress = progress
        completed = journal.completed if journal else {}
        self._results: dict[str, Any] = {name: completed[name] for name in self._order if name in completed}
        self._resumed = len(self._results)
        self._waiting = deque(name for name in self._order if name not in self._results)
        self._attempts: dict[str, int] = {}
        self._failures: dict[str, Failure] = {}
        self._report(Progress(stage, self._resumed, len(self._order), self._resumed))

    @property
    def waiting(self) -> int:
        """Tasks that have to be started yet."""
        return len(self._waiting)

    @property
    def open(self) -> bool:
        """There is a task to start, and no reason not to."""
        return bool(self._waiting) and not self._stopped

    def take(self) -> str:
        """The next task to start."""
        return self._waiting.popleft()

    def note(self, name: str, outcome: Outcome) -> None:
        """What became of a task: it is done, waits for another attempt, or has failed."""
        self._attempts[name] = self._attempts.get(name, 0) + 1
        self._log(name, outcome)
        if isinstance(outcome, Done):
            if self._journal is not None:
                self._journal.record(name, outcome.result)
            self._results[name] = outcome.result
            done, total = len(self._results), len(self._order)
            self._report(Progress(self.stage, done, total, self._resumed, name, outcome.seconds, outcome.host))
        elif isinstance(outcome.error, DataCupError) or self._attempts[name] > self._conduct.retries:
            self._failures[name] = outcome
        else:
            self._waiting.append(name)

    def finish(self) -> dict[str, Any]:
        """All results in the order of the tasks.

        Raises:
            DataCupError: a task met a user's error.
            EngineError: a task failed otherwise.
        """
        if self._failures:
            raise self._failure()
        return {name: self._results[name] for name in self._order}

    @property
    def _stopped(self) -> bool:
        return len(self._failures) >= FAILURE_LIMIT or any(
            isinstance(failure.error, StorageError) for failure in self._failures.values()
        )

    def _report(self, progress: Progress) -> None:
        if self._progress is not None:
            self._progress(progress)

    def _log(self, name: str, outcome: Outcome) -> None:
        if self._conduct.log is None:
            return
        line: dict[str, Any] = {"stage": self.stage, "task": name, "host": outcome.host}
        if isinstance(outcome, Done):
            line["seconds"] = round(outcome.seconds, 6)
        else:
            line["error"] = f"{type(outcome.error).__name__}: {outcome.error}"
        with storage_errors("writing", self._conduct.log), self._conduct.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _failure(self) -> Exception:
        """The first task's own error if it is a user's error, else one that names the tasks."""
        failed = [name for name in self._order if name in self._failures]
        first = next((name for name in failed if isinstance(self._failures[name].error, DataCupError)), failed[0])
        cause, host = self._failures[first].error, self._failures[first].host
        if isinstance(cause, DataCupError):
            others = [name for name in failed if name != first]
            if others:
                hint = f"{cause.hint.removesuffix('.')}. " if cause.hint else ""
                cause.hint = f"{hint}{len(others)} more failed: {_names(others)}."
            return cause
        left = len(self._order) - len(self._results) - len(failed)
        error = EngineError(
            f"{len(failed)} of {len(self._order)} tasks failed while {self.stage}: {_names(failed)}; "
            f"the first cause{f' (on {host})' if host != HOST else ''} is {type(cause).__name__}: {cause}.",
            hint="Finished tasks are kept; run the same command again."
            + (f" {left} were not started." if left else ""),
        )
        error.__cause__ = cause
        return error


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
