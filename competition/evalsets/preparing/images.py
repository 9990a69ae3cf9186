"""Images as they are stored in an evaluation set: the source's own bytes where evaluations read them, else a png."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from competition.data.atomic import storage_errors
from competition.errors import DataFormatError

MAX_IMAGE_BYTES = 200 * 10**6
MAX_PIXELS = 64_000_000
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_CONVERTED = ("PPM", "BMP", "TIFF", "GIF")
_UNDECODABLE = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, ZeroDivisionError, EOFError, RuntimeError, MemoryError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow's readers raise for damaged files: those of TIFF take nearly any value for granted."""


class StoredImage:
    """An image's bytes, the extension of its member in a shard, and whether the source has it in RGB."""

    __slots__ = ("colour", "data", "extension")

    def __init__(self, data: bytes, where: str) -> None:
        """Check bytes, decoding all of the image, and turn formats that evaluations do not read into png.

        Args:
            data: of an image file.
            where: the file, for messages.

        Raises:
            DataFormatError: the bytes are no image, or one that is too large.
        """
        try:
            with Image.open(io.BytesIO(data), formats=(*_EXTENSIONS, *_CONVERTED)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataFormatError(f"The image {where} has {image.width} x {image.height} pixels.")
                image.load()
                self.colour = image.mode == "RGB"
                self.extension = _EXTENSIONS.get(image.format or "", "png")
                self.data = data if image.format in _EXTENSIONS else as_png(image)
        except UnidentifiedImageError as error:
            raise DataFormatError(f"{where} is no image.", hint="Get the source of the set again.") from error
        except _UNDECODABLE as error:
            reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
            raise DataFormatError(
                f"The image {where} cannot be decoded ({reason}).", hint="Get the source of the set again."
            ) from error


def read_image(path: Path) -> bytes:
    """The bytes of an image file (raises ``StorageError``, or ``DataFormatError`` when it is too large for one)."""
    with storage_errors("reading", path), path.open("rb") as stream:
        data = stream.read(MAX_IMAGE_BYTES + 1)
    if len(data) > MAX_IMAGE_BYTES:
        raise DataFormatError(f"{path} is larger than an image may be.")
    return data


def as_png(image: Image.Image) -> bytes:
    """Pixels as a png, which loses nothing."""
    kept = image if image.mode in {"RGB", "L"} else image.convert("RGB")
    stream = io.BytesIO()
    kept.save(stream, format="PNG")
    return stream.getvalue()


def stored(image: Any, where: str) -> StoredImage:
    """What a dataset gave: bytes of a file, a path, or a PIL image (of a file that it opened, or of an array)."""
    if isinstance(image, bytes):
        return StoredImage(image, where)
    if isinstance(image, str | Path):
        return StoredImage(read_image(Path(image)), str(image))
    if not isinstance(image, Image.Image):
        raise DataFormatError(f"{where} is a {type(image).__name__}, not an image.")
    with image:
        opened = getattr(image, "filename", "")
        return StoredImage(read_image(Path(opened)), str(opened)) if opened else StoredImage(as_png(image), where)
