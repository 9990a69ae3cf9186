"""The test sets that entries of predictions are about, as the rules alone describe them: no labels are needed."""

from __future__ import annotations

from dataclasses import dataclass

from competition.errors import UsageError
from competition.rules.protocols import Protocol
from competition.rules.suites import Suite, Task

CLASSES = "classes"
"""The setting of a task of predictions that says how many classes its ids are of."""


@dataclass(frozen=True)
class TestSetShape:
    """How many samples a test set has, and how many classes its ids are of."""

    __test__ = False  # not a test of pytest's
    samples: int
    classes: int


def predicted_sets(suite: Suite) -> dict[str, TestSetShape]:
    """The test sets of the suite's tasks of predictions, by the names of their folders, in the tasks' order.

    An entry's file has one member for each, and is checked against these shapes by whoever has no labels.

    Raises:
        UsageError: a task does not say how many samples or classes its set has, or two tasks of one set differ in it.
    """
    found: dict[str, TestSetShape] = {}
    for task in suite.tasks:
        if task.protocol is Protocol.PREDICTIONS:
            shape = _shape(task)
            if found.setdefault(task.dataset, shape) != shape:
                raise UsageError(f"Task {task.id}: another task says otherwise how large set {task.dataset!r} is.")
    return found


def _shape(task: Task) -> TestSetShape:
    classes = task.settings.get(CLASSES)
    if task.samples is None or classes is None:
        raise UsageError(
            f"Task {task.id}: it does not say how many samples and classes its set has, against which predictions "
            "are checked.",
            hint="Give `samples`, and `classes` among its settings.",
        )
    return TestSetShape(task.samples, int(classes))
