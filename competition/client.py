"""The leaderboard's HTTP client, used by the kit and by the scorer.

Calls that may be repeated safely (everything but a claim) are retried with back-off while the service is away; errors
of the API come back as the exception types of ``competition.errors``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from competition import __version__, errors
from competition.records.audit import AuditReport, AuditTarget, AuditView
from competition.records.base import Record
from competition.records.lifecycle import Event
from competition.records.references import ReferenceHead, ReferenceReceipt, ReferenceUpload
from competition.records.rescoring import (
    EvaluationView,
    PublishRequest,
    ReplayNote,
    RescoringPlan,
    RescoringReport,
    RescoringRequest,
    RescoringView,
)
from competition.records.scoring import (
    ClaimRequest,
    EntryFilesPage,
    Heartbeat,
    JobFinish,
    JobGrant,
    ResultReport,
    ResultTakenOver,
    StageReport,
)
from competition.records.standings import StandingsView
from competition.records.submission import (
    QuotaView,
    SubmissionPage,
    SubmissionRegistration,
    SubmissionRevision,
    SubmissionTicket,
    SubmissionView,
    SubmissionWithdrawal,
)
from competition.rules import Competition

R = TypeVar("R", bound=Record)
T = TypeVar("T")

_BY_CODE: dict[str, type[errors.DataCupError]] = {
    kind.code: kind
    for kind in (
        errors.UsageError,
        errors.AuthenticationError,
        errors.PermissionDeniedError,
        errors.NotFoundError,
        errors.ConflictError,
        errors.StaleAttemptError,
        errors.QuotaError,
        errors.ValidationFailedError,
        errors.ServiceUnavailableError,
    )
}
_EVENTS = TypeAdapter(list[Event])
_RESCORINGS = TypeAdapter(list[RescoringView])
_EVALUATIONS = TypeAdapter(list[EvaluationView])


class _Owner(BaseModel):
    """Of the API's answer to whose token this is, the account."""

    account: str


_OWNER = TypeAdapter(_Owner)


class _Published(BaseModel):
    """Of the API's answer about a competition, its document."""

    document: Competition


_PUBLISHED = TypeAdapter(_Published)


