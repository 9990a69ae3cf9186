"""Test images in an entry's data: none of them beyond what the competition allows, and all is told.

Samples of the pool were compared once for all entries; external images are compared here, while it is made sure that
each of them can be decoded. What a table of external data lists is known by its sha256 alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from competition.data.uids import load_subset
from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import FileRole
from competition.rules import ExternalLimits
from competition.verification.entry import Entry, Findings, shown
from competition.verification.external_shards import images_of
from competition.verification.external_table import read_digests
from competition.verification.overlap import Comparison

MAX_SCANS = 64
"""Of a progressive jpeg, which is decoded once for each."""
_USUAL_SCANS = 10
_SCAN = b"\xff\xda"
_TOGETHER = 2048
"""Images that are compared at a time."""


def check_contamination(entry: Entry) -> Findings:
    """Every external image can be decoded within the limits, and no part of the data has too many test images.

    Where no test images are at hand, only the former is checked.

    Raises:
        RejectionError: an image is none or too large, or the data are contaminated.
    """
    rule = entry.competition.contamination
    comparison = Comparison(entry.compared or (), rule.cosine)
    for _, path in entry.all(FileRole.SUBSET):
        comparison.add_subset(load_subset(path, require_sorted=False))
    for file, path in entry.all(FileRole.EXTERNAL_TABLE):
        for digests in read_digests(path, file.path):
            comparison.add_digests(digests)
            entry.beat()
    _compare_images(entry, comparison)
    for overlap in comparison.overlaps():
        entry.tell(overlap)
    comparison.check(rule)
    return {"compared_tasks": len(entry.compared or ())}


def _compare_images(entry: Entry, comparison: Comparison) -> None:
    shards = entry.all(FileRole.EXTERNAL_SHARD)
    if not shards:
        return
    from competition.evaluation.copies import Fingerprint, Fingerprints
    from competition.evaluation.decoding import processors
    from competition.evaluation.fingerprinting import fingerprint_blocks
    from competition.evaluation.images import ImageDecodingError

    budget = _Budget(entry.competition.limits.external)
    waiting: list[Fingerprint] = []
    for file, path in shards:
        names: list[str] = []
        admitted = budget.admitted(images_of(path, file.path), file.path, names)
        done = 0
        for block in fingerprint_blocks((partial(bytes, data) for data in admitted), processors()):
            for looked in block:
                if isinstance(looked, ImageDecodingError):
                    raise _unusable(file.path, names[done], str(looked))
                waiting.append(looked)
                done += 1
            if len(waiting) >= _TOGETHER:
                comparison.add_own(Fingerprints.of(waiting))
                waiting.clear()
            entry.beat()
    comparison.add_own(Fingerprints.of(waiting))


class _Budget:
    """How much may still be decoded; an image is admitted by what it says of itself."""

    def __init__(self, limits: ExternalLimits) -> None:
        self._limits = limits
        self._left = limits.total_pixels

    def admitted(self, images: Iterator[tuple[str, bytes]], name: str, names: list[str]) -> Iterator[bytes]:
        """The images, each of which may be decoded; their samples' keys are put into ``names``."""
        from competition.evaluation.images import ImageDecodingError, image_size

        for key, data in images:
            names.append(key)
            try:
                width, height = image_size(data)
            except ImageDecodingError as error:
                raise _unusable(name, key, str(error)) from error
            scans = data.count(_SCAN)
            if width * height > self._limits.image_pixels or scans > MAX_SCANS:
                raise _unusable(name, key, f"it has {width} x {height} pixels in {max(scans, 1)} scans")
            self._left -= width * height * max(1, scans // _USUAL_SCANS)
            if self._left < 0:
                raise RejectionError(
                    RejectionReason.EXTERNAL_TOO_LARGE,
                    f"The external images have more than {self._limits.total_pixels} pixels in all.",
                )
            yield data


def _unusable(name: str, key: str, problem: str) -> RejectionError:
    words = "".join(each if each.isprintable() else " " for each in problem)[:200]
    return RejectionError(
        RejectionReason.EXTERNAL_IMAGE_MALFORMED, f"{name}: the image of sample {shown(key)} cannot be used: {words}."
    )
