"""Tracks whose entries bring data of their own: what these may be, and how much of the evaluation any data may hold.

Every field that a competition leaves as it is stays out of its canonical JSON, so that competitions of before keep
their digests.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from competition.rules.base import Probability, Rule


class EntryData(StrEnum):
    """Where the samples that an entry was trained on come from."""

    POOL = "pool"
    """Of the scale's pool alone: the entry's subset names them."""
    OWN = "own"
    """Of anywhere: the entry holds or lists what is not of the pool, beside a subset or instead of one."""


class Descriptor(StrEnum):
    """What the member ``dedup`` of a pool's features is, where the scorer can make the same of test images."""

    THUMBNAIL = "thumbnail"
    """``competition.evaluation.copy_descriptors``, as pools of digits have it."""


class ExternalLimits(Rule):
    """Bounds on external data, beside those of all files."""

    files: int = Field(default=32, gt=0, description="tables and shards")
    total_bytes: int = Field(default=3 * 2**30, gt=0, description="of all tables and shards")
    samples: int = Field(default=10_000_000, gt=0, description="rows of the tables and samples of the shards")
    image_bytes: int = Field(default=32 * 2**20, gt=0, description="of one encoded image")
    image_pixels: int = Field(default=64_000_000, gt=0, le=64_000_000, description="of one image")
    total_pixels: int = Field(default=10**12, gt=0, description="of all images")


class Contamination(Rule):
    """How many of a task's test images an entry's data may have copies of, as a share of the task's test images.

    Whatever is allowed is shown. The default for a subset allows everything: what a pool holds is its makers' choice.
    """

    own_share: Probability = Field(default=0.01, description="for external data")
    subset_share: Probability = Field(default=1.0, description="for the samples of the pool")
    cosine: float = Field(default=0.99, gt=0, lt=1, description="of two thumbnails, above which one is a copy")
