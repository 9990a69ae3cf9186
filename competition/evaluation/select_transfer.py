"""SELECT's transfer tasks: their classes, and the channels' mean and deviation that its legacy protocol scales by.

Mean and deviation are those of the training images at 64 pixels; the deviation is the mean of each image's own. LFW's
test set has other people than its training set, so that every model is at 0 (see ``fine_tune``): it is here for the
published mean of 11 tasks alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from competition.errors import EvaluationError
from competition.evaluation.fine_tune import SELECT_LEGACY, FineTuning
from competition.evaluation.images import Preparation

Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class TransferTask:
    """A task's classes and the statistics of its pixels in 0 to 1."""

    classes: int
    mean: Channels
    std: Channels


TASKS = {
    "caltech256": TransferTask(257, (0.5523, 0.5333, 0.5045), (0.2222, 0.2214, 0.2246)),
    "svhn": TransferTask(10, (0.4386, 0.4447, 0.4737), (0.1167, 0.1197, 0.1022)),
    "dtd": TransferTask(47, (0.5288, 0.4730, 0.4247), (0.1437, 0.1437, 0.1399)),
    "eurosat": TransferTask(10, (0.3443, 0.3801, 0.4076), (0.0914, 0.0652, 0.0553)),
    "flowers102": TransferTask(102, (0.4330, 0.3819, 0.2964), (0.2487, 0.1980, 0.2101)),
    "country211": TransferTask(211, (0.4570, 0.4503, 0.4208), (0.2130, 0.2082, 0.2194)),
    "fgvcaircraft": TransferTask(100, (0.4814, 0.5123, 0.5357), (0.1716, 0.1708, 0.1952)),
    "gtsrb": TransferTask(43, (0.3418, 0.3126, 0.3216), (0.1629, 0.1624, 0.1721)),
    "renderedsst2": TransferTask(2, (0.9847, 0.9847, 0.9847), (0.0564, 0.0564, 0.0564)),
    "lfwpeople": TransferTask(5749, (0.4334, 0.3755, 0.3333), (0.2630, 0.2362, 0.2262)),
    "sun397": TransferTask(397, (0.4757, 0.4601, 0.4247), (0.2114, 0.2102, 0.2245)),
}


def legacy_settings(task: str) -> FineTuning:
    """SELECT's protocol at 64 pixels with the task's statistics (raises ``EvaluationError`` for another name)."""
    if task not in TASKS:
        raise EvaluationError(
            f"SELECT has no transfer task {task!r}.", hint=f"Its tasks that can be scored: {', '.join(sorted(TASKS))}."
        )
    return replace(SELECT_LEGACY, mean=TASKS[task].mean, std=TASKS[task].std)


LEGACY_PREPARATION = Preparation(SELECT_LEGACY.image_size, interpolation="bilinear", squash=True)
"""SELECT's: the whole image resized to a square, whatever its shape (PIL bilinear)."""
