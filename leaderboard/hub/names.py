"""Names that arrive from strangers: repositories, revisions, object ids and paths inside a repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from leaderboard.hub.errors import BadRequestError, RepositoryNotFoundError

MAX_PATH_LENGTH = 1024
# Every folder has an id of its own: paths of hundreds of folders would cost more memory than their files.
MAX_PATH_PARTS = 32
BRANCH = "main"

# huggingface.co's rule: letters, digits, dot, dash and underscore, no "--" or "..", a letter or digit at both ends.
_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHA1 = re.compile(r"[0-9a-f]{40}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

# First segments of this server's own URLs: a user of such a name could never be reached.
_RESERVED = frozenset({"api", "models", "datasets", "spaces", "lfs"})


class RepoKind(StrEnum):
    """The three kinds of repository, spelled as in API paths."""

    MODELS = "models"
    DATASETS = "datasets"
    SPACES = "spaces"

    @property
    def web_prefix(self) -> str:
        """What stands before ``namespace/name`` in web URLs: models have no prefix."""
        return "" if self is RepoKind.MODELS else f"{self.value}/"


def is_name(text: str) -> bool:
    """Whether the text can name a user or a repository."""
    return _NAME.fullmatch(text) is not None and not text.endswith(".git")


def is_user_name(text: str) -> bool:
    """Whether the text can name a user: a name that no route of this server begins with."""
    return is_name(text) and text.lower() not in _RESERVED


def is_commit_id(text: str) -> bool:
    """Whether the text is a full commit sha: 40 lower-case hex digits."""
    return _SHA1.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Whether the text is a sha256 in 64 lower-case hex digits."""
    return _SHA256.fullmatch(text) is not None


@dataclass(frozen=True)
class RepoId:
    """A validated repository name, safe to use as a path on disk."""

    kind: RepoKind
    namespace: str
    name: str

    @classmethod
    def parse(cls, kind: str, namespace: str, name: str) -> Self:
        """Raises RepositoryNotFoundError when no repository can have this name."""
        if kind not in set(RepoKind) or not is_user_name(namespace) or not is_name(name):
            raise RepositoryNotFoundError(f"There is no repository {namespace}/{name} here.")
        return cls(RepoKind(kind), namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def web_path(self) -> str:
        """The path of the repository's web URL, without a leading slash."""
        return f"{self.kind.web_prefix}{self}"


def check_path(path: str) -> str:
    """Return the path of a file inside a repository, or raise BadRequestError if it could leave it anywhere.

    Paths are relative, ``/``-separated, at most 1024 characters and 32 parts. Refused are absolute paths, empty, ``.``
    and ``..`` parts, ``.git``, backslashes, control characters and text that is not valid Unicode.
    """
    parts = path.split("/")
    if (
        len(path) > MAX_PATH_LENGTH
        or len(parts) > MAX_PATH_PARTS
        or any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts)
        or "\\" in path
        or _CONTROL.search(path)
        or not _is_unicode(path)
    ):
        raise BadRequestError(
            f"The path {path[:80]!a} is not allowed in a repository.",
            hint="Use a relative path with '/', of at most 1024 characters and 32 parts, without '.', '..', '.git', "
            "empty parts or control characters.",
        )
    return path


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
