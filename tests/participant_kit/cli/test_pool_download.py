"""``datacup pool download`` and ``import`` as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from competition.errors import ServiceUnavailableError, UsageError
from participant_kit.cli import app
from tests.participant_kit.pools.web import hosts, picture, url_table


def datacup(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["pool", *map(str, words)], catch_exceptions=False, standalone_mode=False)


def test_own_urls_are_fetched_counted_and_tried_again(tmp_path: Path) -> None:
    with hosts() as web:
        table = url_table(tmp_path / "own.parquet", [f"{web.url}/good/1", f"{web.url}/flaky/2", None], ["a", "b", "c"])
        words = ["download", "--urls", table, "--url-col", "link", "--caption-col", "alt", "-o", tmp_path / "pool"]
        words += ["--processes", "1", "--threads", "4", "--retries", "0", "--allow-private-hosts"]
        first = datacup(*words)
        assert "1 of 2 (50.0%), in 1 shards" in first.stdout
        assert "failed: failure of the host (5xx)" in first.stdout
        assert "dropped: without a url" in first.stdout
        assert "Run the same command again" in first.stderr
        web.broken = False
        second = json.loads(datacup(*words, "--json").stdout)
    assert (second["images"]["images"], second["images"]["fetched"], second["images"]["failed"]) == (2, 1, {})


def test_a_folder_is_imported(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.jpg").write_bytes(picture(1))
    (tmp_path / "captions.csv").write_text("file,caption\na.jpg,a dog\n")
    words = ["import", tmp_path / "source", "-o", tmp_path / "pool", "--captions", tmp_path / "captions.csv"]
    assert json.loads(datacup(*words, "--json").stdout)["samples"] == 1
    assert "kept their uid" in datacup(*words).stdout


def test_one_pool_is_asked_for_and_a_hub_that_is_down_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in ([], ["--scale", "small", "--shift", "oi1000"], ["--urls", "x", "--features"], ["--scale", "tiny"]):
        with pytest.raises(UsageError):
            datacup("download", *words)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ServiceUnavailableError, match=r"http://127\.0\.0\.1:1 does not answer"):
        datacup("download", "--scale", "small", "-o", tmp_path / "pool")
