"""Images from untrusted bytes, and the reference preprocessing of evaluations."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL import __version__ as pillow_version
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

IMAGE_EXTENSIONS = ("webp", "png", "jpg", "jpeg")
MAX_PIXELS = 64_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class ImageDecodingError(Exception):
    """The bytes are no image that can be used; the message says why."""


def decode_rgb(data: bytes) -> Image.Image:
    """A jpeg, png or webp as an RGB image (raises ``ImageDecodingError``)."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ImageDecodingError(f"the image has {image.width} x {image.height} pixels")
        return image.convert("RGB")
    except UnidentifiedImageError as error:  # its own words are the address of a buffer
        raise ImageDecodingError("the image cannot be decoded (it is no jpeg, png or webp)") from error
    except _DECODING_ERRORS as error:
        raise ImageDecodingError(f"the image cannot be decoded ({error})") from error


class Preparation:
    """open_clip's evaluation transform up to, but without, the conversion to floating point.

    The shorter side is resized to ``size`` (PIL bicubic), then the centre is cut out. Keeping uint8 loses nothing: the
    rest (``encoders.normalise_pixels``) is a fixed function of it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._transform = Compose([Resize(size, interpolation=InterpolationMode.BICUBIC), CenterCrop(size)])

    @property
    def identity(self) -> dict[str, object]:
        """What the result depends on beside the image."""
        return {"transform": "resize-shorter-bicubic-centre-crop", "size": self.size, "pillow": pillow_version}

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Pixels uint8 [size, size, 3] of an RGB image."""
        return np.asarray(self._transform(image))
