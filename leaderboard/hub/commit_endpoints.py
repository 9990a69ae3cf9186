"""The two ends of an upload: asking how each file is to be sent, and the commit itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from leaderboard.hub.access import Hub, HubState, KnownCaller, Writable, base_url
from leaderboard.hub.answers import Json
from leaderboard.hub.bodies import read_json, receive
from leaderboard.hub.commits import Commit, Message
from leaderboard.hub.errors import BadRequestError
from leaderboard.hub.files import Spool
from leaderboard.hub.names import check_path
from leaderboard.hub.repositories import Repository
from leaderboard.hub.schemas import Preupload
from leaderboard.hub.uploads import is_large, read_commit, require_branch

router = APIRouter()


async def _preupload_body(request: Request) -> Preupload:
    return await read_json(request, Preupload)


@router.post("/api/{kind}/{namespace}/{name}/preupload/{revision:path}")
def preupload(
    hub: Hub, repository: Writable, revision: str, body: Annotated[Preupload, Depends(_preupload_body)]
) -> Json:
    """The mode of each file, and the id of what is there now, by which the client skips unchanged files."""
    require_branch(repository, revision)
    present = repository.head.files
    files = []
    for file in body.files:
        mode = "lfs" if is_large(file, hub.settings.max_regular_bytes) else "regular"
        answer: Json = {"path": check_path(file.path), "uploadMode": mode, "shouldIgnore": False}
        if file.path in present:
            answer["oid"] = present[file.path].content_id
        files.append(answer)
    return {"files": files}


@router.post("/api/{kind}/{namespace}/{name}/commit/{revision:path}")
async def commit(
    request: Request, hub: Hub, account: KnownCaller, repository: Writable, revision: str, create_pr: str = ""
) -> Json:
    require_branch(repository, revision)
    if create_pr not in {"", "0", "false"}:
        raise BadRequestError("This Hub has no pull requests.", hint=f"Commit to {repository.id} itself.")
    with Spool(repository.scratch, limit=hub.settings.max_commit_bytes, what="The commit") as spool:
        await receive(request, spool)
        made = await run_in_threadpool(_commit, hub, repository, account.user, spool)
    url = f"{base_url(request, hub)}/{repository.id.web_path}/commit/{made.oid}"
    return {"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""}


def _commit(hub: HubState, repository: Repository, author: str, spool: Spool) -> Commit:
    parsed = read_commit(spool.path, repository, hub.settings)
    return repository.append(
        parsed.operations,
        author=author,
        message=Message(parsed.header.summary, parsed.header.description),
        parent=parsed.header.parent,
        request=spool.sha256,
        max_files=hub.settings.max_files_per_repository,
    )
