"""What a mirror or an archive holds and nobody needs: files that no submission known to the leaderboard refers to.

A submission refers to the files of its verified manifest, which the leaderboard knows, and to those of the manifest
with which it was mirrored, which the store knows: an entry that waits or failed on the way is known to the leaderboard
by its id alone. Nothing young is garbage, since an intake that runs now has neither; it makes the files young that it
meets (``Mirror.keeps``, ``Archive.put``). Age is looked at once more right before a file is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from competition.errors import UsageError
from scorer.mirror import Blob, Leftover, MirroredEntry


class Store(Protocol):
    """What a mirror and an archive have in common for those who look after them."""

    def blobs(self) -> Iterator[Blob]: ...
    def look(self, sha256: str) -> Blob | None: ...
    def digest(self, sha256: str) -> str: ...
    def entries(self) -> list[tuple[str, float | None]]: ...
    def entry(self, submission_id: str) -> MirroredEntry | None: ...
    def leftovers(self) -> Iterator[Leftover]: ...
    def remove(self, sha256: str) -> None: ...
    def forget(self, submission_id: str) -> None: ...
    def clear(self, leftover: Leftover) -> None: ...
    def set_aside(self, sha256: str) -> None: ...


@dataclass(frozen=True)
class Survey:
    """What was found: ``blobs``, ``entries`` (ids) and ``leftovers`` are garbage. Sizes are in bytes.

    ``young`` is what nobody refers to yet or any more, younger than the grace period, or of unknown age.
    """

    blobs: tuple[Blob, ...]
    entries: tuple[str, ...]
    leftovers: tuple[Leftover, ...]
    kept: int
    kept_bytes: int
    young: int
    young_bytes: int

    @property
    def bytes(self) -> int:
        """Of all garbage."""
        return sum(blob.size for blob in self.blobs) + sum(each.size for each in self.leftovers)


def survey(store: Store, known: Mapping[str, Collection[str]], now: float, grace: float) -> Survey:
    """Tell garbage from the rest. Deletes nothing.

    Args:
        store: a mirror or an archive.
        known: the submissions that the leaderboard knows, with the digests of their files as far as it knows those.
        now: seconds since the epoch.
        grace: seconds during which nothing is garbage.

    Raises:
        UsageError: the leaderboard knows nothing of what is here: it is another one's.
        DataFormatError: what is remembered about an entry cannot be read.
    """
    entries = store.entries()
    if entries and not any(name in known for name, _ in entries):
        raise _foreign(f"none of the {len(entries)} entries")
    needed = {sha256 for digests in known.values() for sha256 in digests}
    stale: list[str] = []
    for name, modified in entries:
        if name in known or _young(modified, now, grace):
            entry = store.entry(name)
            needed |= {file.sha256 for file in entry.manifest.files} if entry is not None else set()
        else:
            stale.append(name)
    garbage: list[Blob] = []
    kept: list[Blob] = []
    young: list[Blob] = []
    for blob in store.blobs():
        place = kept if blob.sha256 in needed else young if _young(blob.modified, now, grace) else garbage
        place.append(blob)
    if garbage and not kept:
        raise _foreign("none of the files")
    leftovers = [each for each in store.leftovers() if not _young(each.modified, now, grace)]
    return Survey(
        blobs=tuple(garbage),
        entries=tuple(stale),
        leftovers=tuple(leftovers),
        kept=len(kept),
        kept_bytes=sum(blob.size for blob in kept),
        young=len(young),
        young_bytes=sum(blob.size for blob in young),
    )


def collect(store: Store, found: Survey, now: float, grace: float) -> int:
    """Delete garbage, but what has become young since it was found; how many bytes were freed.

    Entries are forgotten first: what is half deleted must not be remembered as whole.
    """
    for name in found.entries:
        store.forget(name)
    freed = 0
    for blob in found.blobs:
        there = store.look(blob.sha256)
        if there is not None and not _young(there.modified, now, grace):
            store.remove(blob.sha256)
            freed += there.size
    for leftover in found.leftovers:
        store.clear(leftover)
        freed += leftover.size
    return freed


def _foreign(what: str) -> UsageError:
    return UsageError(
        f"The leaderboard knows {what} that lie here: they must be another one's. Nothing was deleted.",
        hint="Check DATACUP_ENDPOINT, DATACUP_MIRROR and DATACUP_ARCHIVE: each leaderboard needs its own.",
    )


def _young(modified: float | None, now: float, grace: float) -> bool:
    """Whether something must be left alone because of its age, or because its age is not known."""
    return modified is None or now - modified < grace
