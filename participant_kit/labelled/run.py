"""Running a strategy over a pool, to a labelled table, the subset of its uids and a record; a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import competition
from competition.data.atomic import make_folder, storage_errors
from competition.data.engine import Workers, engine_of
from competition.data.metadata import list_metadata
from competition.data.uids import UidArray, repeated_rows
from competition.errors import UsageError
from competition.evaluation.class_statistics import FEW_IMAGES
from competition.progress import ProgressHook
from participant_kit.labelled.candidates import Candidates, Quota, within_quota
from participant_kit.labelled.classes import ClassList
from participant_kit.labelled.record import LabelledReport
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
class Labelling:
    """A strategy with everything that it needs.

    Args:
        name: of the strategy.
        options: JSON, as recorded, without the quota.
        find: from the pool to what it finds; deterministic whatever the order of files.
        classes: the labels.
        quota: how large the dataset shall be.
        assets: further files that the result depends on, by role.
        tools: see ``LabelledReport``.
    """

    name: str
    options: Mapping[str, Any]
    find: Callable[[MetadataPool], Found]
    classes: ClassList
    quota: Quota
    assets: Mapping[str, Path]
    tools: Mapping[str, str] = field(default_factory=dict)


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


def run_labelling(
    labelling: Labelling,
    files: Sequence[Path],
    save_path: Path,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> LabelledReport:
    """Find samples of the classes, and write table, subset and records.

    Args:
        labelling: the strategy.
        files: what it reads, file by file.
        save_path: the table's path; the subset goes to the same name with ``.npy``.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every file.

    Raises:
        UsageError: no sample is found.
        DataFormatError: a file is damaged or does not fit the others.
        StorageError: a file cannot be read or written.
    """
    assets = digests(labelling.assets)
    make_folder(save_path.parent)
    work_dir = save_path.with_name(f".{save_path.name}.parts")
    content = [competition.__version__, labelling.name, dict(labelling.options), assets, file_states(files)]
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    found = labelling.find(MetadataPool(tuple(files), engine_of(workers), progress, work_dir, fingerprint))
    kept = within_quota(found.candidates, labelling.quota, len(labelling.classes), scored=found.scored)
    chosen = found.candidates.take(kept)
    if not len(chosen):
        _remove(work_dir)
        raise _nothing_found(labelling, found)
    report = write_dataset(_dataset(labelling, found, chosen, len(files), assets), save_path)
    _remove(work_dir)
    return report


def samples(uids: UidArray) -> int:
    """How many different uids a sorted array has."""
    return len(uids) - repeated_rows(uids)


def _dataset(
    labelling: Labelling, found: Found, chosen: Candidates, files: int, assets: dict[str, dict[str, str]]
) -> Dataset:
    quota = labelling.quota
    return Dataset(
        labelling.name,
        dict(labelling.options) | {"size": quota.size, "per_class": quota.per_class, "seed": quota.seed},
        files,
        found.total,
        dict(found.dropped) | {OVER_QUOTA: samples(found.candidates.uids) - samples(chosen.uids)},
        repeated_rows(chosen.uids),
        chosen,
        labelling.classes.ids,
        found.source,
        found.scored,
        max(0, (quota.size or 0) - len(chosen)),
        assets,
        enough=quota.per_class or FEW_IMAGES,
        tools=labelling.tools,
        notes=found.notes,
    )


def _remove(work_dir: Path) -> None:
    if work_dir.exists():
        with storage_errors("removing", work_dir):
            shutil.rmtree(work_dir)


def _nothing_found(labelling: Labelling, found: Found) -> UsageError:
    reasons = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in found.dropped.items() if count)
    return UsageError(
        f"{labelling.name} finds none of the {len(labelling.classes):,} classes in {found.total:,} rows ({reasons}).",
        hint="Nothing was written. Are names, labels or features those of this pool?",
    )
