"""The client retries what may be repeated, never a claim, and turns the API's errors into our types."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from competition import errors
from competition.client import LeaderboardClient
from competition.records.lifecycle import JobKind
from competition.records.scoring import ClaimRequest, Heartbeat, JobGrant


class _Script(BaseHTTPRequestHandler):
    """Answers with the scripted (status, body) pairs, in order; the last one again and again."""

    answers: list[tuple[int, object]] = []
    seen: list[str] = []
    tokens: list[str | None] = []

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append(f"{self.command} {self.path}")
        self.tokens.append(self.headers["Authorization"])
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        payload = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Script.seen, _Script.tokens = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Script) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def _client(url: str) -> LeaderboardClient:
    return LeaderboardClient(url, "token", attempts=3, sleep=lambda _seconds: None)


def test_a_repeatable_call_survives_an_outage(server: str) -> None:
    _Script.answers = [(503, None), (500, None), (200, {"items": [], "next_cursor": None})]
    with _client(server) as client:
        assert client.submissions(limit=1).items == []
    assert _Script.seen == ["GET /api/v1/submissions?limit=1"] * 3


def test_a_claim_is_never_repeated(server: str) -> None:
    _Script.answers = [(503, None)]
    with _client(server) as client, pytest.raises(errors.ServiceUnavailableError):
        client.claim(ClaimRequest(worker="w"))
    assert len(_Script.seen) == 1


def test_no_work_is_none(server: str) -> None:
    _Script.answers = [(204, None)]
    with _client(server) as client:
        assert client.claim(ClaimRequest(worker="w")) is None


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthenticated", errors.AuthenticationError),
        (403, "forbidden", errors.PermissionDeniedError),
        (404, "not_found", errors.NotFoundError),
        (409, "stale_attempt", errors.StaleAttemptError),
        (422, "validation", errors.ValidationFailedError),
    ],
)
def test_errors_of_the_api_come_back_as_our_types(server: str, status: int, code: str, kind: type[Exception]) -> None:
    _Script.answers = [(status, {"error": {"code": code, "message": "What happened.", "hint": "What to do."}})]
    with _client(server) as client, pytest.raises(kind) as caught:
        client.heartbeat(a_grant(), Heartbeat(attempt=1))
    assert str(caught.value) == "What happened. What to do."
    assert len(_Script.seen) == 1


def a_grant() -> JobGrant:
    same, words = "0" * 64, ("submission_id", "competition", "track", "scale", "suite")
    digests = {f"{what}_digest": same for what in ("competition", "recipe", "suite")}
    return JobGrant(
        job_id=1, kind=JobKind.INTAKE, attempt=1, token="dcj_1.1.the-token-of-the-attempt", lease_seconds=60,
        nonce=same, hub_endpoint="http://127.0.0.1:1", repo="alice/entry", revision="c" * 40, path="one", manifest=None,
        finished_tasks=(), **dict.fromkeys(words, "one"), **digests,
    )  # fmt: skip


def test_what_is_said_about_a_job_is_said_with_the_token_of_the_attempt(server: str) -> None:
    _Script.answers = [(204, None)]
    with _client(server) as client:
        client.heartbeat(a_grant(), Heartbeat(attempt=1))
        client.claim(ClaimRequest(worker="w"))
    assert _Script.tokens == ["Bearer dcj_1.1.the-token-of-the-attempt", "Bearer token"]
    assert "the-token" not in repr(a_grant())


def test_something_else_at_the_address_is_said_so(server: str) -> None:
    _Script.answers = [(200, {"hello": "world"})]
    with _client(server) as client, pytest.raises(errors.ServiceUnavailableError, match="not a SubmissionView"):
        client.submission("s-1")
    with _client(server) as client, pytest.raises(errors.ServiceUnavailableError, match=r"is not a list\[Event\]"):
        client.events("s-1")
    _Script.answers = [(404, ["not", "ours"])]
    with _client(server) as client, pytest.raises(errors.ServiceUnavailableError, match="answered HTTP 404"):
        client.submission("s-1")


def test_nobody_at_the_address_is_said_so() -> None:
    with (
        _client("http://127.0.0.1:9") as client,
        pytest.raises(errors.ServiceUnavailableError, match="does not answer"),
    ):
        client.submission("s-1")


@pytest.mark.parametrize(
    ("name", "sent"), [("../../../api", "%2E%2E%2F%2E%2E%2F%2E%2E%2Fapi"), ("..", "%2E%2E"), ("a?b#c/", "a%3Fb%23c%2F")]
)
def test_a_name_stays_one_segment_of_the_path(server: str, name: str, sent: str) -> None:
    _Script.answers = [(200, [])]
    with _client(server) as client:
        assert client.events(name) == []
    assert _Script.seen == [f"GET /api/v1/submissions/{sent}/events"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:abc",
        "http://127.0.0.1:8000/\n",
        "127.0.0.1:8771",
        "localhost:8771",
        "example.org",
        "http://",
        "ftp://h",
    ],
)
def test_what_is_no_address_is_said_so_at_once(endpoint: str) -> None:
    with pytest.raises(errors.UsageError, match="is not the address of a leaderboard"):
        LeaderboardClient(endpoint)


@pytest.mark.parametrize("token", ["a-secret\n", "a-secret key", "a-secr\xe9t", "a-secret\x00"])
def test_what_can_be_no_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(errors.UsageError, match="The token holds") as caught:
        LeaderboardClient("http://127.0.0.1:9", token)
    assert "secr" not in str(caught.value)
