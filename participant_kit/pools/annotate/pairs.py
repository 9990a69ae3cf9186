"""CLIP features and scores of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.evaluation.encoders import ClipEncoder

Floats = NDArray[np.float32]


class EncodedPairs(NamedTuple):
    """``scores`` (n,): cosines of image and text; ``images`` and ``texts`` (n, d): L2-normalised features. float32."""

    scores: Floats
    images: Floats
    texts: Floats


def encode_pairs(encoder: ClipEncoder, pixels: NDArray[np.uint8], texts: Sequence[str]) -> EncodedPairs:
    """Encode pairs; a text that occurs several times is encoded once.

    Args:
        encoder: the model.
        pixels: uint8 (n, S, S, 3), as the model wants them.
        texts: n of them.

    Raises:
        ModelOutputError: a feature is not finite.
    """
    distinct = sorted(set(texts))
    places = {text: place for place, text in enumerate(distinct)}
    image = encoder.encode_images(pixels)
    text = encoder.encode_texts(distinct)[[places[each] for each in texts]]
    return EncodedPairs((image * text).sum(axis=1).astype(np.float32), image, text)
