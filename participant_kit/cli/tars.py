"""Which of two equal programs worked on tars: a participant should know when it was the slower one."""

from __future__ import annotations

from competition.data import native
from participant_kit.cli.console import Console


def tars_by() -> str:
    """``native`` or ``python``, as JSON results have it."""
    return "python" if native.module is None else "native"


def note_tars(console: Console, done: str) -> None:
    """Tell a person; ``done`` is what happened to the tars, for instance "read"."""
    console.note(
        f"Tars were {done} by the native module."
        if tars_by() == "native"
        else f"Tars were {done} by Python, which is slower: the native module was not built here."
    )
