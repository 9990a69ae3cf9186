"""What is known of a dataset: the content of the JSON beside a page, and what the page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import competition
from participant_kit.describe.classes import Classes
from participant_kit.describe.dataset import Dataset
from participant_kit.describe.duplicates import Duplicates
from participant_kit.describe.likeness import Contamination, Coverage, LookAlikes
from participant_kit.describe.missing import Missing
from participant_kit.describe.pictures import Grid, Pictures
from participant_kit.describe.quantities import Distribution

FORMAT_VERSION = 1
LANGUAGES = 20
"""The most frequent ones are named; the others are counted together."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows.

    Args:
        rows: copies counted.
        distinct: different samples.
        copies: rows beyond the first of a sample.
        most_copies: of one sample.
        read: rows of the files, those among them that the dataset does not have.
        not_found: uids (copies counted) that the dataset has and its pool does not.
        without_uid: samples of shards without a uid, which are in none of the other numbers.
        damaged_shards: names of shards that were read up to their damage.
    """

    rows: int
    distinct: int
    copies: int
    most_copies: int
    read: int
    not_found: int
    without_uid: int
    damaged_shards: list[str]


@dataclass(frozen=True, slots=True)
class Languages:
    """Captions by language.

    Args:
        captions: that were looked at, copies counted.
        sampled: they are a sample, drawn by uid.
        counts: by language (ISO 639 code; empty: none found), the most frequent first, at most ``LANGUAGES``.
        others: captions in other languages.
        predictor: which program found them.
    """

    captions: int
    sampled: bool
    counts: dict[str, int]
    others: int
    predictor: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a description is of and how it was made; the same inputs always give the same.

    Args:
        uids_sha256: over the sorted different uids, 16 bytes each (two little-endian halves), wherever they lie.
        metadata_sha256: over names and sizes of the metadata files and their features; empty without any.
        shards_sha256: over names and sizes of the shards; empty without any.
        files: other files, by role: name and sha256.
        options: that numbers depend on.
        command: that makes it again, with names of files alone.
        seed: of all that is drawn.
        code_version: of DataCup.
    """

    uids_sha256: str
    metadata_sha256: str
    shards_sha256: str
    files: dict[str, dict[str, str]]
    options: dict[str, Any]
    command: str
    seed: int
    code_version: str = competition.__version__


@dataclass(frozen=True, slots=True)
class Description:
    """A dataset; a part that is not there says why."""

    dataset: Dataset
    rows: RowCounts
    distributions: Mapping[str, Distribution | Missing]
    languages: Languages | Missing
    exact: Duplicates | Missing
    perceptual: Duplicates | Missing
    look_alikes: LookAlikes | Missing
    contamination: Contamination | Missing
    coverage: Coverage | Missing
    classes: Classes | Missing
    pictures: Pictures | Missing
    provenance: Provenance
    grids: list[Grid] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For machines. A part that is there has ``available`` true."""
        pictures = self.pictures if isinstance(self.pictures, Missing) else self.pictures.as_json(self.grids)
        parts = {
            "languages": self.languages if isinstance(self.languages, Missing) else asdict(self.languages),
            "exact_duplicates": self.exact,
            "perceptual_duplicates": self.perceptual,
            "look_alikes": self.look_alikes,
            "contamination": self.contamination,
            "coverage": self.coverage,
            "classes": self.classes,
            "pictures": pictures,
        }
        return {
            "format_version": FORMAT_VERSION,
            "kind": str(self.dataset.kind),
            "dataset": self.dataset.name,
            "rows": asdict(self.rows),
            "distributions": {key: _part(each) for key, each in self.distributions.items()},
            **{key: _part(part) for key, part in parts.items()},
            "provenance": asdict(self.provenance),
        }

    def to_bytes(self) -> bytes:
        """The JSON file."""
        return (
            json.dumps(self.as_json(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        ).encode()


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, Missing):
        return part.as_json()
    content = part if isinstance(part, dict) else part.as_json()
    return {"available": True, **content}
