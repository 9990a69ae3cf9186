"""The slow path, only where asked for: blur the faces of a sample's image, or encode the image anew.

Blur as img2dataset 1.40 did it for DataComp's pools: boxes grown by a tenth of their larger side, one Gaussian for
image and mask with sigma a tenth of the largest side of all boxes, blended by the blurred mask.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from competition.data.atomic import storage_errors
from competition.data.sample_table import ABSENT, SampleTable
from competition.data.tar import BLOCK

if TYPE_CHECKING:
    from PIL import Image

EXTENSION = "webp"
_IMAGES = ("jpg", "jpeg", "png", EXTENSION)
_LONGEST_EDGE = 16_383
"""Pixels, of WebP."""


@dataclass(frozen=True, slots=True)
class ImageChange:
    """What happens to images; a changed one becomes WebP, as DataComp's resharder makes it.

    Args:
        blur: blur the ``face_bboxes`` of a sample's json; an image without boxes is copied unchanged.
        quality: of the WebP, 1 to 100. Without ``blur`` every image is encoded anew.
    """

    blur: bool
    quality: int


class ChangedImages(NamedTuple):
    """Members with new content: index of the member, and where its content lies in the spill file (int64 each).

    ``unchangeable`` images cannot be decoded, or be written as WebP.
    """

    members: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    unchangeable: int


def change_images(
    change: ImageChange, table: SampleTable, sources: NDArray[np.int64], paths: Sequence[Path], spill: Path
) -> ChangedImages:
    """Change the images of samples; the new content goes to the file ``spill``, in blocks as in a tar.

    Args:
        change: what to do.
        table: the samples.
        sources: [samples], index into ``paths``.
        paths: tars.
        spill: written; holds all changed images.
    """
    members, offsets, sizes, unchangeable = [], [], [], 0
    found = [table.member(extension) for extension in _IMAGES]
    described = table.member("json")
    with storage_errors("writing", spill), spill.open("wb") as stream:
        for sample in range(len(table)):
            member = next((int(column[sample]) for column in found if column[sample] != ABSENT), ABSENT)
            source = paths[int(sources[sample])]
            boxes = _boxes(_payload(table, int(described[sample]), source)) if change.blur else []
            if member == ABSENT or (change.blur and not boxes):
                continue
            content = _changed(_payload(table, member, source), boxes, change.quality)
            if content is None:
                unchangeable += 1
                continue
            members.append(member)
            offsets.append(stream.tell())
            sizes.append(len(content))
            stream.write(content + bytes(-len(content) % BLOCK))
    rows, places, lengths = (np.array(column, dtype=np.int64) for column in (members, offsets, sizes))
    return ChangedImages(rows, places, lengths, unchangeable)


def _payload(table: SampleTable, member: int, source: Path) -> bytes:
    with storage_errors("reading", source), source.open("rb") as stream:
        stream.seek(int(table.offsets[member]))
        return stream.read(int(table.sizes[member]))


def _boxes(content: bytes) -> list[list[float]]:
    """The ``face_bboxes`` that make sense: four finite numbers each."""
    boxes: Any = json.loads(content).get("face_bboxes")
    if not isinstance(boxes, list):
        return []
    return [[float(edge) for edge in box] for box in boxes if _is_box(box)]


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(isinstance(e, int | float) and math.isfinite(e) for e in box)


def _changed(data: bytes, boxes: list[list[float]], quality: int) -> bytes | None:
    """The image as WebP, with these boxes blurred; ``None`` when it cannot be decoded or is too large for WebP."""
    from PIL import Image

    from competition.evaluation.images import ImageDecodingError, decode_rgb

    try:
        image: Image.Image = decode_rgb(data)
    except ImageDecodingError:
        return None
    if max(image.size) > _LONGEST_EDGE:
        return None
    if boxes:
        image = Image.fromarray(blur_boxes(np.asarray(image), boxes))
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=quality)
    return stream.getvalue()


def blur_boxes(pixels: NDArray[np.uint8], boxes: Sequence[Sequence[float]]) -> NDArray[np.uint8]:
    """Blur boxes ``[x0, y0, x1, y1]`` (shares of width and height) of an image uint8 [height, width, 3]."""
    from scipy.ndimage import gaussian_filter

    height, width = pixels.shape[:2]
    mask = np.zeros((height, width, 1), dtype=np.float32)
    largest = 0
    for box in boxes:
        edges = [int(edge * size) for edge, size in zip(np.clip(box, 0, 1), (width, height) * 2, strict=True)]
        side = max(edges[2] - edges[0], edges[3] - edges[1])
        largest = max(largest, side)
        x0, y0 = (max(0, int(edge - 0.1 * side)) for edge in edges[:2])
        x1, y1 = (min(size - 1, int(edge + 0.1 * side)) for edge, size in zip(edges[2:], (width, height), strict=True))
        mask[y0:y1, x0:x1] = 1
    sigma = 0.1 * largest
    if not sigma:
        return pixels
    radius = math.ceil(4 * sigma)
    image = pixels.astype(np.float32) / 255
    spread = [(sigma, sigma, 0), (radius, radius, 0)]
    blurred, soft = (gaussian_filter(part, spread[0], radius=spread[1], mode="mirror") for part in (image, mask))
    result: NDArray[np.uint8] = ((image * (1 - soft) + blurred * soft) * 255).astype(np.uint8)
    return result
