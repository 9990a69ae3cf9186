"""What a protocol is given: the entry under evaluation, and a task with the place of its set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from competition.errors import EvaluationError
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.entry_images import EntryImages
from competition.evaluation.fixed_models import FixedModels
from competition.evaluation.image_encoders import ImageEncoder
from competition.evaluation.outcome import ProtocolOutcome
from competition.rules.suites import Task

Encoder = ClipEncoder | ImageEncoder


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated. Protocols ask for the parts that they need.

    Args:
        encoder: the entry's model.
        images: that the entry consists of, where they are at hand.
        predictions: file of answers that were made elsewhere.
        fixed: published models, for protocols that compare images in their features.
    """

    encoder: Encoder | None = None
    images: EntryImages | None = None
    predictions: Path | None = None
    fixed: FixedModels = field(default_factory=FixedModels)


@dataclass(slots=True)
class Notes:
    """What was found out while the test images of a set were read: for the result, and no protocol's concern.

    Args:
        class_names: of a set with classes, in their order.
        unreadable: images that were left out, since they cannot be decoded.
        set_digest: identity of the set's files, where it is known.
    """

    class_names: tuple[str, ...] = ()
    unreadable: int = 0
    set_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A task whose set lies in ``folder``; decoded images are kept in ``cache`` where there is one."""

    task: Task
    folder: Path
    cache: Path | None = None
    notes: Notes = field(default_factory=Notes, compare=False)


Evaluation = Callable[[Subject, Case], ProtocolOutcome]


def model_of(subject: Subject, task: Task) -> Encoder:
    """The entry's model (raises ``EvaluationError`` where it has none)."""
    if subject.encoder is None:
        raise EvaluationError(
            f"Task {task.id!r} asks a model, and the entry has none.", hint="Evaluate a trained run, or other tasks."
        )
    return subject.encoder


def clip_of(subject: Subject, task: Task) -> ClipEncoder:
    """The entry's model with its text tower (raises ``EvaluationError`` where it has none)."""
    encoder = model_of(subject, task)
    if not isinstance(encoder, ClipEncoder):
        raise EvaluationError(
            f"Task {task.id!r} compares images with texts, and the model has no text tower.",
            hint="Choose a suite for image models.",
        )
    return encoder
