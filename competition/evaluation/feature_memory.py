"""What a model computed once is not computed again: features of sets, text classifiers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class FeatureMemory:
    """Arrays by name, as many of the last used as fit into a budget; it lives as long as its model.

    Args:
        budget: bytes at most; a larger array is handed out and not kept.
    """

    def __init__(self, budget: int = 2 << 30) -> None:
        self._budget = budget
        self._arrays: OrderedDict[tuple[str, str], Array] = OrderedDict()

    def once(self, kind: str, key: str, compute: Callable[[], Array]) -> Array:
        """The array of this kind and key, read-only; computed when it is not at hand.

        Args:
            kind: what it is, as in ``images``.
            key: identity of all that it depends on beside the model; with an empty one nothing is kept.
            compute: makes it.
        """
        name = (kind, key)
        if name in self._arrays:
            self._arrays.move_to_end(name)
            return self._arrays[name]
        array = compute()
        if not key or array.nbytes > self._budget:
            return array
        array.flags.writeable = False
        self._arrays[name] = array
        while sum(kept.nbytes for kept in self._arrays.values()) > self._budget:
            self._arrays.popitem(last=False)
        return array
