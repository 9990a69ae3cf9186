"""What to do about a set that is not here or not sound: where it comes from, and the command that brings it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from competition.evalsets.preparing.origins import origins
from competition.evalsets.sources import EvaluationSet, Origin
from competition.evalsets.verify import Finding, SetFinding

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


def advice(
    wanted: Sequence[EvaluationSet], wrong: Sequence[SetFinding], suite: str, program: str = "datacup"
) -> list[str]:
    """What is to be done about sets that are not sound, a sentence for each kind of them.

    Args:
        wanted: the sets that were looked at.
        wrong: what was found about those that are not sound.
        suite: whose they are, as it was typed.
        program: whose commands: ``datacup`` or ``datacup-scorer``.
    """
    brought = {item.name for item in wanted if item.origin is not Origin.ELSEWHERE}
    damaged = {Finding.DIFFERENT, Finding.MALFORMED}
    command = f"{program} evalsets"
    kinds = (
        (
            f"`{command} download {suite}` brings and repairs what is on the Hub or made from code",
            [found.name for found in wrong if found.name in brought and found.finding is not Finding.UNRECORDED],
        ),
        (
            f"`{command} list {suite}` says where each comes from and the command that makes it",
            [found.name for found in wrong if found.name not in brought and found.finding is Finding.MISSING],
        ),
        (
            "Put the recorded files back, or move set and lock file away and make it again",
            [found.name for found in wrong if found.name not in brought and found.finding in damaged],
        ),
        (
            f"Without digests to be checked by; `{command} verify {suite} --record` trusts their present bytes",
            [found.name for found in wrong if found.finding is Finding.UNRECORDED],
        ),
    )
    return [f"{what}: {', '.join(names)}." for what, names in kinds if names]


def _source(item: EvaluationSet) -> str:
    if item.origin is Origin.HUB:
        return f"https://huggingface.co/datasets/{item.repo}"
    if item.origin is Origin.CODE:
        return "made from code"
    known = origins().get(item.name)
    return known.page if known is not None else f"see {PAGE}"
