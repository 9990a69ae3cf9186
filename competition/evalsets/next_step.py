"""What to do about a set that is not here: where it comes from, and the command that brings it."""

from __future__ import annotations

from dataclasses import dataclass

from competition.evalsets.preparing.origins import origins
from competition.evalsets.sources import EvaluationSet, Origin

PAGE = "docs/evaluation-sets.md"


@dataclass(frozen=True, slots=True)
class NextStep:
    """Where a set comes from, in words or as an address; what ``DIR`` is, and the command (empty if none is due)."""

    source: str
    given: str = ""
    command: str = ""


def next_step(item: EvaluationSet, state: str, suite: str, program: str = "datacup") -> NextStep:
    """What is to be done about a set.

    Args:
        item: the set.
        state: what ``verify.summary`` says of it.
        suite: one that has it, for commands that take a suite.
        program: whose commands: ``datacup`` or ``datacup-scorer``.
    """
    task = f"{suite} --only {item.tasks[0]}"
    if state == "here":
        return NextStep(_source(item), command="")
    if state in {"unrecorded", "bad lock"}:
        record = " --record" if state == "unrecorded" else ""
        return NextStep(_source(item), command=f"{program} evalsets verify {task}{record}")
    if item.origin is not Origin.ELSEWHERE:
        return NextStep(_source(item), command=f"{program} evalsets download {task}")
    known = origins().get(item.name)
    if known is None:  # of a competition's own suite
        return NextStep(_source(item), given=f"put it there in a layout of {PAGE}")
    fetched = " --download" if known.download else ""
    return NextStep(known.page, known.given, f"{program} evalsets prepare {item.name} --source DIR{fetched}")


def _source(item: EvaluationSet) -> str:
    if item.origin is Origin.HUB:
        return f"https://huggingface.co/datasets/{item.repo}"
    if item.origin is Origin.CODE:
        return "made from code"
    known = origins().get(item.name)
    return known.page if known is not None else f"see {PAGE}"
