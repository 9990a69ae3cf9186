"""Images from untrusted bytes, and the reference preprocessing of evaluations."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL import __version__ as pillow_version

from competition.errors import EvaluationError

IMAGE_EXTENSIONS = ("webp", "png", "jpg", "jpeg")
MAX_PIXELS = 64_000_000
"""Of an image as it is stored, and as it is resized."""
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
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")
    except UnidentifiedImageError as error:  # its own words are the address of a buffer
        raise ImageDecodingError("the image cannot be decoded (it is no jpeg, png or webp)") from error
    except _DECODING_ERRORS as error:
        raise ImageDecodingError(f"the image cannot be decoded ({error})") from error


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height that a jpeg, png or webp says it has; nothing is decoded (raises ``ImageDecodingError``)."""
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS).size
    except UnidentifiedImageError as error:
        raise ImageDecodingError("the image cannot be decoded (it is no jpeg, png or webp)") from error
    except _DECODING_ERRORS as error:
        raise ImageDecodingError(f"the image cannot be decoded ({error})") from error


_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Preparation:
    """A model's evaluation transform up to, but without, the conversion to floating point.

    By default open_clip's: the shorter side is resized to ``size`` (PIL bicubic), then the centre is cut out. Keeping
    uint8 loses nothing: the rest (``encoders.normalise_pixels``) is a fixed function of it. The pixels are those of
    torchvision's ``Resize`` and ``CenterCrop`` on PIL images, bit for bit, without what these cost around PIL.

    Args:
        size: side of the square result in pixels.
        resize: length to which the shorter side is brought; ``size`` when absent, and never less.
        interpolation: ``bilinear``, ``bicubic`` or ``lanczos``, as PIL has them.
        squash: both sides are brought to ``resize``, whatever the image's shape.
        border: pixels that are first taken off on each side.

    Raises:
        EvaluationError: the interpolation is unknown, or ``resize`` is less than ``size``.
    """

    def __init__(
        self,
        size: int,
        *,
        resize: int | None = None,
        interpolation: str = "bicubic",
        squash: bool = False,
        border: int = 0,
    ) -> None:
        self.size = size
        self._short = size if resize is None else resize
        self._squash = squash
        self._border = border
        self._interpolation = interpolation
        if interpolation not in _FILTERS:
            raise EvaluationError(
                f"Images cannot be resized by {interpolation!r}.", hint=f"There are: {', '.join(_FILTERS)}."
            )
        if self._short < size:
            raise EvaluationError(f"Images resized to {self._short} pixels cannot be cut to {size}.")

    @property
    def identity(self) -> dict[str, object]:
        """What the result depends on beside the image."""
        border = {"border": self._border} if self._border else {}
        return {
            "transform": "resize-both-centre-crop" if self._squash else "resize-shorter-centre-crop",
            "size": self.size,
            "resize": self._short,
            "interpolation": self._interpolation,
            "pillow": pillow_version,
            **border,
        }

    def uncut(self, border: int = 0) -> Preparation:
        """The same without a margin: the shorter side is brought to ``size`` itself, after ``border`` is taken off."""
        return Preparation(self.size, interpolation=self._interpolation, squash=self._squash, border=border)

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Pixels uint8 [size, size, 3] of an RGB image.

        Raises:
            ImageDecodingError: nothing is left of it without its border; or one side is so much longer than the other
                that the resized image, out of which the centre is cut, would have more than ``MAX_PIXELS``. A strip of
                a hundred bytes could ask for gigabytes.
        """
        if self._border:
            image = self._without_border(image)
        width, height = self._resized(*image.size)
        if width * height > MAX_PIXELS:
            raise ImageDecodingError(f"the image is too elongated ({image.width} x {image.height} pixels)")
        resized = image.resize((width, height), _FILTERS[self._interpolation])
        left, top = (round((side - self.size) / 2.0) for side in resized.size)  # halves to the even number
        if resized.size != (self.size, self.size):
            resized = resized.crop((left, top, left + self.size, top + self.size))
        return np.asarray(resized)

    def _without_border(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if min(width, height) <= 2 * self._border:
            raise ImageDecodingError(
                f"the image has {width} x {height} pixels, nothing but the border of {self._border}"
            )
        return image.crop((self._border, self._border, width - self._border, height - self._border))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self._squash:
            return self._short, self._short
        long = int(self._short * max(width, height) / min(width, height))
        return (self._short, long) if width <= height else (long, self._short)
