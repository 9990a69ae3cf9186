"""From the dataset that is wanted, and a strategy, to a labelled table, the subset of its uids, and a record.

A strategy is its options and their ``plan``: what it reads, how it finds samples, and what its record says. All else is
here: classes, quota, files, records, and that a killed run goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import competition
from competition.data.atomic import make_folder, storage_errors
from competition.data.engine import Workers, engine_of
from competition.data.metadata import list_metadata
from competition.data.uids import UidArray, repeated_rows
from competition.errors import UsageError
from competition.evaluation.class_statistics import FEW_IMAGES
from competition.progress import ProgressHook
from participant_kit.labelled.candidates import Candidates, Quota, within_quota
from participant_kit.labelled.classes import ClassList, load_classes
from participant_kit.labelled.record import LabelledReport, check_table_path
from participant_kit.labelled.write import Dataset, write_dataset
from participant_kit.subsets.pool import MetadataPool, file_states
from participant_kit.subsets.record import digests

OVER_QUOTA = "over_quota"


@dataclass(frozen=True, slots=True)
class Found:
    """What a strategy found, before the quota.

    Args:
        candidates: sorted by uid, no pair of sample and class twice.
        total: rows read; the candidates' samples (each once) and ``dropped`` sum to it.
        dropped: rows by the first reason that met them.
        source: what a number of ``Candidates.sources`` means, in words.
        scored: the candidates have scores.
        notes: for the record.
    """

    candidates: Candidates
    total: int
    dropped: Mapping[str, int]
    source: Callable[[int], str]
    scored: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert samples(self.candidates.uids) + sum(self.dropped.values()) == self.total


@dataclass(frozen=True, slots=True)
class Plan:
    """What a strategy makes of its options.

    Args:
        name: of the strategy.
        options: JSON, as recorded, without the quota.
        find: from what is read to what is found; deterministic whatever the order of files.
        files: what it reads, file by file.
        assets: further files that the result depends on, by role; the classes' is added.
    """

    name: str
    options: Mapping[str, Any]
    find: Callable[[MetadataPool], Found]
    files: Sequence[Path]
    assets: Mapping[str, Path] = field(default_factory=dict)


class Strategy(Protocol):
    """One way of labelling, with its options."""

    def plan(self, classes: ClassList) -> Plan:
        """What to do for these classes; what is wrong with the options is said before any work begins."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """The dataset that is wanted.

    Args:
        classes: file of the classes, see ``load_classes``.
        save_path: the table to write, a ``.parquet``; its uids go to the ``.npy`` of the same stem.
        quota: how large it shall be.
    """

    classes: Path
    save_path: Path
    quota: Quota = field(default_factory=Quota)


def metadata_files(metadata_dir: Path) -> list[Path]:
    """The files of a pool's metadata folder.

    Raises:
        UsageError: it is the pool's own folder.
        DataFormatError: there is no parquet file.
        StorageError: there is no such folder.
    """
    if (metadata_dir / "metadata").is_dir():
        raise UsageError(f"{metadata_dir} is a pool.", hint=f"Its metadata is in {metadata_dir / 'metadata'}.")
    return list_metadata(metadata_dir)


def label(
    target: Target, strategy: Strategy, workers: Workers = 1, progress: ProgressHook | None = None
) -> LabelledReport:
    """Find samples of the classes, and write table, subset and records.

    Args:
        target: the dataset.
        strategy: for instance ``ByCaptions``.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every file.

    Raises:
        UsageError: an option, a path or a size means nothing, or no sample is found.
        DataFormatError: a file is damaged or does not fit the others; see also ``load_classes``.
        StorageError: a file cannot be read or written.
    """
    save_path = target.save_path
    check_table_path(save_path)
    target.quota.check()
    classes = load_classes(target.classes)
    plan = strategy.plan(classes)
    assets = digests({"classes": target.classes, **plan.assets})
    make_folder(save_path.parent)
    work_dir = save_path.with_name(f".{save_path.name}.parts")
    content = [competition.__version__, plan.name, dict(plan.options), assets, file_states(plan.files)]
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    found = plan.find(MetadataPool(tuple(plan.files), engine_of(workers), progress, work_dir, fingerprint))
    kept = within_quota(found.candidates, target.quota, len(classes), scored=found.scored)
    chosen = found.candidates.take(kept)
    if not len(chosen):
        _remove(work_dir)
        raise _nothing_found(plan, classes, found)
    report = write_dataset(_dataset(target.quota, plan, classes.ids, found, chosen, assets), save_path)
    _remove(work_dir)
    return report


def samples(uids: UidArray) -> int:
    """How many different uids a sorted array has."""
    return len(uids) - repeated_rows(uids)


def _dataset(
    quota: Quota, plan: Plan, ids: list[str], found: Found, chosen: Candidates, assets: dict[str, dict[str, str]]
) -> Dataset:
    return Dataset(
        plan.name,
        dict(plan.options) | {"size": quota.size, "per_class": quota.per_class, "seed": quota.seed},
        len(plan.files),
        found.total,
        dict(found.dropped) | {OVER_QUOTA: samples(found.candidates.uids) - samples(chosen.uids)},
        repeated_rows(chosen.uids),
        chosen,
        ids,
        found.source,
        found.scored,
        max(0, (quota.size or 0) - len(chosen)),
        assets,
        enough=quota.per_class or FEW_IMAGES,
        notes=found.notes,
    )


def _remove(work_dir: Path) -> None:
    if work_dir.exists():
        with storage_errors("removing", work_dir):
            shutil.rmtree(work_dir)


def _nothing_found(plan: Plan, classes: ClassList, found: Found) -> UsageError:
    reasons = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in found.dropped.items() if count)
    return UsageError(
        f"{plan.name} finds none of the {len(classes):,} classes in {found.total:,} rows ({reasons}).",
        hint="Nothing was written. Are names, labels or features those of this pool?",
    )
