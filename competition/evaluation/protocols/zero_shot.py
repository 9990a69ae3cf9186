"""CLIP models on images and texts: classes by their prompts, captions, and pictures that go with a cue."""

from __future__ import annotations

from collections.abc import Mapping

from competition.evaluation import retrieval, winogavil, zeroshot
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols.case import Case, Evaluation, Subject, clip_of
from competition.evaluation.protocols.reading import captioned, labelled
from competition.evaluation.winogavil_set import load_winogavil
from competition.rules.protocols import Protocol


def _classification(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = clip_of(subject, case.task)
    return zeroshot.evaluate(encoder, labelled(encoder, case, prompts=True))


def _retrieval(subject: Subject, case: Case) -> ProtocolOutcome:
    encoder = clip_of(subject, case.task)
    return retrieval.evaluate(encoder, captioned(encoder, case))


def _winogavil(subject: Subject, case: Case) -> ProtocolOutcome:
    """Every picture and every cue is encoded once, however many instances have it."""
    encoder = clip_of(subject, case.task)
    data = load_winogavil(case.folder, encoder.preparation, case.cache)
    prompts = [winogavil.cue_prompt(instance.cue) for instance in data.instances]
    distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    texts = encoder.encode_texts(list(distinct))
    images = encoder.encode_images(data.images, key=data.key)
    similarities = [
        images[instance.candidates] @ texts[distinct[prompt]]
        for instance, prompt in zip(data.instances, prompts, strict=True)
    ]
    return winogavil.score(similarities, [instance.associated for instance in data.instances])


EVALUATIONS: Mapping[Protocol, Evaluation] = {
    Protocol.ZEROSHOT_CLASSIFICATION: _classification,
    Protocol.IMAGE_TEXT_RETRIEVAL: _retrieval,
    Protocol.WINOGAVIL: _winogavil,
}