class LeaderboardClient:
    """One connection to a leaderboard's API.

    ``endpoint`` is the site's address without ``/api``; ``token`` is a bearer token or None for public reading.
    ``attempts`` bounds the tries of a repeatable call; ``sleep`` is injected by tests. Raises ``UsageError`` when
    ``endpoint`` is no address or ``token`` can be no token.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        *,
        attempts: int = 5,
        timeout: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"User-Agent": f"datacup/{__version__}"}
        if token:
            # The transport would refuse it too, but with the token in its message.
            if not (token.isascii() and token.isprintable()) or " " in token:
                raise errors.UsageError(
                    "The token holds a space, a line break or another character that no token has.",
                    hint="Set DATACUP_TOKEN to the token alone, as `datacup-leaderboard token create` printed it.",
                )
            headers["Authorization"] = f"Bearer {token}"
        self.endpoint = endpoint.rstrip("/")
        self._attempts = attempts
        self._sleep = sleep
        base = _address(f"{self.endpoint}/api/v1/", endpoint)
        self._http = httpx.Client(base_url=base, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # --- submissions ---------------------------------------------------------------------------------------------

    def register(self, registration: SubmissionRegistration) -> SubmissionTicket:
        """Announce an entry; repeating it with the same idempotency key yields the same ticket."""
        return self._record(SubmissionTicket, "POST", "submissions", registration)

    def set_revision(self, submission_id: str, revision: SubmissionRevision) -> SubmissionView:
        """Say that the upload is complete. Repeating it with the same revision changes nothing."""
        return self._record(SubmissionView, "PUT", f"submissions/{_segment(submission_id)}/revision", revision)

    def withdraw(self, submission_id: str, reason: str = "") -> SubmissionView:
        """Withdraw an entry for good: a tombstone stays, and the attempt still counts. Idempotent."""
        path = f"submissions/{_segment(submission_id)}/withdraw"
        return self._record(SubmissionView, "POST", path, SubmissionWithdrawal(reason=reason))

    def account(self) -> str:
        """The account that the token belongs to (raises ``AuthenticationError`` without one)."""
        return _parse(_OWNER, self._send("GET", "me")).account

    def submission(self, submission_id: str) -> SubmissionView:
        """One submission with its results so far."""
        return self._record(SubmissionView, "GET", f"submissions/{_segment(submission_id)}")

    def submissions(self, **filters: str | int) -> SubmissionPage:
        """A page of submissions, newest first (competition, track, scale, account, processing, cursor, limit)."""
        return self._record(SubmissionPage, "GET", "submissions", params=filters)

    def quota(self, competition: str) -> QuotaView:
        """What the token's account may still enter (raises ``ConflictError`` while no phase is open)."""
        return self._record(QuotaView, "GET", f"competitions/{_segment(competition)}/quota")

    def events(self, submission_id: str) -> list[Event]:
        """The event log of a submission, oldest first."""
        return _parse(_EVENTS, self._send("GET", f"submissions/{_segment(submission_id)}/events"))

    def standings(self, competition: str, *, track: str, scale: str) -> StandingsView:
        """The standings of one track and scale."""
        path = f"competitions/{_segment(competition)}/standings"
        return self._record(StandingsView, "GET", path, params={"track": track, "scale": scale})

    # --- organising ----------------------------------------------------------------------------------------------

    def rules(self, competition: str) -> Competition:
        """The newest rules of a competition."""
        return _parse(_PUBLISHED, self._send("GET", f"competitions/{_segment(competition)}")).document

    def add_references(self, upload: ReferenceUpload) -> ReferenceReceipt:
        """Import reference results. Idempotent."""
        return self._record(ReferenceReceipt, "POST", "references", upload)

    def remove_references(self, set_id: str) -> ReferenceHead:
        """Remove reference results. Idempotent."""
        return self._record(ReferenceHead, "DELETE", f"references/{_segment(set_id)}")

    # --- scoring -------------------------------------------------------------------------------------------------

    def claim(self, request: ClaimRequest) -> JobGrant | None:
        """Lease one job; None when there is nothing to do. Not repeated by itself: a lost grant runs out."""
        response = self._send("POST", "scoring/claims", request, attempts=1)
        return None if response.status_code == httpx.codes.NO_CONTENT else _parse(TypeAdapter(JobGrant), response)

    def heartbeat(self, grant: JobGrant, message: Heartbeat) -> None:
        """Extend the lease (raises ``StaleAttemptError`` when it has ended)."""
        self._say(grant, "heartbeat", message)

    def report_stage(self, grant: JobGrant, message: StageReport) -> None:
        """Say which stage the work has entered."""
        self._say(grant, "stage", message)

    def report_result(self, grant: JobGrant, message: ResultReport) -> None:
        """Hand in the result of one task. Idempotent."""
        self._say(grant, "results", message)

    def take_over_result(self, grant: JobGrant, message: ResultTakenOver) -> None:
        """Say that a task of a re-scoring keeps its older result. Idempotent."""
        self._say(grant, "taken-over", message)

    def finish(self, grant: JobGrant, message: JobFinish) -> None:
        """Hand in the outcome of the job. Idempotent within the attempt."""
        self._say(grant, "finish", message)

    def _say(self, grant: JobGrant, what: str, message: Record) -> None:
        """About a job the worker's own token says nothing: the attempt's does."""
        self._send("POST", f"scoring/jobs/{grant.job_id}/{what}", message, token=grant.token)

    def entry_files(self) -> dict[str, frozenset[str]]:
        """The digests of the files of every submission that the leaderboard knows, drafts and ended ones too."""
        found: dict[str, frozenset[str]] = {}
        after: str | None = ""
        while after is not None:
            params: dict[str, str | int] = {"after": after} if after else {}
            page = self._record(EntryFilesPage, "GET", "scoring/files", params=params)
            found.update({item.submission_id: frozenset(item.sha256) for item in page.items})
            after = page.next_after
        return found

    # --- organisers ----------------------------------------------------------------------------------------------

    def plan_rescoring(self, request: RescoringRequest) -> RescoringPlan:
        """What a re-scoring would do; nothing is stored."""
        return self._record(RescoringPlan, "POST", f"{_rescorings(request.document.id)}/plan", request)

    def begin_rescoring(self, request: RescoringRequest) -> RescoringView:
        """Begin a re-scoring, or go on with the open one: the same request again adds new entries and retries."""
        return self._record(RescoringView, "POST", _rescorings(request.document.id), request)

    def rescorings(self, competition: str) -> list[RescoringView]:
        """The re-scorings of a competition, the newest first."""
        return _parse(_RESCORINGS, self._send("GET", _rescorings(competition)))

    def rescoring(self, competition: str, number: int) -> RescoringReport:
        """What a re-scoring changed, or would change."""
        return self._record(RescoringReport, "GET", f"{_rescorings(competition)}/{number}")

    def publish_rescoring(self, competition: str, number: int, request: PublishRequest) -> RescoringView:
        """Make a re-scoring public. Idempotent."""
        return self._record(RescoringView, "POST", f"{_rescorings(competition)}/{number}/publish", request)

    def cancel_rescoring(self, competition: str, number: int) -> RescoringView:
        """End a re-scoring without publishing it. Idempotent."""
        return self._record(RescoringView, "POST", f"{_rescorings(competition)}/{number}/cancel")

    def evaluations(self, submission_id: str) -> list[EvaluationView]:
        """The published evaluations of a submission side by side, the oldest first."""
        return _parse(_EVALUATIONS, self._send("GET", f"submissions/{_segment(submission_id)}/evaluations"))

    def note_replay(self, submission_id: str, note: ReplayNote) -> None:
        """Log that an entry was evaluated again, and how its values held."""
        self._send("POST", f"submissions/{_segment(submission_id)}/replays", note)

    def audit_target(self, submission_id: str) -> AuditTarget:
        """What an audit must know of a scored entry (needs a token of scope `admin`)."""
        return self._record(AuditTarget, "GET", f"scoring/audits/{_segment(submission_id)}")

    def report_audit(self, report: AuditReport) -> AuditView:
        """Hand in an audit (needs a token of scope `admin`). Idempotent."""
        return self._record(AuditView, "POST", f"scoring/audits/{_segment(report.submission_id)}", report)

    # --- transport -----------------------------------------------------------------------------------------------

    def _record(
        self,
        kind: type[R],
        method: str,
        path: str,
        body: Record | None = None,
        *,
        params: dict[str, str | int] | None = None,
    ) -> R:
        return _parse(TypeAdapter(kind), self._send(method, path, body, params=params))

    def _send(
        self,
        method: str,
        path: str,
        body: Record | None = None,
        *,
        params: dict[str, str | int] | None = None,
        attempts: int | None = None,
        token: str | None = None,
    ) -> httpx.Response:
        content = body.model_dump_json() if body is not None else None
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        tries = attempts or self._attempts
        problem = ""
        for number in range(tries):
            if number:
                self._sleep(min(0.5 * 2.0**number, 10.0))
            try:
                response = self._http.request(method, path, content=content, headers=headers, params=params)
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
                continue
            if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                problem = f"HTTP {response.status_code}"
                continue
            if response.is_success:
                return response
            raise _api_error(response)
        raise errors.ServiceUnavailableError(
            f"The leaderboard at {self.endpoint} does not answer ({problem}).",
            hint="Check DATACUP_ENDPOINT and the network, then run the same command again; nothing is lost.",
        )


