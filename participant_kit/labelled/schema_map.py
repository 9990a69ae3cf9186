"""Classes for samples that have labels of another vocabulary: SELECT's ``OI1000``, by a table from labels to classes.

SELECT maps the labels of OpenImages to ImageNet's classes in this way. Its accuracy says what such a mapping costs: the
heaviest classes are those of the broadest labels, so the record shows how samples are spread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.metadata import pool_uids
from competition.data.uids import count_in
from competition.errors import UsageError
from participant_kit.labelled.candidates import Candidates, best_of_each, of_one_class
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.mapping import load_mapping
from participant_kit.labelled.run import Found, Plan, metadata_files
from participant_kit.labelled.table import label_tables, read_labels
from participant_kit.subsets.parts import Part, Parts
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, sum_dropped

MOST_FREQUENT = 100
"""How many unmapped labels the record names; it counts them all."""


@dataclass(frozen=True, slots=True)
class BySchema:
    """The strategy ``schema-map``.

    Args:
        labels: tables of uid and label, files or folders of them.
        mapping: file of labels and class ids, see ``load_mapping``.
        confidence: name of a column of numbers, larger is surer; none when absent.
        least: rows below this confidence do not count.
        best: a sample with labels of several classes has that of the surest one; otherwise it is dropped.
        metadata_dir: samples that are not in this pool do not count; any sample does when absent.
    """

    labels: Sequence[Path]
    mapping: Path
    confidence: str | None = None
    least: float | None = None
    best: bool = False
    metadata_dir: Path | None = None

    def plan(self, classes: ClassList) -> Plan:
        """Raises what ``load_mapping``, ``metadata_files`` and ``label_tables`` raise, ``UsageError`` for an option."""
        if self.least is not None and self.confidence is None:
            raise UsageError("--min-confidence needs --confidence, the name of the column.")
        if self.best and self.confidence is None:
            raise UsageError("--best needs --confidence, the name of the column that says how sure a label is.")
        mapping = load_mapping(self.mapping, classes)
        if self.metadata_dir is not None:
            metadata_files(self.metadata_dir)
        options = {
            "confidence": self.confidence,
            "min_confidence": self.least,
            "several": "best" if self.best else "drop",
            "within_pool": self.metadata_dir is not None,
        }
        find, tables = partial(_find, self, mapping), label_tables(self.labels)
        return Plan("schema-map", options, find, tables, {"mapping": self.mapping})


def _find(options: BySchema, mapping: Mapping[str, int], pool: MetadataPool) -> Found:
    """Samples with a label that is mapped.

    Raises:
        DataFormatError: a table is damaged or lacks a column.
    """
    parts = Parts(pool, partial(_look_up, options, mapping), "mapping labels")
    candidates = Candidates.joined([Candidates(**arrays) for arrays in parts])
    dropped = sum_dropped([facts["dropped"] for facts in parts.facts])
    if options.metadata_dir is not None:
        inside = count_in(candidates.uids, pool_uids(options.metadata_dir)) > 0
        dropped["not_in_pool"] = int(np.count_nonzero(~inside))
        candidates = candidates.take(inside)
    pairs = best_of_each(candidates, by_class=True)
    kept = best_of_each(pairs, by_class=False) if options.best else pairs.take(of_one_class(pairs))
    dropped |= {"class_repeated": len(candidates) - len(pairs), "several_classes": len(pairs) - len(kept)}
    labels, total = list(mapping), parts.total("rows")
    notes = _notes(mapping, candidates, [facts["unmapped"] for facts in parts.facts])
    return Found(kept, total, dropped, lambda number: f"label: {labels[number]}", options.confidence is not None, notes)


def _look_up(options: BySchema, mapping: Mapping[str, int], path: Path) -> Part:
    """One table of labels."""
    columns = read_labels(path, options.confidence)
    funnel = Funnel(len(columns.uids))
    funnel.keep(columns.codes >= 0, "label_missing")
    if options.confidence is not None:
        funnel.keep(~np.isnan(columns.confidences[funnel.rows]), "confidence_missing")
    if options.least is not None:
        funnel.keep(columns.confidences[funnel.rows] >= options.least, "confidence_too_low")
    numbers = {label: number for number, label in enumerate(mapping)}
    known = np.array([numbers.get(label, -1) for label in columns.labels] or [-1], dtype=np.int32)
    codes = columns.codes[funnel.rows]
    counts = np.bincount(codes[known[codes] < 0], minlength=len(columns.labels)).tolist()
    unmapped = {label: count for label, count in zip(columns.labels, counts, strict=True) if count}
    funnel.keep(known[codes] >= 0, "label_unmapped")
    sources = known[columns.codes[funnel.rows]]
    classes = np.array(list(mapping.values()), dtype=np.int32)
    arrays = {
        "uids": columns.uids[funnel.rows],
        "labels": classes[sources],
        "scores": columns.confidences[funnel.rows],
        "sources": sources,
    }
    return Part(arrays, {"rows": funnel.total, "dropped": funnel.dropped, "unmapped": unmapped})


def _notes(mapping: Mapping[str, int], candidates: Candidates, unmapped: list[dict[str, int]]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for each in unmapped:
        counts.update(each)
    used = np.bincount(candidates.sources, minlength=len(mapping)) > 0
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "mapped_labels": len(mapping),
        "mapped_labels_without_sample": [label for label, met in zip(mapping, used, strict=True) if not met],
        "unmapped_labels": len(counts),
        "unmapped_rows": sum(counts.values()),
        "most_frequent_unmapped": [list(pair) for pair in ordered[:MOST_FREQUENT]],
    }
