"""CLIP-IQA (Wang et al. 2023): what an image is like, by which of two opposite texts it is closer to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from competition.errors import EvaluationError
from competition.evaluation.dataset_metrics.features import Features, Floats, require_same_dimensions

LOGIT_SCALE = 100.0

PROMPT_PAIRS: dict[str, tuple[str, str]] = {
    "quality": ("Good photo.", "Bad photo."),
    "brightness": ("Bright photo.", "Dark photo."),
    "noisiness": ("Clean photo.", "Noisy photo."),
    "colourfulness": ("Colorful photo.", "Dull photo."),
    "sharpness": ("Sharp photo.", "Blurry photo."),
    "contrast": ("High contrast photo.", "Low contrast photo."),
    "complexity": ("Complex photo.", "Simple photo."),
    "naturalness": ("Natural photo.", "Synthetic photo."),
    "happiness": ("Happy photo.", "Sad photo."),
    "scariness": ("Scary photo.", "Peaceful photo."),
    "newness": ("New photo.", "Old photo."),
    "warmth": ("Warm photo.", "Cold photo."),
    "realness": ("Real photo.", "Abstract photo."),
    "beauty": ("Beautiful photo.", "Ugly photo."),
    "loneliness": ("Lonely photo.", "Sociable photo."),
    "relaxation": ("Relaxing photo.", "Stressful photo."),
}
"""The text that scores 1 and the one that scores 0; the pairs that torchmetrics has built in."""


def clip_iqa(
    images: NDArray[Any] | Features,
    positive: NDArray[Any] | Features,
    negative: NDArray[Any] | Features,
    *,
    scale: float = LOGIT_SCALE,
) -> Floats:
    """Softmax over both texts of a pair of ``scale`` times the cosine: the positive one's share.

    Args:
        images: (images, dimensions), of any length but 0.
        positive: (pairs, dimensions), for instance of the first texts of ``PROMPT_PAIRS``.
        negative: (pairs, dimensions), of the second ones.
        scale: of the cosines; CLIP's own is 100.

    Returns:
        float64 (images, pairs) in [0, 1].

    Raises:
        EvaluationError: dimensions or the numbers of texts do not fit, or the scale is not positive.
        ModelOutputError: a row that is zero or not finite.
    """
    shown = Features.of(images, "the set of image features")
    good, bad = Features.of(positive, "the list of positive texts"), Features.of(negative, "the list of negative texts")
    require_same_dimensions(shown, good)
    require_same_dimensions(shown, bad)
    if good.rows != bad.rows:
        raise EvaluationError(
            f"Texts do not pair: {good.name} has {good.rows:,}, {bad.name} has {bad.rows:,}.",
            hint="Every positive text needs its negative one, in the same order.",
        )
    if not 0 < scale < float("inf"):
        raise EvaluationError(f"Cosines cannot be scaled by {scale}.", hint="CLIP's own scale is 100.")
    towards = good.directions().every() - bad.directions().every()
    shares = np.empty((shown.rows, good.rows))
    for start, block in shown.directions().blocks():
        shares[start : start + len(block)] = expit(scale * (block @ towards.T))
    return shares
