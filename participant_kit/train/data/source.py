"""Where samples come from: one interface for shards, image folders and Hugging Face datasets, and their union."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from competition.canonical import digest
from competition.errors import DataFormatError
from competition.records.base import Line

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RawSample:
    """One sample as it is stored; ``None`` where the source has no such thing.

    Args:
        image: encoded (jpeg, png or webp).
        caption: UTF-8, unless it is damaged.
        label: class number.
    """

    image: bytes | None
    caption: bytes | None = None
    label: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a source, such as a shard: its name, its samples, and the sha256 of its content."""

    name: str
    samples: int
    sha256: str


_LINE: TypeAdapter[str] = TypeAdapter(Line)


def part_name(name: str, folder: Path) -> str:
    """``name`` of something in ``folder``, as a part's: reports list these.

    Raises:
        DataFormatError: a report cannot: it is too long, not UTF-8, or has control characters.
    """
    try:
        return _LINE.validate_python(name)
    except ValidationError as error:
        raise DataFormatError(
            f"The name {name!r} in {folder} cannot be listed in a report.",
            hint="Rename it: at most 120 characters, in UTF-8, without control characters.",
        ) from error


class Source(Protocol):
    """Samples that can be read in any order, from any process. Pickling one is cheap."""

    @property
    def parts(self) -> Sequence[Part]:
        """Its pieces, in the order of its samples."""
        ...

    @property
    def identities(self) -> Indices:
        """[samples]: equal where samples are copies of one uid."""
        ...

    def read(self, index: int) -> RawSample:
        """The sample at a position (raises ``StorageError``)."""
        ...

    def describe(self, index: int) -> str:
        """Where a sample lies, for messages."""
        ...


class TrainingSet:
    """All sources of a run, one behind the other."""

    def __init__(
        self, sources: Sequence[Source], weights: Sequence[float] | None = None, labels_sha256: str | None = None
    ) -> None:
        """Put sources together.

        Args:
            sources: in order.
            weights: how often the sources are seen; without them every sample is seen equally often.
            labels_sha256: identity of labels that do not come from the parts, see ``Labels``.
        """
        self.sources = tuple(sources)
        self.weights = tuple(weights) if weights is not None else None
        self.labels_sha256 = labels_sha256
        self.sizes = tuple(sum(part.samples for part in source.parts) for source in sources)
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def identities(self) -> Indices:
        """[samples]: equal where samples are copies of one uid."""
        if len(self.sources) == 1:
            return self.sources[0].identities
        return np.concatenate([source.identities for source in self.sources])

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Those of all sources."""
        return tuple(part for source in self.sources for part in source.parts)

    @cached_property
    def digest(self) -> str:
        """sha256 over the sorted (name, sha256) pairs of the parts; of several sources in order, with the weights.

        With labels of their own, it is the sha256 over that digest and theirs.
        """
        pairs = [sorted([part.name, part.sha256] for part in source.parts) for source in self.sources]
        samples = digest(pairs[0] if len(pairs) == 1 else [pairs, self.weights and list(self.weights)])
        return digest([samples, self.labels_sha256]) if self.labels_sha256 else samples

    def read(self, index: int) -> RawSample:
        """The sample at a position (raises ``StorageError``)."""
        source, place = self._place(index)
        return source.read(place)

    def describe(self, index: int) -> str:
        """Where a sample lies, for messages."""
        source, place = self._place(index)
        return source.describe(place)

    def _place(self, index: int) -> tuple[Source, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.sources[number], index - int(self._starts[number])
