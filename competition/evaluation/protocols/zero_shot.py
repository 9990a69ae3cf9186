"""CLIP models on images and texts: classes by their prompts, and captions."""

from __future__ import annotations

from collections.abc import Mapping

from competition.evaluation import retrieval, zeroshot
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, clip_of
from competition.evaluation.protocols.reading import captioned, labelled
from competition.rules.protocols import Protocol


def _classification(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = clip_of(subject, case.task)
    return zeroshot.evaluate(encoder, labelled(encoder, case, prompts=True))


def _retrieval(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = clip_of(subject, case.task)
    return retrieval.evaluate(encoder, captioned(encoder, case))


EVALUATIONS: Mapping[Protocol, Evaluation] = {
    Protocol.ZEROSHOT_CLASSIFICATION: _classification,
    Protocol.IMAGE_TEXT_RETRIEVAL: _retrieval,
}
