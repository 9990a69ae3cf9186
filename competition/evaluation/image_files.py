"""Images of an evaluation set that are files of their own, decoded through the cache as shards are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from competition.data.atomic import storage_error
from competition.errors import DataFormatError, EvaluationError
from competition.evaluation.decoding import Pixels, UnreadableImagesError, decoded_files, processors
from competition.evaluation.images import Preparation
from competition.evaluation.set_cache import SetCache, pixels_key
from competition.evaluation.set_texts import HINT


@dataclass(frozen=True)
class ImageFiles:
    """Files below the folder of a set, in a fixed order.

    Args:
        folder: the set's.
        paths: of the images.
    """

    folder: Path
    paths: tuple[Path, ...]

    @property
    def names(self) -> list[str]:
        """What they are called in messages: their paths in the folder."""
        return [path.relative_to(self.folder).as_posix() for path in self.paths]

    def pixels(self, prepare: Preparation, cache: Path | None = None) -> tuple[Pixels, str]:
        """Prepared images uint8 [N, S, S, 3], and their identity (empty without a cache).

        With a cache they are decoded once for all entries, and mapped from the disk.

        Raises:
            EvaluationError: an image cannot be used.
            StorageError: a file cannot be read, or the disk is full.
        """
        kept = SetCache(cache)
        found = ""
        if cache is not None:
            try:
                found = kept.files_digest(self.folder, self.paths)
            except OSError as error:
                raise storage_error(error, "reading", Path(error.filename or self.folder)) from error
        try:
            images = kept.pixels(found, self.blocks(prepare), len(self.paths), prepare)
        except DataFormatError as error:
            raise EvaluationError(f"The evaluation set {self.folder.name} is damaged: {error.message}") from error
        return images, pixels_key(found, prepare) if found else ""

    def blocks(self, prepare: Preparation) -> Iterator[Pixels]:
        """Prepared images uint8 [B, 3, S, S] in order, some at a time; errors as of ``pixels``."""
        try:
            yield from decoded_files(zip(self.names, self.paths, strict=True), prepare, processors())
        except UnreadableImagesError as error:
            others = f" {error.count - 1} more cannot be used either." if error.count > 1 else ""
            raise EvaluationError(
                f"Image {error.key!r} of the evaluation set {self.folder.name} cannot be used: {error.reason}.{others}",
                hint=HINT,
            ) from error
