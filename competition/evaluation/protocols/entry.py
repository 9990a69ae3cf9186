"""What protocols about the entry's own images read of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from competition.errors import EvaluationError
from competition.evaluation.entry_images import EntryImages, Integers
from competition.evaluation.protocols.case import Case, Encoder, Subject
from competition.rules.suites import Task


def images_of(subject: Subject, task: Task) -> EntryImages:
    """The entry's images (raises ``EvaluationError`` where they are not given)."""
    if subject.images is None:
        raise EvaluationError(
            f"Task {task.id!r} is about the images that the entry consists of, and they are not given.",
            hint="Give their folder, shards or a folder for each class: `datacup evaluate --entry-data DIR`.",
        )
    return subject.images


def entry_features(
    encoder: Encoder, images: EntryImages, case: Case, rows: Integers | None = None
) -> NDArray[np.float32]:
    """Features [N, D] of the entry's images, or of the given ones; computed once for an encoder."""
    pixels, key = images.pixels(encoder.preparation, case.cache, rows)
    return encoder.encode_images(pixels, key=key)
