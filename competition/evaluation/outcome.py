"""What a protocol yields before it becomes a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ProtocolOutcome:
    """All metrics of a protocol (``None`` = not defined on this set) and the outcomes behind each that can be a score.

    ``components[metric]`` are 1-D arrays of the outcomes of independent units, whose mean of means is
    ``metrics[metric]``. Those of a metric in ``proportions`` are a single array of right (1) and wrong (0).
    """

    samples: int
    metrics: Mapping[str, float | None]
    components: Mapping[str, tuple[NDArray[np.float64], ...]]
    proportions: frozenset[str] = frozenset()
