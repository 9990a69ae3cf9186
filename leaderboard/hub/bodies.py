"""Reading request bodies without trusting their size or shape."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from leaderboard.hub.errors import BadRequestError, TooLargeError
from leaderboard.hub.files import Spool

_MAX_JSON_BYTES = 8 * 1024**2

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, limit: int = _MAX_JSON_BYTES) -> bytes:
    """A small body, of at most ``limit`` bytes; raises TooLargeError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLargeError(f"The request body is larger than the {limit} bytes that are allowed.")
    return bytes(body)


async def read_json(request: Request, model: type[Model]) -> Model:
    """A JSON body in the shape of a model, whatever its content type; raises BadRequestError."""
    body = await read_body(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise malformed("The request body", error) from None


def malformed(what: str, error: ValidationError) -> BadRequestError:
    """Say in one sentence what the first problem of a body is, and where."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return BadRequestError(f"{what} is malformed{f' at {where}' if where else ''}: {first['msg']}.")


async def receive(request: Request, spool: Spool) -> None:
    """Stream a body of any size to disk, within the spool's limit; raises TooLargeError before reading if it can."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        spool.check_size(int(declared))
    async for chunk in request.stream():
        if chunk:
            await run_in_threadpool(spool.write, chunk)
