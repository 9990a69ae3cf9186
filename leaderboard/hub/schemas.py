"""Request bodies of the Hub's protocol. Unknown fields are ignored: clients of many versions send many."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from leaderboard.hub.names import MAX_PATH_LENGTH, RepoKind

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Size = Annotated[int, Field(ge=0, le=2**53)]
# One character more than is allowed, so that a path that is too long gets the sentence of `check_path`.
_Path = Annotated[str, Field(max_length=MAX_PATH_LENGTH + 1)]


class RepoReference(BaseModel):
    """Which repository is meant; without ``organization`` it is one of the caller's own."""

    name: str
    organization: str | None = None
    type: Literal["model", "dataset", "space"] | None = None

    @property
    def kind(self) -> RepoKind:
        return RepoKind(f"{self.type or 'model'}s")


class Visibility(BaseModel):
    """Old clients send ``private``, newer ones ``visibility``."""

    private: bool | None = None
    visibility: Literal["public", "private"] | None = None

    @property
    def is_private(self) -> bool | None:
        """None when the client does not say."""
        return self.visibility == "private" if self.visibility is not None else self.private


class CreateRepo(RepoReference, Visibility):
    """Body of ``POST /api/repos/create``."""


class PreuploadFile(BaseModel):
    """``sample`` is the first 512 bytes in base64; ``size`` is in bytes."""

    path: _Path
    sample: Annotated[str, Field(max_length=1024)] = ""
    size: _Size


class Preupload(BaseModel):
    """Body of ``POST /api/{kind}/{id}/preupload/{revision}``."""

    files: Annotated[list[PreuploadFile], Field(max_length=1000)]


class LfsObject(BaseModel):
    """A large object by its sha256 in hex and its size in bytes."""

    oid: _Sha256
    size: _Size


class LfsBatch(BaseModel):
    """Body of the git-LFS batch API; this Hub serves uploads (downloads go through ``resolve``)."""

    operation: Literal["upload"]
    transfers: list[str] = ["basic"]
    objects: Annotated[list[LfsObject], Field(max_length=1000)]
    hash_algo: Literal["sha256"] = "sha256"


class LfsCompletion(BaseModel):
    """Body that ends an upload in parts; the parts' ETags are not needed, because the whole is hashed."""

    oid: _Sha256


class Squash(BaseModel):
    """Body of ``POST /api/{kind}/{id}/super-squash/{branch}``."""

    message: Annotated[str, Field(max_length=10_000)] = "Squash the history"


class YamlCheck(BaseModel):
    """Body of ``POST /api/validate-yaml``."""

    content: str


class CommitHeader(BaseModel):
    """First line of a commit."""

    summary: Annotated[str, Field(min_length=1, max_length=10_000)]
    description: Annotated[str, Field(max_length=100_000)] = ""
    parent: Annotated[str | None, Field(alias="parentCommit", pattern=r"^[0-9a-f]{7,40}$")] = None


class RegularFile(BaseModel):
    """A small file with its content."""

    path: _Path
    content: str
    encoding: Literal["base64", "utf-8"] = "utf-8"


class LfsFile(BaseModel):
    """A large file that was uploaded before; a client that copies one leaves the size out."""

    path: _Path
    oid: _Sha256
    algo: Literal["sha256"] = "sha256"
    size: _Size | None = None


class DeletedPath(BaseModel):
    """A file or a folder to remove."""

    path: _Path


class HeaderLine(BaseModel):
    key: Literal["header"]
    value: CommitHeader


class FileLine(BaseModel):
    key: Literal["file"]
    value: RegularFile


class LfsFileLine(BaseModel):
    key: Literal["lfsFile"]
    value: LfsFile


class DeletionLine(BaseModel):
    key: Literal["deletedFile", "deletedFolder"]
    value: DeletedPath


CommitLine = HeaderLine | FileLine | LfsFileLine | DeletionLine
COMMIT_LINE: TypeAdapter[CommitLine] = TypeAdapter(Annotated[CommitLine, Field(discriminator="key")])
