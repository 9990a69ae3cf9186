"""Writing a labelled dataset: its table, the subset of its uids, and the record of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from competition.data.atomic import atomic_writer
from competition.data.digests import file_sha256
from competition.data.uids import repeated_rows, save_subset, uids_to_hex
from competition.evaluation.class_statistics import FEW_IMAGES, class_balance, largest_classes
from participant_kit.labelled.candidates import Candidates
from participant_kit.labelled.record import LabelledReport
from participant_kit.labelled.table import SCHEMA
from participant_kit.subsets.record import SubsetReport

SHARED = ("strategy", "options", "total", "kept", "dropped", "repeats", "assets", "tools", "subset", "subset_sha256")
"""What the records of table and subset say alike."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A labelled dataset, and how it was made.

    Args:
        strategy: its name.
        options: JSON, as recorded.
        files: read.
        total: rows read.
        dropped: of these, by reason; the others, each once, and ``repeats`` are the samples.
        repeats: see ``LabelledReport``.
        samples: sorted by uid, then label.
        ids: of the classes.
        source: what a number of ``Candidates.sources`` means, in words.
        scored: the samples have scores.
        missing: samples that were asked for and are not there.
        assets: further files that the result depends on, as a record names them.
        enough: samples of a class below which it counts as small.
        tools: see ``LabelledReport``.
        notes: see ``LabelledReport``.
    """

    strategy: str
    options: Mapping[str, Any]
    files: int
    total: int
    dropped: Mapping[str, int]
    repeats: int
    samples: Candidates
    ids: list[str]
    source: Callable[[int], str]
    scored: bool
    missing: int
    assets: dict[str, dict[str, str]]
    enough: int = FEW_IMAGES
    tools: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert len(self.samples) - self.repeats + sum(self.dropped.values()) == self.total


def write_dataset(dataset: Dataset, save_path: Path) -> LabelledReport:
    """Write the table to ``save_path``, the subset to the ``.npy`` of the same stem, and their records.

    Raises:
        StorageError: the disk is full or a path cannot be written.
    """
    subset, samples = save_path.with_suffix(".npy"), dataset.samples
    used, positions = np.unique(samples.sources, return_inverse=True)
    named = Candidates(samples.uids, samples.labels, samples.scores, positions.astype(np.int32))
    write_table(save_path, named, dataset.ids, [dataset.source(int(each)) for each in used], scored=dataset.scored)
    save_subset(subset, samples.uids)
    of_subset = SubsetReport(
        dataset.strategy,
        dict(dataset.options),
        dataset.files,
        dataset.total,
        len(samples),
        dict(dataset.dropped),
        dataset.repeats,
        dataset.assets,
        dict(dataset.tools),
        subset.name,
        file_sha256(subset),
        shared_uids=repeated_rows(samples.uids) - dataset.repeats,
    )
    of_subset.write(subset)
    counts = np.bincount(samples.labels, minlength=len(dataset.ids))
    per_class = dict(zip(dataset.ids, counts.tolist(), strict=True))
    report = LabelledReport(
        **{name: getattr(of_subset, name) for name in SHARED},
        files=dataset.files,
        missing=dataset.missing,
        per_class=per_class,
        balance=class_balance(counts).as_json(),
        empty_classes=[name for name, count in per_class.items() if not count],
        few_images=[name for name, count in per_class.items() if 0 < count < dataset.enough],
        largest_classes=sorted(per_class.items(), key=lambda pair: -pair[1])[: largest_classes(len(dataset.ids))],
        notes=dict(dataset.notes),
        table=save_path.name,
        table_sha256=file_sha256(save_path),
    )
    report.write(save_path)
    return report


def write_table(path: Path, samples: Candidates, ids: list[str], sources: list[str], *, scored: bool) -> None:
    """Write samples, in their order, as a table; the same samples give the same bytes.

    Args:
        path: the parquet file; an existing one is replaced.
        samples: their labels and sources are positions in ``ids`` and ``sources``.
        ids: of the classes.
        sources: what a source means, in words.
        scored: the scores mean something; NaN becomes null.

    Raises:
        StorageError: the disk is full or the path cannot be written.
    """
    floats = samples.scores.astype(np.float32)
    scores = pa.array(floats, mask=np.isnan(floats)) if scored else pa.nulls(len(samples), pa.float32())
    columns = [
        pa.array(uids_to_hex(samples.uids), pa.string()),
        pa.array(ids, pa.string()).take(pa.array(samples.labels)),
        scores,
        pa.array(sources, pa.string()).take(pa.array(samples.sources)),
    ]
    with atomic_writer(path) as stream:
        pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), stream, compression="zstd")