def _address(text: str, endpoint: str) -> httpx.URL:
    """The URL that ``text`` is, made of what the user gave as ``endpoint`` (raises ``UsageError`` when it is none)."""
    try:
        url = httpx.URL(text)
        problem = "" if url.scheme in {"http", "https"} and url.host else "it does not begin with http:// or https://"
    except httpx.InvalidURL as error:
        problem = str(error)
    if problem:
        raise errors.UsageError(
            f"{endpoint!r} is not the address of a leaderboard ({problem}).",
            hint="Set DATACUP_ENDPOINT to its address, for example http://127.0.0.1:8000",
        )
    return url


def _rescorings(competition: str) -> str:
    return f"competitions/{_segment(competition)}/rescorings"


def _segment(name: str) -> str:
    """A name from outside as one segment of a path: it leads nowhere else, though it be ``..``."""
    return quote(name, safe="").replace(".", "%2E")


def _parse(kind: TypeAdapter[T], response: httpx.Response) -> T:
    try:
        return kind.validate_json(response.content)
    except ValidationError as error:
        raise errors.ServiceUnavailableError(
            f"The answer of {response.url} is not a {error.title}.",
            hint="Is this the address of a DataCup leaderboard, of a compatible version?",
        ) from error


def _api_error(response: httpx.Response) -> errors.DataCupError:
    """The exception that the API's error body stands for."""
    try:
        body = response.json()["error"]
        kind = _BY_CODE.get(body["code"], errors.DataCupError)
        return kind(str(body["message"]), hint=str(body.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        return errors.ServiceUnavailableError(
            f"{response.url} answered HTTP {response.status_code}.",
            hint="Is DATACUP_ENDPOINT the address of a DataCup leaderboard?",
        )
