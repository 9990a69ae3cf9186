"""What a killed run had finished: one JSON line for each result, so that the next run goes on from there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors, write_bytes


class Journal:
    """Results by task name, appended to a file one by one.

    The first line names the conditions (``fingerprint``) under which the results were obtained. A journal of other
    conditions is started afresh. A line torn by a kill is dropped, so its task runs again.

    Args:
        path: the file; its folder must exist.
        fingerprint: any text that changes whenever the results would, for instance a digest of inputs and options.
        synced: wait for the disk after every result, so that it survives a power cut and not only a killed process.

    Raises:
        StorageError: the file cannot be read or written.
    """

    def __init__(self, path: Path, fingerprint: str, *, synced: bool = True) -> None:
        self.path = path
        self._synced = synced
        self._completed: dict[str, Any] = {}
        lines = self._read_lines()
        if lines and lines[0] == {"fingerprint": fingerprint}:
            for line in lines[1:]:
                self._completed[line["task"]] = line["result"]
        kept = [{"fingerprint": fingerprint}, *({"task": k, "result": v} for k, v in self._completed.items())]
        write_bytes(path, b"".join(map(_encode, kept)), synced=synced)

    @property
    def completed(self) -> dict[str, Any]:
        """Results recorded so far, by task name."""
        return dict(self._completed)

    def record(self, task: str, result: Any) -> None:
        """Add a finished task; ``result`` must be JSON."""
        with storage_errors("writing", self.path), self.path.open("ab") as stream:
            stream.write(_encode({"task": task, "result": result}))
            stream.flush()
            if self._synced:
                os.fsync(stream.fileno())
        self._completed[task] = result

    def forget(self, task: str) -> None:
        """Let a task run again, because what it made is gone; holds for this process only."""
        self._completed.pop(task, None)

    def _read_lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        with storage_errors("reading", self.path):
            content = self.path.read_bytes()
        lines: list[dict[str, Any]] = []
        for text in content.splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
        return lines


def _encode(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
