"""The shards of a prepared set: in a fixed order, one shard in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from competition.data.atomic import make_folder, write_bytes
from competition.data.shards import Sample, write_samples
from competition.errors import DataFormatError
from competition.evalsets.preparing.images import StoredImage, stored
from competition.evalsets.preparing.recipes import SetRecipe
from competition.evalsets.preparing.source import SourcePart, annotation
from competition.progress import Progress, ProgressHook

SHARD_IMAGES = 1_000
SHARD_BYTES = 256 * 2**20
"""A shard is closed when it has so many images or so many bytes: one is in memory at a time."""


def write_part(folder: Path, part: SourcePart, recipe: SetRecipe, progress: ProgressHook | None) -> tuple[int, int]:
    """Write the shards of a part; returns how many images it has, and how many were left out.

    Raises:
        DataFormatError: the part is empty, or an image cannot be decoded.
        StorageError: the disk is full, or an image cannot be read.
    """
    if not part.labels:
        raise DataFormatError(f"The part {folder.name} of {recipe.name} holds no image.")
    make_folder(folder)
    drop_grey = recipe.colour_only and not recipe.random_split
    kept = dropped = size = 0
    block: list[Sample] = []
    shards = count()
    for row in counted(part, f"preparing {recipe.name}, {folder.name}", progress):
        image: StoredImage = stored(part.image(row), f"{folder.name} {row} of {recipe.name}")
        if drop_grey and not image.colour:
            dropped += 1
            continue
        extension, note = annotation(part.labels[row])
        block.append(Sample(f"s{kept:07d}", {image.extension: image.data, extension: note}))
        kept += 1
        size += len(image.data)
        if len(block) == SHARD_IMAGES or size >= SHARD_BYTES:
            write_samples(folder / f"{next(shards)}.tar", block)
            block, size = [], 0
    if block:
        write_samples(folder / f"{next(shards)}.tar", block)
    write_bytes(folder / "nshards.txt", str(next(shards)).encode())
    return kept, dropped


def counted(part: SourcePart, stage: str, progress: ProgressHook | None) -> Iterator[int]:
    """The places of a part's images, telling now and then how far it is."""
    for row in range(len(part.labels)):
        yield row
        if progress is not None and (row + 1) % 100 == 0:
            progress(Progress(stage, row + 1, len(part.labels)))
