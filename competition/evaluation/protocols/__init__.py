"""From a task to its outcome: what each protocol reads of its evaluation set, and what it asks of the entry.

A module for each family of protocols; each has a table ``EVALUATIONS`` of what it evaluates.
"""

from __future__ import annotations

from collections.abc import Mapping

from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols import (
    datasets,
    faces,
    grouped,
    heads,
    neighbours,
    predicted,
    probes,
    recognition,
    shifted,
    statistics,
    tuned,
    zero_shot,
)
from competition.evaluation.protocols.case import Case, Evaluation, Subject
from competition.rules.protocols import Protocol

__all__ = ["EVALUATIONS", "Case", "Subject", "run_protocol"]

EVALUATIONS: Mapping[Protocol, Evaluation] = {
    **zero_shot.EVALUATIONS,
    **grouped.EVALUATIONS,
    **faces.EVALUATIONS,
    **heads.EVALUATIONS,
    **shifted.EVALUATIONS,
    **neighbours.EVALUATIONS,
    **probes.EVALUATIONS,
    **predicted.EVALUATIONS,
    **recognition.EVALUATIONS,
    **datasets.EVALUATIONS,
    **statistics.EVALUATIONS,
    **tuned.EVALUATIONS,
}
"""Every one of ``rules.protocols``."""


def run_protocol(subject: Subject, case: Case) -> ProtocolOutcome:
    """Evaluate an entry on a task.

    Raises:
        EvaluationError: the set is damaged, or the protocol asks for something that the entry has not.
    """
    return EVALUATIONS[case.task.protocol](subject, case)
