"""An entry as the checks see it: a manifest, the rules it is entered under, and where its files lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from competition.errors import RejectionError, RejectionReason, UsageError
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.rules import ClipRecipe, Competition, EntryData, EntryKind, Scale, Track, find_scale, find_track

if TYPE_CHECKING:
    from competition.data.uids import UidArray
    from competition.records.overlap import TaskOverlap
    from competition.verification.overlap import ComparedTask

_SHOWN = 80

Findings = Mapping[str, int | str]
"""What a check that passed found: counts, names and digests, each under a short name."""


@dataclass(frozen=True)
class Entry:
    """``paths`` maps every path of the manifest to the file's place on this machine.

    ``pool_uids`` holds the pool's uids, sorted; None where no pool is at hand: membership is then not checked.
    ``compared`` are the tasks whose test images are looked for in the entry's data; None where they are not at hand.
    ``tell`` hears what was found of each of them, ``beat`` now and then that a long check goes on.
    """

    manifest: SubmissionManifest
    competition: Competition
    paths: Mapping[str, Path]
    pool_uids: UidArray | None
    compared: Sequence[ComparedTask] | None = None
    tell: Callable[[TaskOverlap], None] = lambda _overlap: None
    beat: Callable[[], None] = lambda: None

    @property
    def track(self) -> Track:
        """The track that the manifest names (raises ``RejectionError`` when the competition has no such track)."""
        try:
            return find_track(self.competition, self.manifest.track)
        except UsageError as error:
            raise RejectionError(
                RejectionReason.MANIFEST_MISMATCH, f"submission.json: {error.message} {error.hint}"
            ) from error

    @property
    def kind(self) -> EntryKind:
        """What an entry of its track is."""
        return self.track.entry

    @property
    def own(self) -> bool:
        """Whether entries of its track may bring data of their own."""
        return self.track.data is EntryData.OWN

    @property
    def scale(self) -> Scale:
        """The scale that the manifest names (raises ``RejectionError`` when the competition has no such scale)."""
        try:
            return find_scale(self.competition, self.manifest.scale)
        except UsageError as error:
            raise RejectionError(
                RejectionReason.MANIFEST_MISMATCH, f"submission.json: {error.message} {error.hint}"
            ) from error

    @property
    def recipe(self) -> ClipRecipe:
        """The recipe that the entry must have been trained with (raises ``UsageError`` when that is no CLIP model)."""
        return self.competition.clip_recipe_of(self.scale)

    def only(self, role: FileRole) -> tuple[ManifestFile, Path]:
        """The single file of that role and its place (raises ``RejectionError`` when there is not exactly one)."""
        try:
            file = self.manifest.only(role)
        except LookupError as error:
            raise RejectionError(RejectionReason.MANIFEST_MALFORMED, f"submission.json: {error}.") from error
        return file, self.paths[file.path]

    def all(self, role: FileRole) -> list[tuple[ManifestFile, Path]]:
        """The files of that role and their places, in the manifest's order."""
        return [(file, self.paths[file.path]) for file in self.manifest.files if file.role is role]


def shown(text: object) -> str:
    """A stranger's text, made safe and short enough for a message: quoted, ASCII only, at most 80 characters."""
    quoted = ascii(str(text)[: _SHOWN + 1])
    return quoted if len(quoted) <= _SHOWN else f"{quoted[: _SHOWN - 3]}..."
