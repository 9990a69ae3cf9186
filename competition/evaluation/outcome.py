"""What a protocol yields before it becomes a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Test samples of every class of a set, int64 [C], and of those the ones whose first choice is right, int64 [C]."""

    samples: NDArray[np.int64]
    right: NDArray[np.int64]


@dataclass(frozen=True)
class ProtocolOutcome:
    """All metrics of a protocol (``None`` = not defined on this set) and the outcomes behind each that can be a score.

    ``components[metric]`` are 1-D arrays of the outcomes of independent units, whose mean of means is
    ``metrics[metric]``. Those of a metric in ``proportions`` are a single array of right (1) and wrong (0).
    ``classes`` are there where every sample has one class and one first choice. ``units[metric]`` says whose outcomes
    the components are where the metric is of one group that was chosen by the entry's answers.
    """

    samples: int
    metrics: Mapping[str, float | None]
    components: Mapping[str, tuple[NDArray[np.float64], ...]]
    proportions: frozenset[str] = frozenset()
    classes: ClassCounts | None = None
    units: Mapping[str, str] = field(default_factory=dict)
