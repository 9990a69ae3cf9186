"""A command line as somebody types it, without the price of a process: what it prints, and its exit code."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from participant_kit.cli import main


@dataclass(frozen=True)
class Typed:
    """What a command came to."""

    code: int
    out: str
    err: str


def typed(*words: str | Path | int) -> Typed:
    """Run ``datacup`` with these words through its entry point, which turns errors into sentences."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["datacup", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    assert isinstance(code, int | None)
    return Typed(code or 0, out.getvalue(), err.getvalue())


def refused(*words: str | Path | int) -> Typed:
    """The same for a command that must fail: with one sentence, a hint at most, and nothing else."""
    result = typed(*words)
    assert result.code not in {0, 1}, result.out
    assert result.out == ""
    assert "Traceback" not in result.err
    lines = result.err[result.err.index("Error: ") :].rstrip("\n").split("\n")
    assert len(lines) <= 2, result.err
    assert lines[0].endswith((".", "...")), lines[0]
    return result
