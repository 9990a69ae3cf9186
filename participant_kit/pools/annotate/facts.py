"""What a sample of a shard says about itself, or why it cannot become a metadata row."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.shards import Sample
from competition.data.uids import parse_uid
from competition.errors import DataFormatError
from competition.evaluation.images import IMAGE_EXTENSIONS, MAX_PIXELS, ImageDecodingError, Preparation, decode_rgb
from participant_kit.pools.annotate.descriptors import hash_thumbnail
from participant_kit.pools.annotate.identity import pair_uid

NO_IMAGE = "no image"
UNDECODABLE = "undecodable image"
NO_CAPTION = "no caption"
CAPTION_NOT_UTF8 = "caption is not UTF-8"
MALFORMED_JSON = "malformed json"
MALFORMED_UID = "malformed uid"
TOO_ELONGATED = "image too elongated"

_SHA256_DIGITS = 64
_MAX_SIDE = (1 << 31) - 1


class UnusableSampleError(Exception):
    """The sample cannot become a row; the message is the reason, under which it is counted."""


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """A sample as far as it needs no model.

    Args:
        key: in the shard.
        row: the metadata columns that are known, by name.
        made_uid: the uid is ours, because the sample has none.
        faces_ignored: its ``face_bboxes`` are not boxes, and were left out.
        stored: width and height of the image in the shard, in pixels.
        thumbnail: uint8 (32, 32), for the perceptual hash.
        pixels: by side S the image as a model wants it: uint8 (S, S, 3).
    """

    key: str
    row: dict[str, Any]
    made_uid: bool
    faces_ignored: bool
    stored: tuple[int, int]
    thumbnail: NDArray[np.uint8]
    pixels: dict[int, NDArray[np.uint8]]


def look_at(sample: Sample, sides: Collection[int]) -> SampleFacts:
    """Decode a sample and collect what it says about itself.

    The caption is the ``txt`` member, or the json's ``caption`` or ``text``. Sizes and sha256 are the json's, which are
    those of the original as downloaded; where it has none, they are the stored image's.

    Raises:
        UnusableSampleError: it has no usable image or caption, or malformed json.
    """
    said = _said(sample)
    text = _caption(sample, said)
    data = next((sample.members[name] for name in IMAGE_EXTENSIONS if name in sample.members), None)
    if data is None:
        raise UnusableSampleError(NO_IMAGE)
    try:
        image = decode_rgb(data)
    except ImageDecodingError as error:
        raise UnusableSampleError(UNDECODABLE) from error
    if max(sides) ** 2 * max(image.size) > MAX_PIXELS * min(image.size):
        raise UnusableSampleError(TOO_ELONGATED)  # its shorter side is resized before the centre is cut out
    stored_digest = hashlib.sha256(data).hexdigest()
    url = said.get("url")
    url = url if isinstance(url, str) else ""
    uid = _uid(said)
    width, height = _original_size(said) or image.size
    boxes = _boxes(said)
    row = {
        "uid": uid or pair_uid(url or f"sha256:{stored_digest}", text),
        "url": url,
        "text": text,
        "original_width": width,
        "original_height": height,
        "face_bboxes": boxes or [],
        "sha256": _digest(said) or stored_digest,
    }
    return SampleFacts(
        key=sample.key,
        row=row,
        made_uid=uid is None,
        faces_ignored=boxes is None,
        stored=image.size,
        thumbnail=hash_thumbnail(image),
        pixels={side: Preparation(side)(image) for side in sides},
    )


def _said(sample: Sample) -> dict[str, Any]:
    content = sample.members.get("json")
    if content is None:
        return {}
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnusableSampleError(MALFORMED_JSON) from error
    if not isinstance(said, dict):
        raise UnusableSampleError(MALFORMED_JSON)
    return said


def _caption(sample: Sample, said: dict[str, Any]) -> str:
    if "txt" in sample.members:
        try:
            return sample.members["txt"].decode()
        except UnicodeDecodeError as error:
            raise UnusableSampleError(CAPTION_NOT_UTF8) from error
    for name in ("caption", "text"):
        text = said.get(name)
        if isinstance(text, str):
            try:
                text.encode()  # json can hold halves of surrogate pairs, which no file can
            except UnicodeEncodeError as error:
                raise UnusableSampleError(CAPTION_NOT_UTF8) from error
            return text
    raise UnusableSampleError(NO_CAPTION)


def _uid(said: dict[str, Any]) -> str | None:
    uid = said.get("uid")
    if uid is None:
        return None
    if not isinstance(uid, str):
        raise UnusableSampleError(MALFORMED_UID)
    try:
        upper, lower = parse_uid(uid)
    except DataFormatError as error:
        raise UnusableSampleError(MALFORMED_UID) from error
    return f"{upper:016x}{lower:016x}"


def _original_size(said: dict[str, Any]) -> tuple[int, int] | None:
    width, height = said.get("original_width"), said.get("original_height")
    if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
        return None
    return (width, height) if max(width, height) <= _MAX_SIDE else None


def _digest(said: dict[str, Any]) -> str | None:
    digest = said.get("sha256")
    if not isinstance(digest, str) or len(digest) != _SHA256_DIGITS or set(digest.lower()) - set("0123456789abcdef"):
        return None
    return digest.lower()


def _boxes(said: dict[str, Any]) -> list[list[float]] | None:
    """The face boxes; ``None`` where something else is in their place."""
    boxes = said.get("face_bboxes")
    if boxes is None:
        return []
    if not isinstance(boxes, list):
        return None
    for box in boxes:
        if not isinstance(box, list) or len(box) != 4:
            return None
        if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in box):
            return None
    return boxes
