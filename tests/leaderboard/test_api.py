"""What holds for every route: one shape of errors, bounds on bodies, a complete description, no leak of a fault."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import QueuePool, text

from leaderboard.competitions import service as competitions
from leaderboard.limits import SMALL_BODY_BYTES
from leaderboard.settings import read_settings
from tests.leaderboard.site import API, HUB, Site, open_site

ROOT = Path(__file__).resolve().parents[2]


def _error(response: Any) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint"}
    assert body["error"]["message"]
    return response.status_code, body["error"]["code"]


def test_the_service_says_that_it_is_well(site: Site) -> None:
    assert site.get("/health")["status"] == "ok"


def test_every_refusal_has_the_one_shape(sqlite_site: Site) -> None:
    site = sqlite_site
    assert _error(site.request("GET", "/nowhere")) == (404, "not_found")
    assert _error(site.request("DELETE", "/health")) == (405, "usage")
    assert _error(site.request("GET", "/submissions/sub-0")) == (404, "not_found")
    assert _error(site.request("GET", "/submissions/SUB")) == (422, "validation")
    assert _error(site.request("GET", "/me")) == (401, "unauthenticated")
    assert _error(site.http.post(f"{API}/submissions", content=b"{", headers=_as(site, "alice"))) == (422, "validation")
    unknown = site.request("POST", "/submissions", "alice", site.registration(track="nope"))
    assert _error(unknown) == (400, "usage")
    assert "filtering" in unknown.json()["error"]["hint"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repo", "no-slash"),
        ("method_name", "two\nlines"),
        ("method_name", "x" * 121),
        ("description", "x" * 4001),
        ("description", "zero\x00byte"),
        ("hub_endpoint", "javascript:alert(1)"),
        ("hub_endpoint", "http://a\x00b"),
        ("idempotency_key", "short"),
        ("extra_field", 1),
    ],
)
def test_a_malformed_field_is_named(site: Site, field: str, value: object) -> None:
    response = site.request("POST", "/submissions", "alice", site.registration(**{field: value}))
    assert _error(response) == (422, "validation")
    assert field in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/competitions/%00", "/submissions/%00", "/competitions/digits?track=%00", "/%00"])
def test_no_address_of_a_page_is_a_fault(site: Site, path: str) -> None:
    assert site.http.get(path).status_code in {404, 422}


@pytest.mark.parametrize(
    "endpoint",
    ["http://169.254.169.254", "http://127.0.0.1:1@evil.example", "http://127.0.0.1:12", f"{HUB}/x", f"{HUB}#"],
)
def test_a_hub_that_the_organisers_do_not_allow_is_refused_at_registration(sqlite_site: Site, endpoint: str) -> None:
    refused = sqlite_site.request("POST", "/submissions", "alice", sqlite_site.registration(hub_endpoint=endpoint))
    assert _error(refused) == (422, "validation")
    error = refused.json()["error"]
    assert error["message"] == f"hub_endpoint: this leaderboard takes no entries from {endpoint}."
    assert HUB in error["hint"]
    assert sqlite_site.get("/submissions", "alice")["items"] == []


def test_the_hubs_of_a_leaderboard_are_its_organisers_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATACUP_HUBS", raising=False)
    assert read_settings().hubs == ("https://huggingface.co",)
    monkeypatch.setenv("DATACUP_HUBS", "https://huggingface.co, http://hub.example:8001/")
    chosen = read_settings()
    assert chosen.takes_from("https://huggingface.co/")
    assert chosen.takes_from("http://hub.example:8001")
    assert not chosen.takes_from("http://hub.example")
    monkeypatch.setenv("DATACUP_HUBS", "")
    assert read_settings().takes_from("http://anywhere.example")


def test_hostile_text_is_kept_as_text(site: Site) -> None:
    name = "<script>alert(1)</script> 'quoted\" {{7*7}}"
    submission = site.enter(method_name=name)
    assert site.view(submission)["method_name"] == name


@pytest.mark.parametrize(("what", "bound"), [("submissions", SMALL_BODY_BYTES), ("results", 2**20)])
def test_bodies_beyond_the_bound_are_refused_announced_or_not(
    sqlite_template: Path, tmp_path: Path, what: str, bound: int
) -> None:
    shutil.copy(sqlite_template, tmp_path / "bounded.db")
    with open_site(f"sqlite:///{tmp_path / 'bounded.db'}", max_body_bytes=2**20) as site:
        path, headers = "/submissions", _as(site, "alice")
        if what == "results":
            site.enter()
            path, headers = _job(site.claim(), what)

        def send(size: int, *, announced: bool) -> tuple[int, str]:
            pieces = (b"x" * 1024 for _ in range(size // 1024))
            content = b"".join(pieces) if announced else pieces
            return _error(site.http.post(f"{API}{path}", content=content, headers=headers))

        for announced in (True, False):
            assert send(bound, announced=announced)[0] == 422, "read, and found to be no JSON"
            assert send(bound + 1024, announced=announced)[0] == 413


def test_only_a_worker_has_a_large_body_read(sqlite_site: Site) -> None:
    """What is no JSON is found out by reading it: the token comes first."""

    def answers(path: str, *headers: dict[str, str]) -> list[tuple[int, str]]:
        return [_error(sqlite_site.http.post(f"{API}{path}", content=b"{", headers=one)) for one in headers]

    unknown, forbidden, read = (401, "unauthenticated"), (403, "forbidden"), (422, "validation")
    alice, worker = _as(sqlite_site, "alice"), _as(sqlite_site, "worker")
    assert answers("/scoring/claims", {}, alice, worker) == [unknown, forbidden, read]
    sqlite_site.enter()
    grant = sqlite_site.claim()
    for what in ("heartbeat", "stage", "results", "finish"):
        path, holder = _job(grant, what)
        assert answers(path, {}, alice, worker, holder) == [unknown, unknown, unknown, read]
        assert answers("/scoring/claims", holder) == [unknown], "a job's token is for the job alone"


def _job(grant: Any, what: str) -> tuple[str, dict[str, str]]:
    """Where to say something about a job that was claimed, and with which token."""
    return f"/scoring/jobs/{grant['job_id']}/{what}", {"Authorization": f"Bearer {grant['token']}"}


def test_a_fault_of_ours_says_so_and_nothing_more(sqlite_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret path /srv/x")

    monkeypatch.setattr(competitions, "list_", broken)
    response = sqlite_site.request("GET", "/competitions")
    assert _error(response) == (500, "internal")
    assert "secret" not in response.text


def test_a_database_that_is_away_is_said_to_be_worth_another_try(sqlite_site: Site) -> None:
    with sqlite_site.database.writing() as session:
        session.execute(text("ALTER TABLE competitions RENAME TO elsewhere"))
    response = sqlite_site.request("GET", "/competitions")
    assert _error(response) == (503, "unavailable")
    assert response.headers["Retry-After"] == "1"


def test_a_database_whose_connections_are_all_taken_is_busy(sqlite_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = QueuePool(sqlite_site.database.engine.pool._creator, pool_size=1, max_overflow=0, timeout=0.01)
    monkeypatch.setattr(sqlite_site.database.engine, "pool", pool)
    with closing(pool.connect()):
        assert _error(sqlite_site.request("GET", "/competitions")) == (503, "unavailable")


def test_a_failed_write_leaves_nothing_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = site.register()
    before = site.get(f"/submissions/{draft}", "alice")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no queue")

    monkeypatch.setattr("leaderboard.scoring.queue.enqueue", broken)
    assert site.revise(draft).status_code == 500
    monkeypatch.undo()
    assert site.get(f"/submissions/{draft}", "alice") == before
    assert site.revise(draft).status_code == 200


def test_openapi_describes_every_route(sqlite_site: Site) -> None:
    document = sqlite_site.http.get("/openapi.json").json()
    operations = [
        (path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    assert len(operations) >= 15
    for path, method, operation in operations:
        assert path.startswith(API), path
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        assert operation["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_leaderboard_needs_only_its_own_extra() -> None:
    """A fresh interpreter that cannot import what the extra does not bring can still make and describe the site."""
    code = """
