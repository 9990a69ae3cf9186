"""Accuracy group by group (WILDS, arXiv 2012.07421): every group's mean, and the worst."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from competition.errors import EmptySetError
from competition.evaluation.inputs import Integers, checked_groups
from competition.evaluation.outcome import ProtocolOutcome

Floats = NDArray[np.float64]


class Groups:
    """Which group every sample of a set belongs to.

    Args:
        field: what a group is, for instance region; part of the metrics' names.
        groups: of every sample [N]: whole numbers from 0 on.
        samples: how many there have to be.
        names: of all groups, by which metrics call them; without them, the numbers.
        optional: names of groups that may be empty; any other named one may not.

    Raises:
        EmptySetError: a named group is empty.
        LabelRangeError: a group is out of range.
        EvaluationError: there are not as many as samples.
    """

    def __init__(
        self,
        field: str,
        groups: ArrayLike,
        samples: int,
        names: Sequence[str] = (),
        *,
        optional: Collection[str] = (),
    ) -> None:
        self.field = field
        self.of_sample: Integers = checked_groups(groups, samples, len(names) if names else None, field)
        self.present = [int(group) for group in np.unique(self.of_sample)]
        self._names = tuple(names)
        for group, name in enumerate(names):
            if group not in self.present and name not in optional:
                raise EmptySetError(f"No sample is of the {field} {name!r}, so the group has no score.")

    def name(self, group: int) -> str:
        """What a group is called in metrics."""
        return f"{self.field}:{self._names[group] if self._names else group}"

    def number(self, name: str) -> int:
        """The number of a named group."""
        return self._names.index(name)

    def outcomes(self, of_sample: Floats, group: int) -> Floats:
        """The outcomes of one group's samples."""
        chosen: Floats = of_sample[self.of_sample == group]
        return chosen


def scores_by_group(prefix: str, of_sample: Floats, groups: Groups) -> ProtocolOutcome:
    """The mean outcome of every group that occurs, as metrics ``<prefix>_<field>:<group>``; without components."""
    values: dict[str, float | None] = {
        f"{prefix}_{groups.name(group)}": float(groups.outcomes(of_sample, group).mean()) for group in groups.present
    }
    return ProtocolOutcome(len(of_sample), values, {})


def worst_group(
    metric: str, of_sample: Floats, groups: Groups, *, without: Collection[int] = (), highest: bool = False
) -> ProtocolOutcome:
    """The lowest mean outcome of the groups that occur (of equal ones, the first group's).

    Its component is that group's outcomes, and its units are named after the group: the interval is of this group's
    score, as if it had been chosen beforehand.

    Args:
        metric: its name.
        of_sample: right (1) or wrong (0) [N].
        groups: of the samples.
        without: groups that do not count.
        highest: the highest mean instead.

    Raises:
        EmptySetError: no group is left.
    """
    means = {group: float(groups.outcomes(of_sample, group).mean()) for group in groups.present if group not in without}
    if not means:
        raise EmptySetError(f"No sample is of a {groups.field} that counts for {metric}.")
    chosen = max(means, key=means.__getitem__) if highest else min(means, key=means.__getitem__)
    parts, units = (groups.outcomes(of_sample, chosen),), {metric: groups.name(chosen)}
    return ProtocolOutcome(
        len(of_sample), {metric: means[chosen]}, {metric: parts}, proportions=frozenset({metric}), units=units
    )
