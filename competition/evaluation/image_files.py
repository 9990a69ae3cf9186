"""Images of an evaluation set that are files of their own, decoded through the cache as shards are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from competition.data.atomic import storage_error
from competition.errors import DataFormatError, EvaluationError
from competition.evaluation.decoding import (
    Decoded,
    Pixels,
    UnreadableImagesError,
    check_tolerated,
    decoded_files,
    processors,
)
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

    def pixels(
        self, prepare: Preparation, cache: Path | None = None, tolerance: float = 0.0
    ) -> tuple[Pixels, str, tuple[int, ...]]:
        """Prepared images uint8 [N, S, S, 3], their identity (empty without a cache), and the positions of those that
        are not among them, since they cannot be decoded.

        With a cache they are decoded once for all entries, and mapped from the disk.

        Raises:
            EvaluationError: more than a share ``tolerance`` of the images cannot be used.
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
            images, missing = kept.pixels(found, self._decoded(prepare), len(self.paths), prepare, tolerance)
        except UnreadableImagesError as error:
            raise self._damaged(error) from error
        except DataFormatError as error:
            raise EvaluationError(f"The evaluation set {self.folder.name} is damaged: {error.message}") from error
        return images, pixels_key(found, prepare) if found else "", tuple(image.position for image in missing)

    def blocks(self, prepare: Preparation) -> Iterator[Pixels]:
        """Prepared images uint8 [B, 3, S, S] in order, some at a time; errors as of ``pixels``, behind the last."""
        decoded = self._decoded(prepare)
        yield from decoded.blocks
        try:
            check_tolerated(decoded.unreadable, len(self.paths), 0.0)
        except UnreadableImagesError as error:
            raise self._damaged(error) from error

    def _decoded(self, prepare: Preparation) -> Decoded:
        return decoded_files(zip(self.names, self.paths, strict=True), prepare, processors())

    def _damaged(self, error: UnreadableImagesError) -> EvaluationError:
        return EvaluationError(f"The evaluation set {self.folder.name} is damaged: {error}", hint=HINT)
