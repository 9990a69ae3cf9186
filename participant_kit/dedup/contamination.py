"""Images of a pool that evaluation sets have too: decontamination as DataComp did it (Gadre et al., 2023, appendix E).

DataComp compared copy-detection descriptors (ISC21) of its pool with those of its evaluation sets, and removed what had
a cosine above 0.604169 with any of them. Other descriptors need another threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder
from competition.data.engine import Workers
from competition.data.metadata import column_uids, features_path, list_metadata, read_columns, read_feature
from competition.data.npz import member_names, open_member
from competition.data.uids import UID_DTYPE, UidArray, forget_pages, uids_to_hex
from competition.data.workers import one_thread_a_worker
from competition.errors import DataFormatError
from competition.progress import ProgressHook
from participant_kit.dedup.groups import DROPPED, REFERENCE, Groups, joined
from participant_kit.dedup.pool_run import Deduplicated, Found, Way, deduplicate
from participant_kit.dedup.unit import Floats, check_dimensions, check_threshold, feature_source, unit_rows
from participant_kit.subsets.centroids import load_matrix
from participant_kit.subsets.pool import MetadataPool
from participant_kit.subsets.result import Funnel, SubsetResult

DATACOMP_THRESHOLD = 0.604169
IDS = "ids"
"""Member of an npz of descriptors that names its rows."""

_ROWS_AT_A_TIME = 1 << 12
_REFERENCES_AT_A_TIME = 1 << 12


@dataclass(frozen=True, slots=True)
class References:
    """What may not be in the pool: unit rows, and what each is called."""

    rows: Floats
    ids: list[str]


def decontaminate(
    metadata_dir: Path,
    references: Path,
    save_path: Path,
    features: str = "dedup",
    threshold: float = DATACOMP_THRESHOLD,
    workers: Workers = 1,
    progress: ProgressHook | None = None,
) -> Deduplicated:
    """Keep the images that are like no reference image: whose largest cosine with any is at most the threshold.

    The groups are the reference images that were found, each with the rows of the pool that are most like it. Rows
    without finite features are dropped and counted.

    Args:
        metadata_dir: the pool's metadata folder.
        references: a ``.npy`` of features; an ``.npz`` with the member ``features`` (of its only one otherwise) and,
            perhaps, ``ids``; or the metadata folder of an annotated pool of the reference images.
        save_path: the ``.npy`` to write.
        features: member of the npz files.
        threshold: a cosine, at least 0 and below 1.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every metadata file.

    Raises:
        UsageError: the threshold is out of range.
        DataFormatError: features are absent, damaged, of other dimensions, not L2-normalised, or references not finite.
        StorageError: a file cannot be read or written.
    """
    check_threshold(threshold)
    files = list_metadata(references) if references.is_dir() else [references]
    found = load_references(references, features)
    options = {"features": features, "threshold": threshold, "references": len(found.ids)}
    assets = {f"references_{number}": features_path(path) if references.is_dir() else path
              for number, path in enumerate(files, 1)}  # fmt: skip
    way = Way("dedup_decontaminate", options, partial(_find, found, features, threshold), assets)
    return deduplicate(way, metadata_dir, save_path, workers, progress)


def load_references(path: Path, features: str) -> References:
    """Read reference features; see ``decontaminate``."""
    if path.is_dir():
        parts, ids = [], []
        for file in list_metadata(path):
            parts.append(_finite(read_feature(file, features), feature_source(file, features)))
            ids += uids_to_hex(column_uids(read_columns(file, ["uid"]), file))
        check_dimensions({f"file {number} of {path}": part.shape[1] for number, part in enumerate(parts, 1)})
        return References(np.concatenate(parts), ids)
    if path.suffix == ".npy":
        rows = _finite(load_matrix(path), f"reference features of {path.name}")
        return References(rows, [str(row) for row in range(len(rows))])
    names = [name for name in member_names(path) if name != IDS]
    member = names[0] if len(names) == 1 else features
    rows = _finite(open_member(path, member), f"reference features {member!r} of {path.name}")
    ids = [str(row) for row in range(len(rows))]
    if IDS in member_names(path):
        ids = [str(each) for each in open_member(path, IDS).tolist()]
    if len(ids) != len(rows):
        raise DataFormatError(f"{path} names {len(ids)} rows and has {len(rows)}.")
    return References(rows, ids)


def _finite(stored: NDArray[Any], source: str) -> Floats:
    rows, finite = unit_rows(stored, source)
    if not len(rows) or not finite.all():
        missing = int(np.count_nonzero(~finite))
        raise DataFormatError(
            f"Of the {len(rows):,} rows of {source}, {missing:,} are not finite." if len(rows) else f"No {source}.",
            hint="An evaluation image that cannot be compared would be missed: leave such rows out knowingly.",
        )
    return rows


def _find(references: References, features: str, threshold: float, pool: MetadataPool) -> Found:
    assert pool.work_dir is not None
    work = pool.work_dir
    make_folder(work)
    with atomic_writer(work / "references.npy") as stream:
        write_npy(stream, references.rows)
    result = pool.select(partial(_compare_file, features, threshold, work), "comparing with the references")
    parts = []
    for path in pool.files:
        with np.load(_matches_path(work, path), allow_pickle=False) as content:
            parts.append((content["uids"], content["references"], content["cosines"]))
    uids, places, cosines = (
        joined([part[number] for part in parts], kind) for number, kind in enumerate((UID_DTYPE, np.int64, np.float32))
    )
    return result, _matched(references, uids, places, cosines)


def _matched(references: References, uids: UidArray, places: NDArray[np.int64], cosines: Floats) -> Groups:
    """A group for each reference that was found: the reference, then the pool's rows, the most alike first."""
    found, counts = np.unique(places, return_counts=True)
    order = np.lexsort((found, -counts))
    number_of = dict(zip(found[order].tolist(), range(len(found)), strict=True))
    numbers = np.array([number_of[place] for place in places.tolist()], dtype=np.int64)
    numbers = np.concatenate([np.arange(len(found)), numbers])
    ids = [references.ids[place] for place in found[order].tolist()] + uids_to_hex(uids)
    roles = [REFERENCE] * len(found) + [DROPPED] * len(uids)
    measures = np.concatenate([np.full(len(found), np.nan, np.float32), cosines])
    rows = np.lexsort((ids, -np.nan_to_num(measures, nan=2), numbers))
    return Groups(numbers[rows], [ids[row] for row in rows], [roles[row] for row in rows], measures[rows])


