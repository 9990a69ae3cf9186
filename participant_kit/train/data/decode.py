"""Decoding training images: libjpeg-turbo through torchvision for JPEGs, Pillow for the rest. Both give the same bits.

Pillow's JPEGs come from libjpeg-turbo, too, with the same settings; torchvision spares a copy and the interpreter.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from competition.evaluation.images import MAX_PIXELS, decode_rgb

Pixels = NDArray[np.uint8]

_JPEG = b"\xff\xd8\xff"


def decode_pixels(data: bytes) -> Pixels:
    """RGB pixels uint8 [H, W, 3] of a jpeg, png or webp (raises ``ImageDecodingError``)."""
    if data.startswith(_JPEG) and _plain_jpeg(data):
        try:
            tensor = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
        except RuntimeError:
            return np.asarray(decode_rgb(data))  # Pillow says in words what is wrong
        pixels: Pixels = tensor.permute(1, 2, 0).contiguous().numpy()
        return pixels
    return np.asarray(decode_rgb(data))


def _plain_jpeg(data: bytes) -> bool:
    """Whether both decoders agree on the file: 8-bit grey or YCbCr of a permitted size (CMYK is Pillow's)."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.width * image.height <= MAX_PIXELS and image.mode in {"L", "RGB"}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return False
