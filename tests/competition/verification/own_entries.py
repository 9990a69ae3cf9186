"""Entries with data of their own: shards and tables beside the tiny competition's subset, or instead of it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from competition.data.digests import file_sha256
from competition.data.shards import Sample, write_samples
from competition.records.manifest import FileRole
from competition.rules import Competition, parse_competition
from tests.competition.verification.entries import COMPETITION_YAML, TinyEntry

Rows = Mapping[str, Sequence[Any]]
ROWS = 40
"""Samples that external data may have in the competition of these tests."""

OWN_YAML = COMPETITION_YAML.replace(
    "  - {id: filtering, title: Filtering}",
    "  - {id: filtering, title: Filtering}\n  - {id: byod, title: Own data, data: own}",
).replace(
    "files: 8, file_bytes: 8000000, total_bytes: 9000000, subset_uids: 80}",
    "files: 12, file_bytes: 12000000, total_bytes: 30000000, subset_uids: 80,\n"
    f"  external: {{files: 3, total_bytes: 12000000, samples: {ROWS}, image_bytes: 100000, image_pixels: 100000, "
    "total_pixels: 500000}}",
)


@cache
def own_competition() -> Competition:
    """The tiny competition with a track for data of one's own."""
    return parse_competition(OWN_YAML.encode(), name="own.yaml")


def picture(seed: int, side: int = 16) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng([5, seed]).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return png(pixels)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def samples(count: int, first: int = 0) -> list[Sample]:
    """Samples as a reshard writes them."""
    return [
        Sample(
            f"{n:032x}-0", {"png": picture(n), "txt": b"a picture", "json": json.dumps({"uid": f"{n:032x}"}).encode()}
        )
        for n in range(first, first + count)
    ]


def rows(count: int) -> dict[str, list[Any]]:
    """Rows of a table of external data."""
    return {
        "url": [f"https://example.org/{n}.jpg" for n in range(count)],
        "caption": [f"picture {n} of Zürich" for n in range(count)],
        "sha256": [hashlib.sha256(b"%d" % n).hexdigest() for n in range(count)],
        "licence": ["CC-BY-4.0"] * count,
    }


@dataclass
class OwnEntry(TinyEntry):
    """Its counts follow from what was put in."""

    counts: dict[str, int] = field(default_factory=lambda: {"external_rows": 0, "external_samples": 0})
    trained: list[dict[str, Any]] = field(default_factory=list)

    def shard(self, content: Sequence[Sample] | bytes, name: str = "external/0.tar", count: int = 1) -> OwnEntry:
        """Put in a shard of samples, or of these bytes, which claim to be ``count``."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_samples(path, content)
            count = len(content)
        self._list(name, FileRole.EXTERNAL_SHARD, "external_samples", count)
        self.trained.append({"name": name, "samples": count, "sha256": file_sha256(path)})
        return self.retrain()

    def table(
        self, content: Mapping[str, Sequence[Any]] | pa.Table | bytes, count: int = 1, **options: Any
    ) -> OwnEntry:
        """Put in a table, written with pyarrow's ``options``, or of these bytes."""
        path = self.folder / "external" / "table.parquet"
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            table = content if isinstance(content, pa.Table) else pa.table(dict(content))
            pq.write_table(table, path, **options)
            count = table.num_rows
        self._list("external/table.parquet", FileRole.EXTERNAL_TABLE, "external_rows", count)
        return self

    def without_subset(self) -> OwnEntry:
        (self.folder / "subset.npy").unlink()
        del self.roles["subset.npy"]
        return self.retrain()

    def retrain(self, **data: Any) -> OwnEntry:
        """The report of a training on the shards and on all of the subset, or with other ``data``."""
        parts = [*self.trained]
        if "subset.npy" in self.roles:
            parts.append({"name": "pool.tar", "samples": 23, "sha256": "0" * 64})
        total = sum(part["samples"] for part in parts)
        found = {"shards": max(1, len(parts)), "samples": max(1, total), "digest": "0" * 64, "corrupt_samples": 0}
        self.report(data={**found, "parts": parts, **data})
        return self

    def manifest(self, **changes: object) -> dict[str, Any]:
        counted: dict[str, object] = {name: count for name, count in self.counts.items() if count}
        if "subset.npy" not in self.roles:
            counted |= {"subset_samples": None, "subset_unique": None}
        return super().manifest(**{"track": "byod", **counted, **changes})

    def _list(self, name: str, role: FileRole, counter: str, count: int) -> None:
        self.roles[name] = role
        self.counts[counter] += count
