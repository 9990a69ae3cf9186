"""The manifest of a submission (``submission.json``): what the entry is, and the digest of every file of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from competition.records.base import Identifier, Line, Prose, Record, RelativePath, Several, Sha256, Timestamp

MANIFEST_NAME = "submission.json"


class FileRole(StrEnum):
    """What a file of a submission is for."""

    SUBSET = "subset"
    MODEL = "model"
    TRAINING_REPORT = "training_report"
    TRAINING_LOG = "training_log"
    EVALUATION_REPORT = "evaluation_report"
    RESULTS = "results"
    CARD = "card"
    LINEAGE = "lineage"
    PREDICTIONS = "predictions"
    EXTERNAL_TABLE = "external_table"
    """Samples of the entry's own by url (parquet)."""
    EXTERNAL_SHARD = "external_shard"
    """Samples of the entry's own (tar)."""


class ManifestFile(Record):
    """One file, relative to the submission folder."""

    path: RelativePath
    role: FileRole
    size: int = Field(ge=0)
    sha256: Sha256


class SubmissionManifest(Record):
    """Version 1 of the manifest.

    What an entry is follows from its track: a subset with the model that was trained on it, or predictions alone. Those
    have no subset, so that its two counts are absent. On tracks for data of one's own there may be such data instead of
    a subset, or beside it; elsewhere the counts of these are absent, and not written.
    """

    schema_version: Literal[1] = 1
    submission_id: Identifier
    nonce: Sha256 = Field(description="given at registration; shows that the registrant wrote this repository")
    competition: Identifier
    competition_version: int = Field(ge=1)
    track: Identifier
    scale: Identifier
    recipe_digest: Sha256 = Field(description="of the scale's recipe; of null where the scale trains nothing")
    suite: str = Field(pattern=r"^[a-z0-9_-]+@\d+$")
    suite_digest: Sha256
    method_name: Line
    author: Line
    description: Prose = ""
    subset_samples: int | None = Field(default=None, ge=1, description="uids of the subset, repeats counted")
    subset_unique: int | None = Field(default=None, ge=1)
    external_rows: int | None = Field(
        default=None, ge=1, exclude_if=lambda rows: rows is None, description="of the tables of external data"
    )
    external_samples: int | None = Field(
        default=None, ge=1, exclude_if=lambda samples: samples is None, description="of the shards of external data"
    )
    files: Several[ManifestFile] = Field(min_length=1, max_length=1024)
    code_version: Line
    created_at: Timestamp

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("files: a path is listed twice")
        return self

    def only(self, role: FileRole) -> ManifestFile:
        """The single file of that role (raises ``LookupError`` when there is none, or more than one)."""
        found = [file for file in self.files if file.role == role]
        if len(found) != 1:
            raise LookupError(f"the manifest lists {len(found)} files of role {role.value!r}; it must list one")
        return found[0]
