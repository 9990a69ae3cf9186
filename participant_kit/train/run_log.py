"""``train_log.jsonl``: one line every few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_errors, write_bytes


class RunLog:
    """Appends lines to the log; a resumed run goes on after the checkpoint's step."""

    def __init__(self, path: Path, steps_done: int) -> None:
        self._path = path
        kept = [line for line in _lines(path) if line["step"] <= steps_done]
        write_bytes(path, b"".join(_encoded(line) for line in kept))

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; its ``step`` counts finished steps."""
        with storage_errors("writing", self._path), self._path.open("ab") as stream:
            stream.write(_encoded(line))


def steps_done(path: Path) -> int:
    """Steps that a run's log speaks of so far; 0 where there is none."""
    lines = _lines(path)
    return int(lines[-1]["step"]) if lines else 0


def _encoded(line: dict[str, Any]) -> bytes:
    return (json.dumps(line) + "\n").encode()


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a killed run may have left half of its last one."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
