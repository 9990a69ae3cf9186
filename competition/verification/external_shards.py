"""Shards of external data: plain tars of samples, each an image, its caption and perhaps some facts as JSON.

Nothing is unpacked: headers are walked where they lie, and every number in them is bounded before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic_core import from_json

from competition.data.shards import SampleSpan, extension_of, group_samples, read_payload
from competition.data.tar import Buffer, Member, open_tar, scan_members
from competition.errors import DataFormatError, RejectionError, RejectionReason
from competition.rules import ExternalLimits
from competition.verification.entry import shown

IMAGES = ("jpg", "jpeg", "png", "webp")
CAPTION, FACTS = "txt", "json"
MAX_CAPTION_BYTES = 8192
MAX_FACTS_BYTES = 1 << 18
MAX_NAME = 255

_EXTENSIONS = frozenset({*IMAGES, CAPTION, FACTS})


def check_shard(path: Path, name: str, limits: ExternalLimits, most: int) -> int:
    """Check all samples of a shard, which messages call ``name``, but for the pixels; returns how many there are.

    Args:
        path: the tar.
        name: for messages.
        limits: of the competition.
        most: samples that it may have.

    Raises:
        RejectionError: a damaged tar, members that are no plain files or no part of a sample, captions or facts that
            are no text, or too much of something.
    """
    count = 0
    with _reading(path, name), open_tar(path) as buffer:
        for span in group_samples(_members(buffer, path, name, limits, most)):
            _check_sample(buffer, span, name)
            count += 1
            if count > most:
                raise too_many(name, most)
    if not count:
        raise _malformed(name, "it holds no sample")
    return count


def images_of(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Key and image of each sample of a shard that was found sound, in order."""
    with _reading(path, name), open_tar(path) as buffer:
        for span in group_samples(scan_members(buffer, path)):
            image = next(span.members[extension] for extension in IMAGES if extension in span.members)
            yield span.key, read_payload(buffer, image)


def too_many(name: str, most: int) -> RejectionError:
    """The rejection of external data that have more than the ``most`` samples that are left for ``name``."""
    return RejectionError(
        RejectionReason.EXTERNAL_TOO_LARGE, f"{name} has more samples than this competition takes: {most} are left."
    )


def _members(buffer: Buffer, path: Path, name: str, limits: ExternalLimits, most: int) -> Iterator[Member]:
    """The members of the tar, each one that a sample may have."""
    longest = {CAPTION: MAX_CAPTION_BYTES, FACTS: MAX_FACTS_BYTES}
    for count, member in enumerate(scan_members(buffer, path, folders=False)):
        if count >= most * 3:
            raise too_many(name, most)
        extension = extension_of(member.name) if len(member.name) <= MAX_NAME else None
        if not member.name.isprintable() or extension not in _EXTENSIONS:
            raise _malformed(name, f"its member {shown(member.name)} is no image, caption (txt) or JSON of a sample")
        allowed = longest.get(extension, limits.image_bytes)
        if member.size > allowed:
            raise _malformed(name, f"its member {shown(member.name)} has {member.size} bytes; at most {allowed} fit")
        yield member


def _check_sample(buffer: Buffer, span: SampleSpan, name: str) -> None:
    """One image, one caption that is text, facts that are a JSON object."""
    images = [extension for extension in IMAGES if extension in span.members]
    if len(images) != 1 or CAPTION not in span.members:
        raise _malformed(name, f"its sample {shown(span.key)} has not one image and one caption")
    try:
        caption = read_payload(buffer, span.members[CAPTION]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(name, f"the caption of its sample {shown(span.key)} is no UTF-8") from error
    if "\0" in caption:
        raise _malformed(name, f"the caption of its sample {shown(span.key)} has a zero character")
    if FACTS in span.members:
        try:
            facts = from_json(read_payload(buffer, span.members[FACTS]), cache_strings=False)
        except (ValueError, RecursionError) as error:
            raise _malformed(name, f"the json of its sample {shown(span.key)} is none") from error
        if not isinstance(facts, dict):
            raise _malformed(name, f"the json of its sample {shown(span.key)} is no object")


@contextmanager
def _reading(path: Path, name: str) -> Iterator[None]:
    """Say what is wrong with a tar in words that do not tell where it lies here."""
    try:
        yield
    except DataFormatError as error:
        words = error.message.removeprefix(f"Shard {path} ").rstrip(".")
        raise _malformed(name, "it " + "".join(each if each.isprintable() else " " for each in words)[:300]) from error


def _malformed(name: str, problem: str) -> RejectionError:
    return RejectionError(RejectionReason.EXTERNAL_SHARD_MALFORMED, f"{name} is no shard of external data: {problem}.")
