"""Image-text retrieval both ways (CLIP_benchmark's protocol): recall@1, 5 and 10, several captions an image."""

from __future__ import annotations

import numpy as np

from competition.evaluation import metrics
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.sets import RetrievalSet

CUTS = (1, 5, 10)


def evaluate(encoder: ClipEncoder, data: RetrievalSet) -> ProtocolOutcome:
    """Image recall@k (a caption finds its image), text recall@k (an image finds one of its captions), their mean at 1.

    Raises:
        EvaluationError: the model yields features that are not finite.
    """
    captions = [caption for of_image in data.captions for caption in of_image]
    image_of = np.repeat(np.arange(len(data.captions)), [len(of_image) for of_image in data.captions])
    scores = encoder.encode_texts(captions) @ encoder.encode_images(data.images).T
    image_ranks = metrics.ranks(scores, image_of)
    captions_of = [np.flatnonzero(image_of == image).tolist() for image in range(len(data.captions))]
    values: dict[str, float | None] = {}
    components: dict[str, tuple[metrics.Flags, ...]] = {}
    for k in CUTS:
        components[f"image_retrieval_recall@{k}"] = (image_ranks < k,)
        components[f"text_retrieval_recall@{k}"] = (metrics.recalled(scores.T, captions_of, k),)
    components["mean_recall@1"] = components["image_retrieval_recall@1"] + components["text_retrieval_recall@1"]
    values |= {name: metrics.mean_of_means(parts) for name, parts in components.items()}
    return ProtocolOutcome(len(data.captions), values, components)
