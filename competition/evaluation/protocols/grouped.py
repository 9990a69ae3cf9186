"""WILDS and fairness: zero-shot classification whose images belong to groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation import fairness, wilds, zeroshot
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols import reading
from competition.evaluation.protocols.case import Case, Evaluation, Subject, clip_of
from competition.rules.protocols import Protocol

Columns = Mapping[str, NDArray[np.int64]]

COLUMNS: Mapping[Protocol, tuple[str, ...]] = {
    Protocol.WILDS_IWILDCAM: ("location", "sequence", "year", "month", "day", "hour", "minute", "second", "y"),
    Protocol.WILDS_CAMELYON17: ("hospital", "slide", "y"),
    Protocol.WILDS_FMOW: ("region", "year", "y"),
    Protocol.WILDS_FMOW_DATACOMP: ("region", "year", "y"),
    Protocol.FAIRNESS_DOLLAR_STREET: ("income_ds", "income_meta", "region"),
    Protocol.FAIRNESS_GEODE: ("region", "country"),
}
"""What the rows of DataComp's sets hold beside the images, in their order; ``y`` is the class once more."""


def _grouped(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder, protocol = clip_of(subject, case.task), case.task.protocol
    data = reading.labelled(encoder, case, prompts=True)
    columns = reading.columns(case, COLUMNS[protocol], data)
    if "y" in columns and not np.array_equal(columns["y"], data.labels):
        first = int(np.flatnonzero(columns["y"] != data.labels)[0])
        raise EvaluationError(
            f"Sample {first} of the evaluation set {case.folder.name} has class {data.labels[first]}, and its row of "
            f"numbers says {columns['y'][first]}.",
            hint="Get the evaluation sets again.",
        )
    return _by_group(protocol, zeroshot.class_logits(encoder, data), data.labels, columns)


def _by_group(
    protocol: Protocol, logits: NDArray[np.float32], labels: NDArray[np.int64], columns: Columns
) -> ProtocolOutcome:
    match protocol:
        case Protocol.WILDS_IWILDCAM:
            return wilds.iwildcam(logits, labels)
        case Protocol.WILDS_CAMELYON17:
            return wilds.camelyon17(logits, labels, columns["slide"])
        case Protocol.WILDS_FMOW_DATACOMP:
            return wilds.fmow(logits, labels, columns["region"], columns["year"])
        case Protocol.WILDS_FMOW:
            found = wilds.fmow(logits, labels, columns["region"], columns["year"])
            return _renamed(found, "acc_worst_region_without_other", "acc_worst_region")
        case Protocol.FAIRNESS_DOLLAR_STREET:
            return fairness.dollar_street(logits, labels, columns["income_ds"])
        case Protocol.FAIRNESS_GEODE:
            return fairness.geode(logits, labels, columns["region"])
        case _:
            raise AssertionError(f"{protocol.value} has columns and is not run")


def _renamed(found: ProtocolOutcome, name: str, new: str) -> ProtocolOutcome:
    """The outcome whose metric ``name`` is called ``new``, in place of the one that was."""
    metrics = {key: value for key, value in found.metrics.items() if key not in (name, new)}
    components = {key: value for key, value in found.components.items() if key not in (name, new)}
    units = {key: value for key, value in found.units.items() if key not in (name, new)}
    if name in found.units:
        units[new] = found.units[name]
    proportions = found.proportions - {name, new} | ({new} if name in found.proportions else set())
    return replace(
        found,
        metrics=metrics | {new: found.metrics[name]},
        components=components | {new: found.components[name]},
        proportions=frozenset(proportions),
        units=units,
    )


EVALUATIONS: Mapping[Protocol, Evaluation] = dict.fromkeys(COLUMNS, _grouped)
