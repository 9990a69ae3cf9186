"""The images of an evaluation set as copies of them are looked for, whatever the set's layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from competition.data.atomic import storage_errors
from competition.data.shards import read_payload, scan_samples
from competition.data.tar import open_tar
from competition.errors import EvaluationError
from competition.evaluation.copies import Fingerprint, Fingerprints
from competition.evaluation.decoding import MAX_IMAGE_BYTES, processors
from competition.evaluation.fingerprinting import Read, fingerprint_blocks
from competition.evaluation.images import IMAGE_EXTENSIONS, ImageDecodingError
from competition.evaluation.known_digests import KnownListDigests
from competition.evaluation.set_cache import SetCache
from competition.evaluation.set_source import shards_of
from competition.rules import Protocol, Task

_NOT_COMPARED = frozenset({Protocol.PREDICTIONS, Protocol.CLASSIFICATION_CORRUPTED})
"""Sets that need not have images, and millions of spoilt images of another set."""


@dataclass(frozen=True, slots=True)
class SetImages:
    """Where the test images of a task are: shards, or files of images; one of both is empty."""

    folder: Path
    shards: tuple[Path, ...]
    files: tuple[Path, ...]

    @classmethod
    def of(cls, root: Path, task: Task) -> SetImages | None:
        """Those of a task below the folder of all sets; None where it has none, or where they are not looked for.

        Raises:
            EvaluationError: the set is not there, or damaged.
            StorageError: it cannot be read.
        """
        if task.protocol in _NOT_COMPARED:
            return None
        folder = root / task.dataset
        if not folder.is_dir():
            raise EvaluationError(f"There is no evaluation set {folder}.", hint="Get or build the evaluation sets.")
        if (folder / task.part / "nshards.txt").exists():
            return cls(folder, tuple(shards_of(folder, task.part)), ())
        base = folder / task.part if (folder / task.part).is_dir() else folder
        with storage_errors("listing", base):
            files = sorted(path for path in base.rglob("*") if path.suffix[1:].lower() in IMAGE_EXTENSIONS)
        return cls(folder, (), tuple(files)) if files else None

    def digest(self, cache: Path) -> str:
        """Identity of the images; files that did not change are not read again (raises ``StorageError``)."""
        with storage_errors("reading", self.folder):
            if self.shards:
                return SetCache(cache).set_digest(list(self.shards))
            return KnownListDigests(cache).of(self.folder, self.files, processors())

    def fingerprints(self, on_block: Callable[[], None] = lambda: None) -> Fingerprints:
        """Those of all images in order; what cannot be decoded is left out, as it cannot be evaluated either.

        Args:
            on_block: called now and then.

        Raises:
            DataFormatError, StorageError: a shard is damaged, or cannot be read.
        """
        found: list[Fingerprint] = []
        for looked in fingerprint_blocks(self._reads(), processors()):
            found += [each for each in looked if not isinstance(each, ImageDecodingError)]
            on_block()
        return Fingerprints.of(found)

    def _reads(self) -> Iterator[Read]:
        for path in self.files:
            yield partial(_read_file, path)
        for shard in self.shards:
            with open_tar(shard) as buffer:
                for span in scan_samples(buffer, shard):
                    member = next((span.members[name] for name in IMAGE_EXTENSIONS if name in span.members), None)
                    if member is not None:
                        yield partial(bytes, read_payload(buffer, member))


def _read_file(path: Path) -> bytes:
    with storage_errors("reading", path), path.open("rb") as stream:
        data = stream.read(MAX_IMAGE_BYTES + 1)
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageDecodingError("the file is larger than an image may be")
    return data
