"""Uploading a submission folder to a model repository on the Hub, whichever Hub that is."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from competition.errors import (
    AuthenticationError,
    DataCupError,
    PermissionDeniedError,
    ServiceUnavailableError,
    UsageError,
)
from competition.hub import hub_api
from participant_kit.front_page import NAME, front_page

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class HubTarget:
    """Where a submission goes: a repository of a Hub."""

    endpoint: str
    repo: str

    @property
    def url(self) -> str:
        """Address of the repository's page."""
        return f"{self.endpoint.rstrip('/')}/{self.repo}"


def resolve_repo(endpoint: str, name: str) -> HubTarget:
    """Complete ``name`` with the logged-in user's namespace when it has none; then only the Hub is asked.

    Raises ``UsageError`` when ``name`` can name no repository, ``AuthenticationError`` when nobody is logged in on this
    machine or the Hub does not know who is, ``ServiceUnavailableError`` when it does not answer.
    """
    require_name(name)
    api = _api(endpoint)

    from huggingface_hub import get_token

    if get_token() is None:
        raise AuthenticationError("You are not logged in to the Hub.", hint=_login_hint(endpoint))
    if "/" in name:
        return HubTarget(endpoint, name)
    try:
        user = api.whoami()["name"]
    except _client_errors() as error:
        raise _explain(error, endpoint) from error
    return HubTarget(endpoint, f"{user}/{name}")


def require_name(name: str) -> None:
    """Raise ``UsageError`` when no repository can have this name, with or without a user's namespace before it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # public, but not marked as such

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(
            f"{name!r} is not the name of a repository.",
            hint="Give --hf-repo-name as NAME or USER/NAME: letters, digits, '-', '_' and '.', at most 96 characters, "
            "without '--' or '..', with neither '-' nor '.' at an end, and without '.git' at the end.",
        ) from error


def upload(target: HubTarget, folder: Path, path_in_repo: str, message: str) -> str:
    """Upload ``folder`` as ``path_in_repo`` in one go and return the sha of the commit that holds all of it.

    Its card becomes the repository's front page, too, unless somebody wrote that. Files that the repository already
    holds are not sent again, so an interrupted upload is simply repeated.
    Raises ``AuthenticationError``, ``PermissionDeniedError`` or ``ServiceUnavailableError``.
    """
    from huggingface_hub import CommitOperationAdd

    files = {f"{path_in_repo}/{file.relative_to(folder).as_posix()}": file for file in _files(folder)}
    added = [CommitOperationAdd(name, file) for name, file in files.items()]
    api = _api(target.endpoint)
    try:
        api.create_repo(target.repo, repo_type="model", exist_ok=True)
        page = front_page(api, target.repo, folder / NAME, path_in_repo)
        if page is not None:
            added.append(CommitOperationAdd(NAME, page))
        with _own_endpoint(target.endpoint):
            commit = api.create_commit(target.repo, added, commit_message=message)
    except _client_errors() as error:
        raise _explain(error, target.endpoint) from error
    except ValueError as error:  # an answer that is no JSON, or none of those that the client knows
        raise _no_hub(target.endpoint, str(error).partition("\n")[0]) from error
    return str(commit.oid)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _api(endpoint: str) -> HfApi:
    api = hub_api(endpoint, answer_seconds=_ANSWER_SECONDS, bars=sys.stderr.isatty())
    # What goes wrong is ours to tell, and that a repeated upload has nothing new is no warning.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return api


@contextmanager
def _own_endpoint(endpoint: str) -> Iterator[None]:
    """Before 1.0 the client takes a finished commit's address apart with HF_ENDPOINT, whichever Hub it was told, and
    fails when they differ."""
    from huggingface_hub import __version__, constants

    before = constants.ENDPOINT
    if __version__.startswith("0."):
        constants.ENDPOINT = endpoint.rstrip("/")
    try:
        yield
    finally:
        constants.ENDPOINT = before


def _client_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises. Its transport errors are those of whichever HTTP library its version uses, and the
    first base of its own error class is that library's root."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError, HfHubHTTPError.__bases__[0], OSError


def _explain(error: Exception, endpoint: str) -> DataCupError:
    """The user's error behind a failure of the Hub's client."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    login = _login_hint(endpoint)
    if isinstance(error, LocalTokenNotFoundError):
        return AuthenticationError("You are not logged in to the Hub.", hint=login)
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        reason = " ".join((error.server_message or f"HTTP {status}").split()).rstrip(".")
        if status == HTTPStatus.UNAUTHORIZED:
            return AuthenticationError(f"The Hub at {endpoint} does not know your token.", hint=login)
        if status == HTTPStatus.FORBIDDEN:
            return PermissionDeniedError(
                f"Your Hub token may not write to this repository ({reason}).",
                hint="Use a repository of your own namespace and a token with write access.",
            )
        if status == HTTPStatus.NOT_FOUND:
            return _no_hub(endpoint, "HTTP 404")
        return ServiceUnavailableError(
            f"The Hub at {endpoint} did not take the upload ({reason}).",
            hint="Run the same command again later; nothing is lost.",
        )
    return ServiceUnavailableError(
        f"The Hub at {endpoint} does not answer.",
        hint="Check HF_ENDPOINT, or wait, and run the same command again; nothing is lost.",
    )


def _no_hub(endpoint: str, what: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"{endpoint} does not answer as a Hub does ({what}).",
        hint="Is HF_ENDPOINT the address of a Hub? Then run the same command again; nothing is lost.",
    )


def _login_hint(endpoint: str) -> str:
    return f"Log in with `hf auth login` (or set HF_TOKEN) for {endpoint}, then run the same command again."
