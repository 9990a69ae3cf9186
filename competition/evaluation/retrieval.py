"""Image-text retrieval both ways (CLIP_benchmark's protocol): recall@1, 5 and 10, several captions an image.

The queries of one image and of its captions depend on each other: they are one unit when uncertainty is estimated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from competition.evaluation import metrics
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.sets import RetrievalSet

CUTS = (1, 5, 10)


def evaluate(encoder: ClipEncoder, data: RetrievalSet) -> ProtocolOutcome:
    """Image recall@k (a caption finds its image), text recall@k (an image finds one of its captions), their mean.

    Raises:
        EvaluationError: the model yields features that are not finite.
    """
    captions = [caption for of_image in data.captions for caption in of_image]
    image_of = np.repeat(np.arange(len(data.captions)), [len(of_image) for of_image in data.captions])
    scores = encoder.encode_texts(captions) @ encoder.encode_images(data.images).T
    image_ranks = metrics.ranks(scores, image_of)
    captions_of = [np.flatnonzero(image_of == image).tolist() for image in range(len(data.captions))]
    values: dict[str, float | None] = {}
    components: dict[str, tuple[NDArray[np.float64]]] = {}
    for k in CUTS:
        found = _per_image(image_ranks < k, image_of)
        finding = metrics.recalled(scores.T, captions_of, k).astype(np.float64)
        components |= {
            f"image_retrieval_recall@{k}": (found,),
            f"text_retrieval_recall@{k}": (finding,),
            f"mean_recall@{k}": ((found + finding) / 2,),
        }
    values |= {name: metrics.mean_of_means(parts) for name, parts in components.items()}
    return ProtocolOutcome(len(data.captions), values, components)


def _per_image(right: metrics.Flags, image_of: metrics.Integers) -> NDArray[np.float64]:
    """Right caption queries of each image, scaled so that the mean over images is the mean over captions."""
    sums: NDArray[np.float64] = np.bincount(image_of, weights=right).astype(np.float64)
    return sums * (len(sums) / len(right))
