"""Who asks, for which repository, and whether they may: the dependencies of every endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from competition.errors import AuthenticationError, PermissionDeniedError
from leaderboard.hub.names import RepoId, RepoKind
from leaderboard.hub.repositories import Repositories, Repository, not_found
from leaderboard.hub.settings import HubSettings
from leaderboard.hub.signing import UploadSigner
from leaderboard.hub.tokens import Account, Role, find_account


@dataclass(frozen=True)
class HubState:
    """What all requests share."""

    settings: HubSettings
    repositories: Repositories
    signer: UploadSigner


def hub_state(request: Request) -> HubState:
    state = request.app.state.hub
    assert isinstance(state, HubState)
    return state


Hub = Annotated[HubState, Depends(hub_state)]


def base_url(request: Request, hub: Hub) -> str:
    """Scheme, host and port under which the client reaches this Hub, without a trailing slash."""
    return (hub.settings.public_url or str(request.base_url)).rstrip("/")


def caller(request: Request, hub: Hub) -> Account | None:
    """The account of the request's token; None without a token. A bad token is refused even where none is needed."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return find_account(hub.settings.root, token.strip() if scheme.lower() == "bearer" else "")


Caller = Annotated[Account | None, Depends(caller)]


def known_caller(account: Caller) -> Account:
    """Raises AuthenticationError for a request without a token."""
    if account is None:
        raise AuthenticationError("This needs a token of the Hub.", hint="Pass `token=` to the client or set HF_TOKEN.")
    return account


KnownCaller = Annotated[Account, Depends(known_caller)]


def require_write(account: Account, namespace: str) -> None:
    """Raises PermissionDeniedError unless the token writes and the namespace is the user's own."""
    if account.role is not Role.WRITE:
        raise PermissionDeniedError(
            f"This token of {account.user} only reads.", hint="Use a token with the role 'write'."
        )
    if account.user != namespace:
        raise PermissionDeniedError(
            f"{account.user} may not write to the namespace {namespace}.",
            hint=f"Use {account.user}/... as repository name.",
        )


def named_repository(request: Request) -> RepoId:
    """The repository that the URL names; web URLs of models name no kind."""
    path = request.path_params
    return RepoId.parse(path.get("kind", RepoKind.MODELS), path["namespace"], path["name"])


def readable_repository(hub: Hub, account: Caller, repo_id: Annotated[RepoId, Depends(named_repository)]) -> Repository:
    """Raises RepositoryNotFoundError for an absent repository and for a stranger's private one alike."""
    return visible(hub, account, repo_id)


Readable = Annotated[Repository, Depends(readable_repository)]


def writable_repository(repository: Readable, account: KnownCaller) -> Repository:
    """Raises PermissionDeniedError when the caller may only look at it."""
    require_write(account, repository.id.namespace)
    return repository


Writable = Annotated[Repository, Depends(writable_repository)]


def visible(hub: HubState, account: Account | None, repo_id: RepoId) -> Repository:
    """Open a repository for reading; raises RepositoryNotFoundError."""
    repository = hub.repositories.open(repo_id)
    if repository.record.private and (account is None or account.user != repo_id.namespace):
        raise not_found(repo_id)
    return repository
