"""A participant's own urls and captions become a pool like any other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from competition.data.metadata import read_columns
from competition.data.shards import read_samples
from competition.data.uids import UidArray, sort_uids
from competition.errors import DataFormatError, UsageError
from participant_kit.pools import external
from participant_kit.pools.external import UrlFile, download_urls, pair_uid
from participant_kit.pools.images import ImageOptions
from tests.participant_kit.pools.web import hosts, picture, url_table

QUICK = ImageOptions(1, 4, retries=0, timeout_s=3, private_hosts=True)


def test_urls_and_captions_become_samples_with_uids(tmp_path: Path) -> None:
    with hosts() as web:
        urls = [f"{web.url}/good/1", None, f"{web.url}/page/2", f"{web.url}/good/3", " ", f"{web.url}/good/1"]
        table = url_table(tmp_path / "own.parquet", urls, ["a dog", "lost", "a page", None, "", "a dog"])
        report = download_urls(UrlFile(table, "link", "alt"), tmp_path / "pool", QUICK)
    rows = report.urls
    assert (rows.rows, rows.samples, rows.without_url, rows.without_caption, rows.repeated) == (6, 4, 2, 1, 1)
    assert report.images is not None
    assert (report.images.rows, report.images.images, report.images.failed) == (4, 3, {"not an image": 1})
    samples = list(read_samples(tmp_path / "pool" / "shards" / "00000000.tar"))
    found = {(json.loads(s.members["json"])["uid"], s.members["txt"].decode()) for s in samples}
    assert found == {(pair_uid(urls[0] or "", "a dog"), "a dog"), (pair_uid(urls[3] or "", ""), "")}


def test_own_digests_are_verified(tmp_path: Path) -> None:
    with hosts() as web:
        digests = [hashlib.sha256(picture(1)).hexdigest(), "0" * 64]
        columns = {"url": [f"{web.url}/good/1", f"{web.url}/good/2"], "text": ["a", "b"], "sum": digests}
        pq.write_table(pa.table(columns), tmp_path / "own.parquet")
        report = download_urls(UrlFile(tmp_path / "own.parquet", sha256_column="sum"), tmp_path / "pool", QUICK)
    assert report.images is not None
    assert (report.images.images, report.images.failed) == (1, {"hash mismatch": 1})


def test_large_files_are_converted_part_by_part_to_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "own.parquet"
    columns = {"url": [f"http://h/{n}" for n in range(10)], "text": [str(n) for n in range(10)]}
    pq.write_table(pa.table(columns), table, row_group_size=3)
    monkeypatch.setattr(external, "FILE_ROWS", 3)
    report = download_urls(UrlFile(table), tmp_path / "pool", None)
    parts = sorted((tmp_path / "pool" / "urls").iterdir())
    uids = [uid for path in parts for uid in read_columns(path, ["uid"]).column("uid").to_pylist()]
    assert len(parts) > 1
    assert uids == [pair_uid(f"http://h/{n}", str(n)) for n in range(10)]
    assert download_urls(UrlFile(table), tmp_path / "pool", None) == report


def test_repeats_are_counted_without_all_uids_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "own.parquet"
    sorted_rows: list[int] = []

    def sort(uids: UidArray) -> UidArray:
        sorted_rows.append(len(uids))
        return sort_uids(uids)

    pq.write_table(pa.table({"url": [f"http://h/{n % 7}" for n in range(20)], "text": ["a"] * 20}), table)
    monkeypatch.setattr(external, "FILE_ROWS", 3)
    monkeypatch.setattr(external, "MEMORY_ROWS", 2, raising=False)
    monkeypatch.setattr(external, "sort_uids", sort)
    assert download_urls(UrlFile(table), tmp_path / "pool", None).urls.repeated == 13
    assert max(sorted_rows) < 20
    assert not list((tmp_path / "pool").rglob("*.npy"))


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    table = url_table(tmp_path / "own.parquet", ["http://h/1"], ["a"])
    with pytest.raises(DataFormatError, match="no column 'url'") as refused:
        download_urls(UrlFile(table), tmp_path / "pool", None)
    assert "It has: link, alt" in refused.value.hint
    assert download_urls(UrlFile(table, "link", "alt"), tmp_path / "pool", None).urls.samples == 1  # put right
    numbers = tmp_path / "numbers.parquet"
    pq.write_table(pa.table({"url": [1], "text": ["a"]}), numbers)
    with pytest.raises(DataFormatError, match="'url' of type int64 instead of string"):
        download_urls(UrlFile(numbers), tmp_path / "numbers", None)
    download_urls(UrlFile(table, "link", "alt"), tmp_path / "good", None)
    other = url_table(tmp_path / "other.parquet", ["http://h/2"], ["b"])
    with pytest.raises(UsageError, match="holds another pool"):
        download_urls(UrlFile(other, "link", "alt"), tmp_path / "good", None)
    (tmp_path / "text.parquet").write_text("url,text")
    with pytest.raises(DataFormatError, match="is damaged or is not parquet"):
        download_urls(UrlFile(tmp_path / "text.parquet"), tmp_path / "text", None)
    with pytest.raises(UsageError, match="does not exist"):
        download_urls(UrlFile(tmp_path / "absent"), tmp_path / "absent-pool", None)
