"""Which clusters of a pool hold an image of a target set, for instance of ImageNet-1k.

A million target images against 100,000 centres take a while without a GPU, and the answer depends on two files only:
it is kept in the cache, under their digests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competition.data.arrays import write_npy
from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.digests import file_sha256
from competition.data.npz import member_names, open_member
from competition.errors import DataFormatError
from competition.progress import Progress, ProgressHook
from participant_kit.subsets.centroids import check_features, load_centroids, load_matrix, nearest_centroids

STAGE = "finding the targets' clusters"

_ROWS_AT_A_TIME = 1 << 14
_WORTH_KEEPING = 1 << 30
"""Inner products from which the answer is kept."""


def target_clusters(features: Path, centroids: Path, progress: ProgressHook | None = None) -> NDArray[np.bool_]:
    """Which clusters hold a target image: a mask of shape (clusters,).

    Args:
        features: of target images: a ``.npy``, or an ``.npz`` of which every member counts.
        centroids: the cluster centres.
        progress: told how many images are done.

    Raises:
        DataFormatError: not 2-D arrays of finite floats with as many dimensions as the centres.
        StorageError: a file cannot be read, or the cache not written.
    """
    centres = load_centroids(centroids)
    members = _members(features)
    for name, member in members.items():
        check_features(member, centres, f"The target features {name}", centroids)
    images = sum(len(member) for member in members.values())
    if images * len(centres) < _WORTH_KEEPING:
        return _assign(members, centres, images, progress)
    with storage_errors("reading", features):
        name = f"{file_sha256(centroids)[:32]}-{file_sha256(features)[:32]}.npy"
    from participant_kit.settings import KitSettings  # heavy, and most subsets need no targets

    kept = KitSettings().assets_root / "target_clusters" / name
    if not kept.exists():
        make_folder(kept.parent)
        wanted = _assign(members, centres, images, progress)
        with atomic_writer(kept) as stream:
            write_npy(stream, wanted)
    mask: NDArray[np.bool_] = np.load(kept, allow_pickle=False)
    return mask


def _assign(
    members: dict[str, NDArray[Any]], centres: NDArray[np.float32], images: int, progress: ProgressHook | None
) -> NDArray[np.bool_]:
    wanted, done = np.zeros(len(centres), dtype=bool), 0
    for name, member in members.items():
        for start in range(0, len(member), _ROWS_AT_A_TIME):
            block = np.asarray(member[start : start + _ROWS_AT_A_TIME], dtype=np.float32)
            if not np.isfinite(block).all():
                raise DataFormatError(f"The target features {name} are not all finite.")
            wanted[nearest_centroids(block, centres)] = True
            done += len(block)
            if progress is not None:
                progress(Progress(STAGE, done, images))
    return wanted


def _members(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the file by a name for messages, as memory maps."""
    if path.suffix != ".npz":
        return {path.name: load_matrix(path)}
    return {f"{path.name}:{name}": open_member(path, name) for name in member_names(path)}
