"""Accounts and repositories as wholes: who am I, create, delete, hide, list, describe."""

from __future__ import annotations

from itertools import islice
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from starlette.requests import Request

from leaderboard.hub.access import Caller, Hub, KnownCaller, Readable, Writable, base_url, require_write, visible
from leaderboard.hub.answers import Json, repository_info
from leaderboard.hub.bodies import read_json
from leaderboard.hub.commits import Message
from leaderboard.hub.errors import BadRequestError, RepositoryExistsError, RepositoryNotFoundError
from leaderboard.hub.names import BRANCH, RepoId, RepoKind, is_name, is_user_name
from leaderboard.hub.schemas import CreateRepo, RepoReference, Squash, Visibility, YamlCheck
from leaderboard.hub.tokens import Account
from leaderboard.hub.uploads import require_branch

router = APIRouter()

LIST_PAGE = 100


async def _create_body(request: Request) -> CreateRepo:
    return await read_json(request, CreateRepo)


async def _reference_body(request: Request) -> RepoReference:
    return await read_json(request, RepoReference)


async def _visibility_body(request: Request) -> Visibility:
    return await read_json(request, Visibility)


async def _squash_body(request: Request) -> Squash:
    return await read_json(request, Squash)


async def _yaml_body(request: Request) -> YamlCheck:
    return await read_json(request, YamlCheck)


@router.get("/api/whoami-v2")
def whoami(account: KnownCaller) -> Json:
    access_token = {"displayName": account.user, "role": account.role.value}
    return {
        "type": "user",
        "id": account.user,
        "name": account.user,
        "fullname": account.user,
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": access_token},
    }


@router.post("/api/validate-yaml")
def validate_yaml(_account: KnownCaller, _body: Annotated[YamlCheck, Depends(_yaml_body)]) -> Json:
    """Clients ask this before they commit a README; this Hub reads no model cards, so none is wrong."""
    return {"errors": [], "warnings": []}


def _referred(body: RepoReference, account: Account) -> RepoId:
    namespace, _, name = body.name.rpartition("/")
    namespace = body.organization or namespace or account.user
    if not is_user_name(namespace) or not is_name(name):
        raise BadRequestError(
            f"{body.name[:100]!a} cannot be the name of a repository.",
            hint="Use at most 96 of a-z, A-Z, 0-9, '-', '_', '.'; a letter or digit at both ends; no '--' or '..'.",
        )
    return RepoId(body.kind, namespace, name)


@router.post("/api/repos/create")
def create(
    request: Request, hub: Hub, account: KnownCaller, body: Annotated[CreateRepo, Depends(_create_body)]
) -> Response:
    repo_id = _referred(body, account)
    require_write(account, repo_id.namespace)
    answer = {"url": f"{base_url(request, hub)}/{repo_id.web_path}", "name": str(repo_id), "id": str(repo_id)}
    try:
        hub.repositories.create(repo_id, author=account.user, private=body.is_private or False)
    except RepositoryExistsError as error:
        # Clients that allow an existing repository read the URL out of this answer.
        return JSONResponse({**answer, "error": error.message}, status_code=error.http_status)
    return JSONResponse(answer)


@router.delete("/api/repos/delete")
def delete(hub: Hub, account: KnownCaller, body: Annotated[RepoReference, Depends(_reference_body)]) -> Json:
    repo_id = visible(hub, account, _referred(body, account)).id
    require_write(account, repo_id.namespace)
    hub.repositories.delete(repo_id)
    return {}


@router.put("/api/{kind}/{namespace}/{name}/settings")
def change_settings(repository: Writable, body: Annotated[Visibility, Depends(_visibility_body)]) -> Json:
    if body.is_private is not None:
        repository.set_private(body.is_private)
    return {"private": repository.record.private}


@router.post("/api/{kind}/{namespace}/{name}/super-squash/{revision:path}")
def squash(
    repository: Writable, account: KnownCaller, revision: str, body: Annotated[Squash, Depends(_squash_body)]
) -> Json:
    require_branch(repository, revision)
    return {"commitId": repository.squash(author=account.user, message=Message(body.message)).oid}


@router.get("/api/{kind}/{namespace}/{name}/auth-check")
def auth_check(_: Readable) -> Json:
    return {}


@router.get("/api/{kind}")
def list_repositories(
    request: Request, hub: Hub, account: Caller, kind: str, author: str | None = None, cursor: str = ""
) -> JSONResponse:
    """One page of the repositories that the caller may see, by name; ``cursor`` is the last of the page before."""
    if kind not in set(RepoKind):
        raise RepositoryNotFoundError(f"There are no {kind!a} here.")
    if author is not None and not is_user_name(author):
        return JSONResponse([])
    own = account.user if account is not None else None
    repositories = sorted(hub.repositories.of_kind(RepoKind(kind), author or "*"), key=lambda each: str(each.id))
    after = (each for each in repositories if str(each.id) > cursor)
    visible_ones = (each for each in after if not each.record.private or each.id.namespace == own)
    shown = list(islice(visible_ones, LIST_PAGE + 1))
    headers = {}
    if len(shown) > LIST_PAGE:
        query = {"cursor": str(shown[LIST_PAGE - 1].id)} | ({"author": author} if author else {})
        headers["Link"] = f'<{base_url(request, hub)}/api/{kind}?{urlencode(query)}>; rel="next"'
    infos = [{**repository_info(each, each.head), "siblings": None} for each in shown[:LIST_PAGE]]
    return JSONResponse(infos, headers=headers)


@router.get("/api/{kind}/{namespace}/{name}/revision/{revision:path}")
@router.get("/api/{kind}/{namespace}/{name}")
def describe(repository: Readable, revision: str = BRANCH, blobs: bool = False) -> Json:
    return repository_info(repository, repository.commit(revision), blobs=blobs)
