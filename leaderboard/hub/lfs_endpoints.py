"""Large files: the git-LFS batch API and the signed URLs that it hands out.

An object is stored under its sha256 only after its bytes were hashed here. Parts of an upload are files of their own
until the whole is copied together, so a late writer cannot change an object that was already verified.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from leaderboard.hub.access import Hub, HubState, Writable, base_url, named_repository
from leaderboard.hub.answers import Json
from leaderboard.hub.bodies import read_json, receive
from leaderboard.hub.errors import BadRequestError
from leaderboard.hub.files import Spool
from leaderboard.hub.names import RepoId, is_sha256
from leaderboard.hub.repositories import Repository
from leaderboard.hub.schemas import LfsBatch, LfsCompletion, LfsObject

router = APIRouter()

_COPY_CHUNK = 1024**2


@dataclass(frozen=True)
class Upload:
    """An object that a signed URL allows to be written; ``size`` is of the whole object, in bytes."""

    repository: Repository
    oid: str
    size: int

    @property
    def parts_folder(self) -> Path:
        owner = hashlib.sha256(object_path(self.repository.id, self.oid).encode()).hexdigest()
        return self.repository.scratch / f"{owner}.parts"


def object_path(repo_id: RepoId, oid: str) -> str:
    return f"/lfs/{repo_id.kind}/{repo_id}/{oid}"


def part_path(repo_id: RepoId, oid: str, part: int) -> str:
    return f"{object_path(repo_id, oid)}/parts/{part}"


def part_count(size: int, chunk: int) -> int:
    return -(-size // chunk)


def signed_upload(  # noqa: PLR0913, PLR0917 - query parameters
    request: Request,
    hub: Hub,
    repo_id: Annotated[RepoId, Depends(named_repository)],
    oid: str,
    size: int,
    expires: int,
    signature: str,
    part: int | None = None,
) -> Upload:
    """Check the signature before anything else; raises PermissionDeniedError or RepositoryNotFoundError."""
    path = object_path(repo_id, oid) if part is None else part_path(repo_id, oid, part)
    hub.signer.check(request.method, path, size, expires, signature)
    assert is_sha256(oid), "only valid ids are ever signed"
    return Upload(hub.repositories.open(repo_id), oid, size)


SignedUpload = Annotated[Upload, Depends(signed_upload)]


async def _batch_body(request: Request) -> LfsBatch:
    return await read_json(request, LfsBatch)


async def _object_body(request: Request) -> LfsObject:
    return await read_json(request, LfsObject)


@router.post("/{namespace}/{name}.git/info/lfs/objects/batch")
@router.post("/{kind}/{namespace}/{name}.git/info/lfs/objects/batch")
def batch(request: Request, hub: Hub, repository: Writable, body: Annotated[LfsBatch, Depends(_batch_body)]) -> Json:
    base = base_url(request, hub)
    parts_allowed = "multipart" in body.transfers
    objects = [_instructions(hub, repository, each, base, parts_allowed=parts_allowed) for each in body.objects]
    in_parts = any("chunk_size" in each.get("actions", {}).get("upload", {}).get("header", {}) for each in objects)
    return {"transfer": "multipart" if in_parts else "basic", "objects": objects}


def _instructions(hub: HubState, repository: Repository, wanted: LfsObject, base: str, *, parts_allowed: bool) -> Json:
    """What the client is to do for one object: nothing when it is stored already."""
    answer: Json = wanted.model_dump()
    stored = repository.blob_size(wanted.oid)
    if wanted.size > hub.settings.max_lfs_bytes:
        message = f"The file has {wanted.size} bytes; {hub.settings.max_lfs_bytes} are allowed."
        return {**answer, "error": {"code": 413, "message": message}}
    if stored is not None and stored != wanted.size:
        message = f"The object {wanted.oid} has {stored} bytes, not {wanted.size}."
        return {**answer, "error": {"code": 422, "message": message}}
    if stored is not None:
        return answer
    path, chunk = object_path(repository.id, wanted.oid), hub.settings.multipart_chunk_bytes

    def signed(method: str, path: str) -> str:
        return f"{base}{path}?{hub.signer.query(method, path, wanted.size)}"

    if parts_allowed and wanted.size > chunk:
        numbers = range(1, part_count(wanted.size, chunk) + 1)
        parts = {str(n): signed("PUT", part_path(repository.id, wanted.oid, n)) for n in numbers}
        upload: Json = {"href": signed("POST", path), "header": {"chunk_size": str(chunk), **parts}}
    else:
        upload = {"href": signed("PUT", path)}
    verify = {"href": f"{base}/{repository.id.web_path}.git/info/lfs/objects/verify"}
    return {**answer, "actions": {"upload": upload, "verify": verify}}


@router.post("/{namespace}/{name}.git/info/lfs/objects/verify")
@router.post("/{kind}/{namespace}/{name}.git/info/lfs/objects/verify")
def verify(repository: Writable, body: Annotated[LfsObject, Depends(_object_body)]) -> Json:
    if repository.blob_size(body.oid) != body.size:
        raise BadRequestError(f"The object {body.oid} of {body.size} bytes has not arrived.", hint="Upload it again.")
    return {}


@router.put("/lfs/{kind}/{namespace}/{name}/{oid}")
async def put_object(request: Request, upload: SignedUpload) -> Json:
    with Spool(upload.repository.scratch, limit=upload.size, what="The uploaded object") as spool:
        await receive(request, spool)
        await run_in_threadpool(_store, upload, spool)
    return {}


@router.put("/lfs/{kind}/{namespace}/{name}/{oid}/parts/{part}")
async def put_part(request: Request, hub: Hub, upload: SignedUpload, part: int) -> Response:
    with Spool(upload.repository.scratch, limit=hub.settings.multipart_chunk_bytes, what="The uploaded part") as spool:
        await receive(request, spool)
        await run_in_threadpool(spool.move_to, upload.parts_folder / str(part))
        return Response(headers={"ETag": f'"{spool.sha256}"'})


async def _completion_body(request: Request) -> LfsCompletion:
    return await read_json(request, LfsCompletion)


@router.post("/lfs/{kind}/{namespace}/{name}/{oid}")
def complete(hub: Hub, upload: SignedUpload, body: Annotated[LfsCompletion, Depends(_completion_body)]) -> Json:
    """Join the parts; a repeated completion finds the object there and changes nothing."""
    if body.oid != upload.oid:
        raise BadRequestError("The completed object is not the one of this upload URL.")
    if upload.repository.blob_size(upload.oid) is None:
        count = part_count(upload.size, hub.settings.multipart_chunk_bytes)
        with Spool(upload.repository.scratch, limit=upload.size, what="The uploaded object") as spool:
            for number in range(1, count + 1):
                _copy_part(upload, number, spool)
            shutil.rmtree(upload.parts_folder, ignore_errors=True)
            _store(upload, spool)
    return {}


def _copy_part(upload: Upload, number: int, spool: Spool) -> None:
    try:
        with (upload.parts_folder / str(number)).open("rb") as part:
            while chunk := part.read(_COPY_CHUNK):
                spool.write(chunk)
    except FileNotFoundError:
        raise BadRequestError(f"Part {number} of the upload is missing.", hint="Upload the file again.") from None


def _store(upload: Upload, spool: Spool) -> None:
    if spool.size != upload.size or spool.sha256 != upload.oid:
        raise BadRequestError(
            f"The upload has {spool.size} bytes with sha256 {spool.sha256}, "
            f"but {upload.size} bytes with sha256 {upload.oid} were announced.",
            hint="The file changed while it was uploaded, or the connection damaged it: upload it again.",
        )
    spool.move_to(upload.repository.blob_path(upload.oid))
