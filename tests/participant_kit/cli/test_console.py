"""A log of a long run says how far it is."""

from __future__ import annotations

import pytest

from competition import progress
from competition.progress import Progress
from participant_kit.cli.console import Console


def test_progress_without_a_terminal_is_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds)
    with Console(as_json=True).progress("Choosing") as report:
        for done in range(1, 101):
            seconds = done * 1.0
            report(Progress("reading", done, 1000, 0, "a file"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["Choosing ...", *(f"reading: {done} of 1,000" for done in (30, 60, 90))]