def _compare_file(features: str, threshold: float, work: Path, path: Path) -> SubsetResult:
    """Runs in a worker; what was above the threshold goes to a file beside the uids."""
    references = np.load(work / "references.npy", mmap_mode="r", allow_pickle=False)
    table = read_columns(path, ["uid"])
    uids = column_uids(table, path)
    stored = read_feature(path, features, rows=table.num_rows)
    check_dimensions({path.stem: stored.shape[1], "the references": references.shape[1]})
    finite = np.zeros(len(uids), dtype=bool)
    nearest, largest = np.zeros(len(uids), dtype=np.int64), np.zeros(len(uids), dtype=np.float32)
    over = np.zeros(len(uids), dtype=bool)
    with one_thread_a_worker():
        for start in range(0, len(uids), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            rows, finite[part] = unit_rows(stored[part], feature_source(path, features))
            nearest[part], largest[part], over[part] = most_alike(rows, references, threshold)
            forget_pages(stored)
    with atomic_writer(_matches_path(work, path)) as stream:
        np.savez(stream, allow_pickle=False, uids=uids[over], references=nearest[over], cosines=largest[over])
    funnel = Funnel(len(uids))
    funnel.keep(finite, "features_missing")
    funnel.keep(~over[funnel.rows], "like_a_reference")
    return funnel.result(uids)


def most_alike(
    rows: Floats, references: NDArray[Any], threshold: float
) -> tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """Of each row the reference with the largest cosine, the cosine, and whether it is above the threshold.

    Args:
        rows: unit rows, float32.
        references: likewise, at least one.
        threshold: at least 0, below 1.

    A row whose cosine is too close to the threshold for float32 is decided in float64.
    """
    nearest, largest = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), -2, dtype=np.float32)
    for start in range(0, len(references), _REFERENCES_AT_A_TIME):
        cosines = rows @ references[start : start + _REFERENCES_AT_A_TIME].T
        best = cosines.argmax(axis=1)
        found = cosines[np.arange(len(rows)), best]
        better = found > largest
        nearest[better], largest[better] = best[better] + start, found[better]
    unsure = np.float32(2 * rows.shape[1] * np.finfo(np.float32).eps)
    over = largest > np.float32(threshold)
    for row in np.flatnonzero(np.abs(largest - np.float32(threshold)) <= unsure):
        exact = references.astype(np.float64) @ rows[row].astype(np.float64)
        nearest[row], over[row] = exact.argmax(), exact.max() > threshold
    return nearest, np.minimum(largest, np.float32(1)), over


def _matches_path(work: Path, path: Path) -> Path:
    return work / f"{path.stem}.matches.npz"
