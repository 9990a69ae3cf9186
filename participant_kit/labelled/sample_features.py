"""Features of given samples of a pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competition.data.metadata import features_path, list_metadata, read_uids
from competition.data.npz import open_member
from competition.data.uids import UidArray, count_in, uids_to_hex
from competition.errors import DataFormatError
from participant_kit.labelled.features import pool_features


def sample_features(uids: UidArray, metadata_dir: Path, member: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """L2-normalised features of samples, in their order.

    Args:
        uids: sorted, each once.
        metadata_dir: of the pool; the files without any of the samples need no features.
        member: of the pool's features, for instance ``l14_img``.

    Returns:
        float32 of shape (samples, dimensions), and a mask: which of them have features.

    Raises:
        DataFormatError: a sample has several features; see also ``pool_features``.
        StorageError: a file cannot be read.
    """
    features = np.zeros((len(uids), 0), dtype=np.float32)
    found = np.zeros(len(uids), dtype=bool)
    for path in list_metadata(metadata_dir):
        own = read_uids(path)
        rows = np.flatnonzero(count_in(own, uids))
        if not len(rows):
            continue
        dimensions = features.shape[1] or open_member(features_path(path), member).shape[1]
        stored = pool_features(path, member, len(own), dimensions)
        if not features.shape[1]:
            features = np.zeros((len(uids), dimensions), dtype=np.float32)
        rows = rows[stored.usable[rows]]
        for row, place in zip(rows, np.searchsorted(uids, own[rows]), strict=True):
            if found[place] and (features[place] != stored.stored[row]).any():
                raise DataFormatError(f"The uid {uids_to_hex(own[[row]])[0]} has several features in {metadata_dir}.")
            features[place], found[place] = stored.stored[row], True
    return features, found
