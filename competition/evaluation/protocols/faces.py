"""FairFace and UTKFace: four classifiers of one set of faces, each from prompts of its own."""

from __future__ import annotations

from collections.abc import Mapping

from competition.evaluation import fairness, zeroshot
from competition.evaluation.face_set import load_faces
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, clip_of
from competition.rules.protocols import Protocol


def _faces(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = clip_of(subject, case.task)
    tolerance = case.task.unreadable_tolerance
    data = load_faces(case.folder, encoder.preparation, case.cache, tolerance=tolerance)
    case.notes.unreadable = len(data.unreadable)
    features = encoder.encode_images(data.images, key=data.key)
    logits = {}
    for head, prompts in data.prompts.items():
        classifier = zeroshot.text_classifier(encoder, prompts.class_names, prompts.templates)
        logits[head] = zeroshot.LOGIT_SCALE * (features @ classifier)
    return fairness.faces(logits, data.known)


EVALUATIONS: Mapping[Protocol, Evaluation] = {Protocol.FAIRNESS_FACES: _faces}
