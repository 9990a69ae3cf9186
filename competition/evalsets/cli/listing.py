"""``evalsets list``: where every set comes from, whether it is here, and what brings it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from competition.evalsets.cli.output import Output
from competition.evalsets.lock import SetLock
from competition.evalsets.next_step import NextStep, next_step
from competition.evalsets.sources import EvaluationSet, Origin, sets_of
from competition.evalsets.verify import summary
from competition.rules import Suite

_ODD = {"unrecorded": "here without recorded digests", "bad lock": "here with a lock file that is none"}


def show_sets(output: Output, suites: Sequence[Suite], root: Path, program: str, *, of_one: bool) -> None:
    """List the sets of suites, each once.

    Args:
        output: what shows them.
        suites: whose.
        root: folder of all sets.
        program: whose commands are named.
        of_one: name the tasks of the one suite instead of the suites.
    """
    users: dict[str, list[str]] = {}
    sets: dict[str, EvaluationSet] = {}
    for found in suites:
        for item in sets_of(found):
            sets.setdefault(item.name, item)
            users.setdefault(item.name, []).append(found.reference)
    entries: list[dict[str, Any]] = []
    for name, item in sets.items():
        state, lock = summary(root, name)
        entries.append(_entry(item, users[name], (state, lock), next_step(item, state, users[name][0], program)))
    columns = ["set", "here", "size", "commit", "tasks" if of_one else "suites", "from"]
    rows = [
        [
            entry["name"],
            entry["state"],
            "-" if entry["bytes"] is None else f"{entry['bytes'] / 1e6:,.1f} MB",
            (entry["revision"] or "-")[:12],
            ", ".join(entry["tasks"] if of_one else entry["suites"]),
            entry["source"],
        ]
        for entry in entries
    ]
    output.table(entries, "", columns, rows)
    if of_one:
        _commands(output, entries, f"{program} evalsets download {suites[0].reference}")
    elif any(entry["state"] != "here" for entry in entries):
        output.note(f"`{program} evalsets list SUITE` names the command for each set that is not here.")


def _commands(output: Output, entries: Sequence[Mapping[str, Any]], download: str) -> None:
    """What brings the sets that are not here, a command a line to copy."""
    absent = [entry for entry in entries if entry["state"] == "absent"]
    fetched = [entry for entry in absent if entry["origin"] != Origin.ELSEWHERE]
    if absent:
        output.note("To bring what is absent:")
    if fetched:
        output.note(f"  {download}   # all {len(fetched)} that are on the Hub or made from code")
    for entry in absent:
        if entry["origin"] == Origin.ELSEWHERE:
            what = f"DIR: {entry['given']}" if entry["command"] else f"{entry['name']}: {entry['given']}"
            output.note(f"  {entry['command']}   # {what}".replace("     #", "  #"))
    for entry in entries:
        if entry["state"] in {"unrecorded", "bad lock"}:
            output.note(f"{entry['name']} is {_ODD[entry['state']]}: {entry['command']}")


def _entry(item: EvaluationSet, suites: list[str], seen: tuple[str, SetLock | None], step: NextStep) -> dict[str, Any]:
    state, lock = seen
    return {
        "name": item.name,
        "origin": item.origin.value,
        "repo": item.repo,
        "source": step.source,
        "state": state,
        "tasks": list(item.tasks),
        "suites": suites,
        "bytes": lock.bytes if lock is not None else None,
        "revision": lock.revision if lock is not None else None,
        "digest": lock.digest if lock is not None else None,
        "given": step.given,
        "command": step.command,
    }
