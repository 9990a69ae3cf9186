"""The failures of the Hub's official client while a dataset is read, as errors of ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from competition.data.atomic import storage_error
from competition.errors import (
    AuthenticationError,
    DataCupError,
    NotFoundError,
    PermissionDeniedError,
    ServiceUnavailableError,
)

_LOCAL_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE}


@contextmanager
def hub_errors(endpoint: str, repo: str, revision_hint: str = "Check --revision.") -> Iterator[None]:
    """Say the failures of the Hub's client as errors of ours.

    Args:
        endpoint: the Hub's address.
        repo: the dataset that is asked for.
        revision_hint: what to do when it has no such revision.

    Raises:
        NotFoundError, AuthenticationError, PermissionDeniedError: the Hub does not give it.
        StorageError: the disk is full or the folder cannot be written.
        ServiceUnavailableError: the Hub does not answer.
    """
    from huggingface_hub import errors

    # Transport errors are those of whichever HTTP library the client's version uses: its own error class says which.
    transport: Any = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.HfHubHTTPError as error:
        raise _refusal(error, endpoint, repo, revision_hint) from error
    except (OSError, transport) as error:
        if isinstance(error, OSError) and error.errno in _LOCAL_ERRORS:
            raise storage_error(error, "writing", Path(error.filename or repo)) from error
        raise _unavailable(endpoint, repo, type(error).__name__) from error


def _refusal(error: Any, endpoint: str, repo: str, revision_hint: str) -> DataCupError:
    from huggingface_hub import errors

    status = getattr(error.response, "status_code", 0)
    login = f"Log in with `hf auth login` (or set HF_TOKEN) for {endpoint}."
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return PermissionDeniedError(
            f"The Hub at {endpoint} gives {repo} only to those who accepted its terms.",
            hint=f"Accept them on {endpoint}/datasets/{repo}. {login}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFoundError(f"The Hub at {endpoint} has no such revision of {repo}.", hint=revision_hint)
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return NotFoundError(f"The Hub at {endpoint} shows no dataset {repo}.", hint=f"If it is private: {login}")
    if status == 401:
        return AuthenticationError(f"The Hub at {endpoint} does not know your token.", hint=login)
    return _unavailable(endpoint, repo, f"HTTP {status}")


def _unavailable(endpoint: str, repo: str, what: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"The Hub at {endpoint} does not answer for {repo} ({what}).",
        hint="Check the connection and HF_ENDPOINT, and run the same command again: what has arrived is kept.",
    )
