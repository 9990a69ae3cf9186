"""Reading what a repository holds: listings, history and the files themselves."""

from __future__ import annotations

from itertools import islice
from typing import Annotated
from urllib.parse import parse_qs, quote, urlencode

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, JSONResponse
from starlette.requests import Request

from leaderboard.hub.access import Hub, Readable, base_url
from leaderboard.hub.answers import Json, history_entry, paths_info, tree
from leaderboard.hub.bodies import read_body
from leaderboard.hub.errors import EntryNotFoundError, TooLargeError
from leaderboard.hub.names import BRANCH

router = APIRouter()

_PAGE = 1000
# Every commit lists all its files: reading one costs more than a line of the history.
HISTORY_PAGE = 100
_MAX_PATHS = 10_000
_API = "/api/{kind}/{namespace}/{name}"


async def _form_paths(request: Request) -> list[str]:
    """The client sends these as a form, in which ``paths`` repeats; a strict parser needs no extra package."""
    body = await read_body(request)
    try:
        return parse_qs(body.decode(errors="replace"), max_num_fields=_MAX_PATHS).get("paths", [])
    except ValueError:
        raise TooLargeError(f"More than {_MAX_PATHS} paths were asked for.", hint="Ask for fewer at a time.") from None


@router.get("/{kind}/{namespace}/{name}/tree/{revision}/{path:path}")
@router.get("/{namespace}/{name}/tree/{revision}/{path:path}")
@router.get(f"{_API}/tree/{{revision}}")
@router.get(f"{_API}/tree/{{revision}}/{{path:path}}")
def list_tree(
    request: Request,
    hub: Hub,
    repository: Readable,
    revision: str,
    path: str = "",
    recursive: bool = False,
    cursor: str = "",
) -> JSONResponse:
    """One page of a listing; ``cursor`` is the last path of the page before.

    This Hub has no pages for people: where huggingface.co has one of a folder, the same listing answers.
    """
    commit = repository.commit(revision)
    folder = path.strip("/")
    entries = tree(commit, folder, recursive=recursive)
    if entries is None:
        raise EntryNotFoundError(f"{repository.id} has no folder {folder} at {commit.oid}.", commit=commit.oid)
    rest = [entry for entry in entries if entry["path"] > cursor]
    headers = {"X-Repo-Commit": commit.oid}
    if len(rest) > _PAGE:
        query = urlencode({"recursive": str(recursive).lower(), "cursor": rest[_PAGE - 1]["path"]})
        # The sha instead of a branch, so that all pages are of one commit.
        url = f"{base_url(request, hub)}/api/{repository.id.kind}/{repository.id}/tree/{commit.oid}/{quote(folder)}"
        headers["Link"] = f'<{url.rstrip("/")}?{query}>; rel="next"'
    return JSONResponse(rest[:_PAGE], headers=headers)


@router.post(f"{_API}/paths-info/{{revision:path}}")
def describe_paths(
    repository: Readable, revision: str, paths: Annotated[list[str], Depends(_form_paths)]
) -> list[Json]:
    return paths_info(repository.commit(revision), paths)


@router.get(f"{_API}/refs")
def list_refs(repository: Readable) -> Json:
    head = {"name": BRANCH, "ref": f"refs/heads/{BRANCH}", "targetCommit": repository.head.oid}
    return {"branches": [head], "tags": [], "converts": [], "pullRequests": []}


@router.get(f"{_API}/commits/{{revision:path}}")
def list_commits(request: Request, hub: Hub, repository: Readable, revision: str) -> JSONResponse:
    """One page of a history, newest first; the next one begins at the parent of its last commit."""
    shown = list(islice(repository.history(repository.commit(revision)), HISTORY_PAGE))
    headers = {}
    if shown[-1].parent is not None:
        url = f"{base_url(request, hub)}/api/{repository.id.kind}/{repository.id}/commits/{shown[-1].parent}"
        headers["Link"] = f'<{url}>; rel="next"'
    return JSONResponse([history_entry(commit) for commit in shown], headers=headers)


@router.api_route("/{kind}/{namespace}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
@router.api_route("/{namespace}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def resolve(repository: Readable, revision: str, path: str) -> FileResponse:
    """A file's bytes at a revision, whole or in ranges.

    The ETag is the id of this revision's content: clients cache by it, so taking it from another revision would hand
    out the wrong bytes. ``X-Repo-Commit`` is always the full sha.
    """
    commit = repository.commit(revision)
    entry = commit.files.get(path)
    if entry is None:
        raise EntryNotFoundError(f"{repository.id} has no file {path} at {commit.oid}.", commit=commit.oid)
    headers = {
        "ETag": f'"{entry.content_id}"',
        "X-Repo-Commit": commit.oid,
        # Strangers' files must not run as pages of this origin.
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if entry.sha256 is not None:
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
    return FileResponse(
        repository.blob_path(entry.content_id),
        headers=headers,
        media_type="application/octet-stream",
        filename=path.rpartition("/")[2],
        content_disposition_type="inline",
    )
