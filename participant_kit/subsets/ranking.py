"""The n-th least of numbers that do not fit in memory: a radix selection in a few passes, exact whatever ties."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.errors import UsageError

Keys = NDArray[np.uint64]

_DIGIT_BITS = 16
_KEY_BITS = 64
_SIGN = np.uint64(1 << 63)


def nth_least(passes: Callable[[], Iterator[tuple[Keys, NDArray[np.int64]]]], rank: int) -> tuple[np.uint64, int]:
    """The key at ``rank`` (0-based) of all keys in ascending order, each as often as its multiplicity says; and how
    many of its equals come before it.

    Four passes at most, each fixing 16 further bits; memory is one count for each value of these.

    Args:
        passes: starts one more pass over blocks of keys with their multiplicities (int64, not negative).
        rank: less than the sum of all multiplicities.
    """
    prefix = 0
    for shift in range(_KEY_BITS - _DIGIT_BITS, -1, -_DIGIT_BITS):
        digits = np.zeros(1 << _DIGIT_BITS, dtype=np.int64)
        for keys, copies in passes():
            inside = _bits_above(keys, shift + _DIGIT_BITS) == np.uint64(prefix)
            digit = (keys[inside] >> np.uint64(shift)) & np.uint64((1 << _DIGIT_BITS) - 1)
            np.add.at(digits, digit.astype(np.int64), copies[inside])
        reached = np.cumsum(digits)
        found = int(np.searchsorted(reached, rank, side="right"))
        rank -= int(reached[found] - digits[found])
        prefix = prefix << _DIGIT_BITS | found
    return np.uint64(prefix), rank


def _bits_above(keys: Keys, shift: int) -> Keys:
    """NumPy leaves a shift by all 64 bits undefined."""
    return np.zeros_like(keys) if shift >= _KEY_BITS else keys >> np.uint64(shift)


def float_keys(values: NDArray[np.float64]) -> Keys:
    """Keys in the order of the numbers, at least 2; both zeros are equal. NaN is the caller's to leave out."""
    bits = np.ascontiguousarray(values + 0.0, dtype=np.float64).view(np.uint64)
    keys: Keys = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return keys


def key_float(key: np.uint64) -> float:
    """The number of a key of ``float_keys``."""
    bits = key ^ _SIGN if key & _SIGN else ~key
    return float(np.uint64(bits).view(np.float64))


def integer_keys(values: NDArray[np.int64]) -> Keys:
    """Keys in the order of the numbers, at least 2: the three least of all int64 share one."""
    keys: Keys = np.maximum(np.ascontiguousarray(values, dtype=np.int64).view(np.uint64) ^ _SIGN, np.uint64(2))
    return keys


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a subset: a number of rows, or a fraction of them in (0, 1]; exactly one of the two."""

    count: int | None = None
    fraction: float | None = None

    def rows(self, total: int) -> int:
        """How many of ``total`` rows it means; of a fraction ``int(total * fraction)``, as DataComp rounds.

        Raises:
            UsageError: not exactly one is given, or it is out of range.
        """
        if (self.count is None) == (self.fraction is None):
            raise UsageError("Exactly one of --count and --fraction is needed.")
        if self.fraction is not None:
            if not 0 < self.fraction <= 1:
                raise UsageError(f"--fraction {self.fraction} is not above 0 and at most 1.")
            return int(total * self.fraction)
        assert self.count is not None
        if not 0 < self.count <= total:
            raise UsageError(f"--count {self.count} is not between 1 and the subset's {total} rows.")
        return self.count

    def options(self) -> dict[str, Any]:
        """As a record shows it."""
        return {name: value for name, value in asdict(self).items() if value is not None}
