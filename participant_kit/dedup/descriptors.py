"""Copy descriptors of any images, for comparing them with a pool that has the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from competition.data.atomic import atomic_writer, make_folder, storage_errors
from competition.data.engine import Workers
from competition.errors import UsageError
from competition.progress import ProgressHook
from participant_kit.dedup.contamination import IDS
from participant_kit.dedup.image_sets import ImageSet, Reading, read_set, stacked

MEMBER = "dedup"


@dataclass(frozen=True, slots=True)
class Described:
    """What was described: images, and those that cannot be decoded."""

    images: int
    undecodable: int
    dimensions: int

    def as_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {"images": self.images, "undecodable": self.undecodable, "dimensions": self.dimensions}


def describe_images(
    images: Path, save_path: Path, workers: Workers = 1, progress: ProgressHook | None = None
) -> Described:
    """Write an npz of a set's copy descriptors, ``dedup`` float32 (images, 256), and what they are called, ``ids``.

    They are those of the digits pools: a 16 x 16 thumbnail without its mean colour, projected and L2-normalised.

    Args:
        images: a folder of images, shards, or an evaluation set.
        save_path: the ``.npz`` to write.
        workers: how many tasks at a time on this machine, or an engine.
        progress: told after every part.

    Raises:
        UsageError: not an ``.npz`` path, or no image can be decoded.
        DataFormatError: a shard is damaged, or the folder holds no image.
        StorageError: a path cannot be read or written.
    """
    if save_path.suffix != ".npz":
        raise UsageError(f"The save path {save_path} does not end in .npz.")
    work = save_path.with_name(f".{save_path.name}.parts")
    found = read_set(ImageSet.of(images), Reading("thumbnail"), work, workers, progress)
    rows = stacked(found.arrays())
    make_folder(save_path.parent)
    with atomic_writer(save_path) as stream:
        np.savez(stream, allow_pickle=False, **{MEMBER: rows, IDS: np.array(found.ids)})
    import shutil

    with storage_errors("removing", work):
        shutil.rmtree(work)
    return Described(len(rows), found.undecodable, rows.shape[1])
