"""What fetching a pool's images can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from competition.errors import UsageError
from participant_kit.pools.images.public_web import WebLimits

SHARD_SAMPLES = 10_000
"""Rows a shard, downloaded or not; DataComp's."""

KEY_DIGITS = (8, 4)
"""Digits of a sample's key: the shard's number, then the row within the shard."""


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How images are fetched and stored. The defaults are DataComp's, but for the last three, which it lacks.

    Args:
        processes: shards at a time, each in a process of its own.
        threads: connections at a time of each process.
        image_size: longest side in pixels; smaller images keep their size.
        quality: of the JPEG, 1 to 100; every image is encoded anew.
        blur: blur the faces that the pool's ``face_bboxes`` name.
        verify: refuse an image whose bytes are not those of the pool's ``sha256``.
        retries: further attempts at once, within the same run.
        timeout_s: to connect, and between two bytes.
        retry_failed: when every shard is complete, try the failed rows again, in further shards.
        max_bytes: of one original.
        max_seconds: for one original.
        private_hosts: fetch from addresses that are not public, too.
    """

    processes: int = 16
    threads: int = 128
    image_size: int = 512
    quality: int = 95
    blur: bool = True
    verify: bool = True
    retries: int = 2
    timeout_s: int = 10
    retry_failed: bool = True
    max_bytes: int = 64 << 20
    max_seconds: float = 120.0
    private_hosts: bool = False

    def __post_init__(self) -> None:
        for name, least in (("processes", 1), ("threads", 1), ("image_size", 1), ("timeout_s", 1), ("retries", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least {least}.")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"The JPEG quality is {self.quality}; it must be from 1 to 100.")

    @property
    def limits(self) -> WebLimits:
        """For the process that fetches."""
        return WebLimits(self.max_bytes, self.max_seconds, self.private_hosts)

    @property
    def content(self) -> dict[str, object]:
        """What the shards' content depends on: one pool may not mix two of these."""
        return {"image_size": self.image_size, "quality": self.quality, "blur": self.blur, "verify": self.verify}
