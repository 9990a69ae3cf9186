"""Near-copies among the samples that a class retrieved: of those that are alike only the best one stays."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder
from competition.data.metadata import column_uids, read_columns
from competition.data.uids import UID_DTYPE, UidArray, count_in
from competition.errors import UsageError
from participant_kit.labelled.candidates import Candidates
from participant_kit.labelled.features import pool_features
from participant_kit.subsets.parts import Part, Parts
from participant_kit.subsets.pool import MetadataPool

_UIDS = "uids.npy"


def near_copies(
    candidates: Candidates, pool: MetadataPool, member: str, dimensions: int, cosine: float
) -> NDArray[np.bool_]:
    """Which samples resemble a better one of their class that stays.

    Each class is gone through from its best sample to its worst (ties by uid); one whose cosine with a sample that
    stayed is at least ``cosine`` goes. Features of all candidates are in memory.

    Args:
        candidates: sorted by uid, each sample once.
        pool: whose samples they are, with a ``work_dir``.
        member: of the pool's features, for instance ``l14_img``.
        dimensions: of these.
        cosine: in (0, 1].

    Raises:
        UsageError: the cosine is out of range.
    """
    if not 0 < cosine <= 1:
        raise UsageError(f"--duplicate-cosine {cosine} is not above 0 and at most 1.")
    features = _features_of(candidates.uids, pool, member, dimensions)
    uids = candidates.uids
    order = np.lexsort((uids["f1"], uids["f0"], -candidates.scores, candidates.labels))
    copies = np.zeros(len(candidates), dtype=bool)
    for rows in np.split(order, np.flatnonzero(np.diff(candidates.labels[order])) + 1):
        copies[rows] = _copies(features[rows].astype(np.float32), cosine)
    return copies


def _copies(features: NDArray[np.float32], cosine: float) -> NDArray[np.bool_]:
    """Which rows, from the first on, are as near to one before them that is none itself."""
    copies = np.zeros(len(features), dtype=bool)
    stayed, count = np.empty_like(features), 0
    unsure = 4 * features.shape[1] * float(np.finfo(np.float32).eps)
    for row, feature in enumerate(features):
        cosines = stayed[:count] @ feature
        near = cosines >= cosine - unsure
        # What float32 cannot tell for certain is computed again, so that no machine's product decides.
        exact = (stayed[:count][near].astype(np.float64) * feature.astype(np.float64)).sum(axis=1)
        copies[row] = (exact >= cosine).any()
        if not copies[row]:
            stayed[count], count = feature, count + 1
    return copies


def _features_of(uids: UidArray, pool: MetadataPool, member: str, dimensions: int) -> NDArray[Any]:
    """Features of samples (sorted, each once) in their order, as the pool stores them."""
    assert pool.work_dir is not None
    folder = pool.work_dir / "features"
    make_folder(folder)
    with atomic_writer(folder / _UIDS, synced=False) as stream:
        write_npy(stream, uids)
    fingerprint = hashlib.sha256(pool.fingerprint.encode() + uids.tobytes()).hexdigest()
    inner = replace(pool, work_dir=folder, fingerprint=fingerprint)
    look = partial(_look_up, folder / _UIDS, member, dimensions)
    found = list(Parts(inner, look, "reading features of what was found"))
    owners = np.concatenate([np.zeros(0, UID_DTYPE), *(arrays["uids"] for arrays in found)])
    rows = np.concatenate([np.zeros((0, dimensions), np.float16), *(arrays["features"] for arrays in found)])
    # Of rows that share a uid, one stands for all, whichever file it is in.
    weights = np.sqrt(np.arange(2.0, dimensions + 2))
    order = np.lexsort(((rows * weights).sum(axis=1), owners["f1"], owners["f0"]))
    first = np.append(True, owners[order][1:] != owners[order][:-1]) if len(order) else np.zeros(0, bool)
    features: NDArray[Any] = rows[order[first]]
    assert len(features) == len(uids)
    return features


def _look_up(uids: Path, member: str, dimensions: int, path: Path) -> Part:
    wanted = np.load(uids, allow_pickle=False)
    table = read_columns(path, ["uid"])
    own = column_uids(table, path)
    stored = pool_features(path, member, len(own), dimensions)
    rows = np.flatnonzero(stored.usable & (count_in(own, wanted) > 0))
    return Part({"uids": own[rows], "features": np.asarray(stored.stored[rows])})
