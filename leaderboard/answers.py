"""The one shape of errors, the one place that makes them, and their documentation in OpenAPI."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from competition.errors import (
    DataCupError,
    NotFoundError,
    ServiceUnavailableError,
    UsageError,
    ValidationFailedError,
)

log = structlog.get_logger()
_DOCS_HINT = "/openapi.json describes every field."


class ErrorDetail(BaseModel):
    """What went wrong, in one sentence, and what to do about it."""

    code: str = Field(description="a word for programs", examples=["not_found"])
    message: str = Field(examples=["There is no submission 'sub-0'."])
    hint: str = Field(description="what to do about it; may be empty", examples=["Check the id; drafts are private."])


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


_MEANINGS = {
    400: "The request asks for something that does not fit together.",
    401: "No token, an unknown one, or one that has expired.",
    403: "The token's scopes or account do not allow this.",
    404: "There is no such thing, or you may not know of it.",
    409: "The state does not allow this (code `conflict`), or the lease has ended (code `stale_attempt`).",
    413: "The body is too large.",
    422: "A field is malformed; the message names it.",
    429: "The account has as many entries as the phase allows (code `quota`).",
    503: "The database is busy or away; the same request may be sent again.",
}
Responses = dict[int | str, dict[str, Any]]


def documented(*statuses: int) -> Responses:
    """OpenAPI's description of the errors that a route can answer."""
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in (*statuses, 422, 503)}


def error_response(code: str, message: str, hint: str, status: int) -> JSONResponse:
    """An error as the API says it."""
    body = ErrorBody(error=ErrorDetail(code=code, message=message, hint=hint))
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status)
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


# How a browser is told: request, status, message, hint.
ErrorPage = Callable[[Request, int, str, str], Response]


def install(app: FastAPI, page: ErrorPage) -> None:
    """Make every error of this application answer in the one shape; ``page`` answers outside of /api."""

    def answer(request: Request, error: Exception) -> Response:
        meant = _meant(request, error)
        if meant is None:
            # Formatted here: a logger that shows local variables would show tokens and nonces.
            trace = "".join(traceback.format_exception(error))
            log.error("unhandled_error", method=request.method, path=request.url.path, traceback=trace)
            code, message, hint, status = "internal", "Something went wrong on our side.", "It was logged.", 500
        else:
            code, message, hint, status = meant.code, meant.message, meant.hint, meant.http_status
        headers = {}
        if isinstance(error, HTTPException):
            status, headers = error.status_code, dict(error.headers or {})
        api = request.url.path.startswith("/api/")
        response = error_response(code, message, hint, status) if api else page(request, status, message, hint)
        response.headers.update(headers)
        return response

    database_errors = (DataError, OperationalError, PoolTimeoutError)
    for kind in (DataCupError, RequestValidationError, HTTPException, *database_errors, Exception):
        app.add_exception_handler(kind, answer)


def _meant(request: Request, error: Exception) -> DataCupError | None:
    """The error that a request should be told of; None for a bug."""
    if isinstance(error, DataCupError):
        return error
    if isinstance(error, RequestValidationError):
        return ValidationFailedError(_problems(error.errors()), hint=_DOCS_HINT)
    if isinstance(error, HTTPException):
        reason = str(error.detail) or HTTPStatus(error.status_code).phrase
        sentence = f"{request.method} {request.url.path}: {reason}."
        kind = NotFoundError if error.status_code == HTTPStatus.NOT_FOUND else UsageError
        return kind(sentence, hint="/openapi.json lists the routes.")
    if isinstance(error, DataError):
        # PostgreSQL stores no zero character and no number beyond 64 bits, wherever in an address it came from.
        log.warning("value_refused", path=request.url.path, error=str(error.orig))
        return ValidationFailedError("A value of the request cannot be stored or compared.", hint=_DOCS_HINT)
    if isinstance(error, OperationalError | PoolTimeoutError):
        log.warning("database_unavailable", path=request.url.path, error=str(getattr(error, "orig", error)))
        return ServiceUnavailableError("The database is busy or away.", hint="Send the same request again.")
    return None


def _problems(errors: Sequence[Any]) -> str:
    sentences = []
    for error in errors[:5]:
        field = ".".join(str(part) for part in error["loc"] if part != "body") or "body"
        sentences.append(f"{field}: {error['msg'].removeprefix('Value error, ')}")
    more = len(errors) - len(sentences)
    return "; ".join(sentences) + (f"; and {more} more." if more else ".")
