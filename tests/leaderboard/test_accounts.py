"""Tokens: scoped, expiring, revocable, and never stored."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from competition.errors import NotFoundError, UsageError
from leaderboard.accounts import service
from leaderboard.accounts.viewer import Scope
from tests.leaderboard.site import START, Site


def test_a_token_says_whose_it_is_and_what_it_may(site: Site) -> None:
    site.token("carol", Scope.SUBMIT, Scope.SCORE, days=2)
    me = site.get("/me", "carol")
    assert me == {"account": "carol", "scopes": ["score", "submit"], "expires_at": "2026-06-03T12:00:00.123456Z"}


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer dcp_", "Bearer \xff", "Basic YTpi", "Bearer"])
def test_a_token_that_is_none_is_refused_even_where_none_is_needed(sqlite_site: Site, header: str) -> None:
    response = sqlite_site.http.get("/api/v1/me", headers={"Authorization": header.encode("latin-1")})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    if header.startswith("Bearer w"):
        health = sqlite_site.http.get("/api/v1/submissions", headers={"Authorization": header})
        assert (health.status_code, health.json()["error"]["code"]) == (401, "unauthenticated")


def test_a_token_ends_at_its_second(site: Site) -> None:
    site.token("carol", Scope.SUBMIT, days=1)
    site.clock.advance(timedelta(days=1).total_seconds() - 1)
    assert site.request("GET", "/me", "carol").status_code == 200
    site.clock.advance(1)
    refused = site.request("GET", "/me", "carol")
    assert refused.status_code == 401
    assert "2026-06-02 12:00:00" in refused.json()["error"]["message"]


def test_a_revoked_token_is_worthless(site: Site) -> None:
    with site.database.writing() as session:
        for token in service.tokens(session):
            if token.account.name == "alice":
                service.revoke_token(session, token.id, START)
        with pytest.raises(NotFoundError):
            service.revoke_token(session, 10_000, START)
    assert "revoked" in site.request("GET", "/me", "alice").json()["error"]["message"]
    assert site.request("GET", "/me", "bob").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "account"),
    [
        ("POST", "/submissions", "worker"),
        ("PUT", "/submissions/sub-0/revision", "worker"),
        ("POST", "/submissions/sub-0/withdraw", "worker"),
        ("POST", "/scoring/claims", "alice"),
    ],
)
def test_every_writing_route_asks_for_its_scope(sqlite_site: Site, method: str, path: str, account: str) -> None:
    bodies = {
        "/submissions": sqlite_site.registration(),
        "/submissions/sub-0/revision": {"revision": "c" * 40, "path": "x"},
        "/scoring/claims": {"worker": "w"},
    }
    body = bodies.get(path, {"attempt": 1})
    public = sqlite_site.request(method, path, None, body)
    wrong = sqlite_site.request(method, path, account, body)
    assert (public.status_code, public.json()["error"]["code"]) == (401, "unauthenticated")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "forbidden")


def test_only_the_digest_of_a_token_is_stored(sqlite_site: Site) -> None:
    with sqlite_site.database.reading() as session:
        stored = str(session.execute(text("SELECT * FROM tokens")).all())
    assert all(token not in stored and token[4:] not in stored for token in sqlite_site.tokens.values())
    assert all(token.startswith("dcp_") and len(token) >= 40 for token in sqlite_site.tokens.values())


@pytest.mark.parametrize("name", ["", "Alice", "a b", "-a", "a" * 65, "system", "a\n"])
def test_names_that_cannot_be_accounts_are_refused(sqlite_site: Site, name: str) -> None:
    with pytest.raises(UsageError, match="account"):
        sqlite_site.token(name, Scope.SUBMIT)


def test_a_token_needs_a_scope_and_time_to_live(sqlite_site: Site) -> None:
    with pytest.raises(UsageError, match="scope"):
        sqlite_site.token("carol")
    with pytest.raises(UsageError, match="expired"):
        sqlite_site.token("carol", Scope.SUBMIT, days=0)
