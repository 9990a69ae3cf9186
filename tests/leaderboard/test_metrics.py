"""The metrics of the queue say what the database says, to those who may know."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from leaderboard.accounts.viewer import Scope
from leaderboard.app import create_app
from leaderboard.settings import Settings
from tests.leaderboard.site import Site


def scrape(site: Site) -> dict[str, float]:
    answer = site.http.get("/metrics", headers={"Authorization": f"Bearer {site.tokens['boss']}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_age_throughput_and_reasons_follow_the_entries(site: Site) -> None:
    site.token("boss", Scope.ADMIN)
    empty = scrape(site)
    assert empty['datacup_queue_jobs{kind="intake",state="ready"}'] == 0
    assert empty['datacup_queue_oldest_seconds{kind="intake"}'] == 0
    assert empty['datacup_submissions{processing="scored"}'] == 0

    site.enter()
    site.clock.advance(40)
    site.enter()
    site.clock.advance(2.5)
    waiting = scrape(site)
    assert waiting['datacup_queue_jobs{kind="intake",state="ready"}'] == 2
    assert waiting['datacup_queue_oldest_seconds{kind="intake"}'] == 42.5

    grant = site.claim()
    claimed = scrape(site)
    assert claimed['datacup_queue_jobs{kind="intake",state="leased"}'] == 1
    assert claimed['datacup_queue_oldest_seconds{kind="intake"}'] == 2.5, "what is being done waits no more"
    site.must(grant, "finish", outcome="invalid", reason="digest_mismatch", message="No.")
    ended = scrape(site)
    assert ended['datacup_queue_claims_total{kind="intake"}'] == 1
    assert ended['datacup_queue_ended_jobs_total{kind="intake",state="done"}'] == 1
    assert ended['datacup_queue_ended_last_hour{kind="intake",state="done"}'] == 1
    assert ended['datacup_rejected_submissions{reason="digest_mismatch"}'] == 1
    assert ended['datacup_submissions{processing="invalid"}'] == 1

    site.clock.advance(3601)
    later = scrape(site)
    assert later['datacup_queue_ended_last_hour{kind="intake",state="done"}'] == 0
    assert later['datacup_queue_ended_jobs_total{kind="intake",state="done"}'] == 1


def test_only_organisers_read_unless_the_settings_say_otherwise(site: Site) -> None:
    site.token("boss", Scope.ADMIN)

    def status(http: TestClient, token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return http.get("/metrics", headers=headers).status_code

    assert status(site.http, None) == 401
    assert status(site.http, "dcp_unknown") == 401
    assert status(site.http, site.tokens["alice"]) == 403
    assert status(site.http, site.tokens["worker"]) == 403
    assert status(site.http, site.tokens["boss"]) == 200

    url = site.database.engine.url.render_as_string(hide_password=False)

    def other(**chosen: object) -> TestClient:
        settings = Settings(database_url=url, reaper_seconds=0, **chosen)  # type: ignore[arg-type]
        return TestClient(create_app(settings, clock=site.clock))

    with other(metrics_token=SecretStr("a-long-secret")) as http:
        assert status(http, "a-long-secret") == 200
        assert status(http, "a-long-secre") == 401
        assert status(http, "") == 401
        assert status(http, None) == 401
        assert status(http, site.tokens["boss"]) == 200
    with other(metrics_token=SecretStr("")) as http:
        assert status(http, "") == 401
    with other(metrics_public=True) as http:
        assert status(http, None) == 200


@pytest.mark.parametrize("path", ["/metrics"])
def test_it_is_no_part_of_the_api(site: Site, path: str) -> None:
    assert path not in site.http.get("/openapi.json").json()["paths"]
