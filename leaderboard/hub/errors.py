"""The errors that the Hub's protocol gives names of its own.

``code`` is what the client reads from ``X-Error-Code``; the names are huggingface.co's.
"""

from __future__ import annotations

from competition.errors import ConflictError, DataCupError, NotFoundError, StorageError


class RepositoryNotFoundError(NotFoundError):
    """No such repository, or one that the caller may not know about."""

    code = "RepoNotFound"


class RevisionNotFoundError(NotFoundError):
    """The repository has no such commit or branch."""

    code = "RevisionNotFound"


class EntryNotFoundError(NotFoundError):
    """The commit has no such file. ``commit`` is the full sha that was looked at: clients remember the absence."""

    code = "EntryNotFound"

    def __init__(self, message: str, *, commit: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.commit = commit


class RepositoryExistsError(ConflictError):
    """The name is taken."""

    code = "RepoExists"


class StaleParentError(ConflictError):
    """The branch moved on after the client looked at it."""

    code = "StaleParent"
    http_status = 412


class TooLargeError(DataCupError):
    """A body or a file is larger than this Hub accepts."""

    code = "TooLarge"
    http_status = 413


class BadRequestError(DataCupError):
    """The request does not follow the protocol."""

    code = "BadRequest"
    http_status = 400


class DiskFullError(StorageError):
    """Nothing can be stored until the operator makes room."""

    code = "DiskFull"
    http_status = 507