import sys
class Refuse:
    names = {"torch", "ray", "polars", "pyarrow", "httpx2", "sklearn", "open_clip", "huggingface_hub", "PIL"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Refuse())
import leaderboard.cli, leaderboard.hub.app
from leaderboard.app import create_app
from leaderboard.settings import Settings
create_app(Settings(database_url="sqlite:///unused.db")).openapi()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


def _as(site: Site, account: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.tokens[account]}", "Content-Type": "application/json"}


def test_workers_are_told_which_files_entries_consist_of_and_nobody_else(site: Site) -> None:
    draft, waiting = site.register(), site.enter()
    site.verify(site.claim())
    withdrawn = site.enter()
    site.request("POST", f"/submissions/{withdrawn}/withdraw", "alice")
    found: dict[str, list[str]] = {}
    after = ""
    while after is not None:
        page = site.get("/scoring/files?limit=2" + (f"&after={after}" if after else ""), "worker")
        assert len(page["items"]) <= 2
        found |= {item["submission_id"]: item["sha256"] for item in page["items"]}
        after = page["next_after"]
    assert found == {draft: [], waiting: ["0" * 64], withdrawn: []}, "whatever became of them"
    assert site.get("/scoring/files", "organiser")["next_after"] is None
    assert site.request("GET", "/scoring/files", "alice").status_code == 403
    assert site.request("GET", "/scoring/files").status_code == 401
