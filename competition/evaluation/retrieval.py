"""Image-text retrieval both ways (CLIP_benchmark's protocol): recall@1, 5 and 10, several captions an image.

The queries of one image and of its captions depend on each other: they are one unit when uncertainty is estimated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from competition.canonical import digest
from competition.evaluation import metrics
from competition.evaluation.encoders import ClipEncoder
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.sets import RetrievalSet

CUTS = (1, 5, 10)
_SCORES_AT_A_TIME = 1 << 24


def evaluate(encoder: ClipEncoder, data: RetrievalSet) -> ProtocolOutcome:
    """Image recall@k (a caption finds its image), text recall@k (an image finds one of its captions), their mean.

    Raises:
        EvaluationError: the model yields features that are not finite.
    """
    captions = [caption for of_image in data.captions for caption in of_image]
    image_of = np.repeat(np.arange(len(data.captions)), [len(of_image) for of_image in data.captions])
    texts = encoder.encode_texts(captions, key=digest(captions))
    images = encoder.encode_images(data.images, key=data.key)
    image_ranks = np.concatenate(
        [metrics.ranks(texts[part] @ images.T, image_of[part]) for part in _parts(len(texts), len(images))]
    )
    caption_ranks = _caption_ranks(images, texts, image_of)
    values: dict[str, float | None] = {}
    components: dict[str, tuple[NDArray[np.float64]]] = {}
    for k in CUTS:
        found = _per_image(image_ranks < k, image_of)
        finding = (caption_ranks < k).astype(np.float64)
        components |= {
            f"image_retrieval_recall@{k}": (found,),
            f"text_retrieval_recall@{k}": (finding,),
            f"mean_recall@{k}": ((found + finding) / 2,),
        }
    values |= {name: metrics.mean_of_means(parts) for name, parts in components.items()}
    return ProtocolOutcome(len(data.captions), values, components)


def _caption_ranks(
    images: NDArray[np.float32], texts: NDArray[np.float32], image_of: metrics.Integers
) -> metrics.Integers:
    """Rank [N] of the best of each image's own captions among all captions.

    CLIP_benchmark's text recall@k: an image's captions count as one, found when any of them is among the k best.
    """
    first = np.searchsorted(image_of, np.arange(len(images) + 1))
    ranks = []
    for part in _parts(len(images), len(texts)):
        scores = images[part] @ texts.T
        best = [
            low + int(np.argmax(row[low:high]))
            for row, low, high in zip(scores, first[:-1][part], first[1:][part], strict=True)
        ]
        ranks.append(metrics.ranks(scores, np.asarray(best)))
    return np.concatenate(ranks)


def _parts(rows: int, columns: int) -> list[slice]:
    """Slices of ``rows`` whose scores with all columns are a bounded number."""
    height = max(1, _SCORES_AT_A_TIME // columns)
    return [slice(start, start + height) for start in range(0, rows, height)]


def _per_image(right: metrics.Flags, image_of: metrics.Integers) -> NDArray[np.float64]:
    """Right caption queries of each image, scaled so that the mean over images is the mean over captions."""
    sums: NDArray[np.float64] = np.bincount(image_of, weights=right).astype(np.float64)
    return sums * (len(sums) / len(right))
