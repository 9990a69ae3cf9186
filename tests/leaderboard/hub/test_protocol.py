"""What the official client would not send: hostile and broken requests, byte by byte."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from tests.leaderboard.hub.conftest import CHUNK, RunningHub

DATA = np.random.default_rng(1).bytes(CHUNK // 2)
OID = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def http(hub: RunningHub, repo: str) -> Iterator[httpx.Client]:
    """A plain client with alice's token and her empty repository alice/entry."""
    with httpx.Client(base_url=hub.url, headers={"Authorization": f"Bearer {hub.token}"}) as client:
        yield client


def commit(http: httpx.Client, *lines: tuple[str, object], header: dict[str, str] | None = None) -> httpx.Response:
    values = [("header", {"summary": "s"} | (header or {})), *lines]
    body = "\n".join(json.dumps({"key": key, "value": value}) for key, value in values)
    return http.post("/api/models/alice/entry/commit/main", content=body)


def text_file(path: str, content: bytes = b"x") -> tuple[str, object]:
    return "file", {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


def ask_upload(
    http: httpx.Client, size: int = len(DATA), oid: str = OID, transfers: tuple[str, ...] = ("basic",)
) -> dict:
    body = {"operation": "upload", "transfers": transfers, "objects": [{"oid": oid, "size": size}]}
    answer = http.post("/alice/entry.git/info/lfs/objects/batch", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["objects"][0]


def put(href: str, content: bytes) -> httpx.Response:
    """As clients do: without a token."""
    return httpx.put(href, content=content)


def test_the_headers_of_a_file_are_those_that_clients_cache_by(http):
    sha = commit(http, text_file("a.txt", b"hello\n")).json()["commitOid"]
    put(ask_upload(http)["actions"]["upload"]["href"], DATA)
    head = commit(http, ("lfsFile", {"path": "b", "oid": OID, "size": len(DATA), "algo": "sha256"})).json()["commitOid"]
    for revision, full in ((sha, sha), (head, head), ("main", head)):
        answer = http.head(f"/alice/entry/resolve/{revision}/a.txt")
        assert answer.headers["X-Repo-Commit"] == full
        assert answer.headers["ETag"] == '"ce013625030ba8dba906f756967f9e9ca394464a"'
        assert answer.headers["Content-Length"] == "6"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer = http.head("/alice/entry/resolve/main/b")
    assert answer.headers["ETag"] == answer.headers["X-Linked-Etag"] == f'"{OID}"'
    assert answer.headers["X-Linked-Size"] == answer.headers["Content-Length"] == str(len(DATA))
    assert not [name for name in answer.headers if "xet" in name]
    assert "xetHash" not in http.get("/api/models/alice/entry/tree/main").text
    missing = http.head("/alice/entry/resolve/main/c")
    assert (missing.status_code, missing.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert missing.headers["X-Repo-Commit"] == head


@pytest.mark.parametrize(
    ("asked", "status", "content", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-500", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
    ],
)
def test_ranges(http, asked, status, content, content_range):
    commit(http, text_file("digits", b"0123456789"))
    answer = http.get("/alice/entry/resolve/main/digits", headers={"Range": asked})
    assert (answer.status_code, answer.headers["Content-Range"]) == (status, content_range)
    assert content is None or answer.content == content


@pytest.mark.parametrize(
    "path", ["../../../tokens/x", "/abs", "a//b", "a/../../b", "a\\..\\b", "a\0b", ".git/config", ""]
)
def test_a_hostile_path_is_refused_by_every_way_in(hub, http, path):
    before = sorted(hub.root.rglob("*"))
    lfs = ("lfsFile", {"path": path, "oid": OID, "size": 1, "algo": "sha256"})
    for line in (text_file(path), lfs, ("deletedFile", {"path": path}), ("deletedFolder", {"path": path})):
        assert commit(http, line).status_code == 400
    answer = http.post(
        "/api/models/alice/entry/preupload/main", json={"files": [{"path": path, "size": 1, "sample": ""}]}
    )
    assert answer.status_code == 400
    assert sorted(hub.root.rglob("*")) == before


@pytest.mark.parametrize(
    "url",
    [
        "/alice/entry/resolve/main/..%2f..%2frepository.json",
        "/alice/entry/resolve/..%2f..%2fhead/x",
        "/alice/..%2f..%2f/resolve/main/x",
        "/%2e%2e/%2e%2e/resolve/main/x",
        "/api/models/alice/..%2fentry",
        "/api/nothing/alice/entry",
        "/api/models/alice/entry/revision/..%2fhead",
        "/datasets/alice/entry/resolve/main/x",
    ],
)
def test_no_url_leads_out_of_a_repository(http, url):
    assert http.get(url).status_code == 404


@pytest.mark.parametrize("name", ["..", "a/../b", "a b", "", "x" * 97, "a\0b", "entry.git"])
def test_no_repository_gets_a_hostile_name(http, name):
    assert http.post("/api/repos/create", json={"name": name}).status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"name": 3}', b"\xff", b"[" * 100_000])
def test_a_malformed_body_is_answered_with_one_sentence(http, body):
    for answer in (
        http.post("/api/repos/create", content=body),
        http.post("/api/models/alice/entry/commit/main", content=body),
        http.post("/alice/entry.git/info/lfs/objects/batch", content=body),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"].endswith(".")


def test_commits_that_make_no_sense_are_refused(http):
    absent = {"path": "f", "oid": "0" * 64, "size": 1, "algo": "sha256"}
    cases = {
        "has not been uploaded": [("lfsFile", absent)],
        "two header lines": [("header", {"summary": "again"})],
        "base64": [("file", {"path": "f", "content": "%%%", "encoding": "base64"})],
        "both a file and a folder": [text_file("f"), text_file("f/g")],
        "malformed": [("unknown", {})],
        "oid": [("lfsFile", absent | {"oid": "../../x"})],
    }
    for words, lines in cases.items():
        answer = commit(http, *lines)
        assert (answer.status_code, words in answer.json()["error"]) == (400, True), answer.text
    assert http.post("/api/models/alice/entry/commit/main?create_pr=1", content=b"").status_code == 400
    assert http.post("/api/models/alice/entry/commit/other", content=b"").headers["X-Error-Code"] == "RevisionNotFound"
    assert len(http.get("/api/models/alice/entry/commits/main").json()) == 1


def test_a_commit_that_is_posted_twice_is_made_once(http):
    parent = http.get("/api/models/alice/entry").json()["sha"]
    answers = [commit(http, text_file("a"), header={"parentCommit": parent}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert len(http.get("/api/models/alice/entry/commits/main").json()) == 2
    assert commit(http, text_file("b"), header={"parentCommit": parent}).status_code == 412


def test_a_parent_may_be_named_by_its_first_digits(http):
    parent = http.get("/api/models/alice/entry").json()["sha"][:7]
    assert [commit(http, text_file("a"), header={"parentCommit": parent}).status_code for _ in range(2)] == [200, 200]
    assert len(http.get("/api/models/alice/entry/commits/main").json()) == 2
    assert commit(http, text_file("b"), header={"parentCommit": parent}).status_code == 412


def test_wrong_bytes_are_not_stored_under_a_hash(hub, http):
    href = ask_upload(http)["actions"]["upload"]["href"]
    for content in (DATA[:-1], DATA + b"x", bytes(len(DATA)), b""):
        assert put(href, content).status_code in {400, 413}
    assert "actions" in ask_upload(http), "it is still to be uploaded"
    verify = http.post("/alice/entry.git/info/lfs/objects/verify", json={"oid": OID, "size": len(DATA)})
    assert verify.status_code == 400
    assert put(href, DATA).status_code == put(href, DATA).status_code == 200
    assert "actions" not in ask_upload(http)
    assert list((hub.root / "scratch").iterdir()) == []


def test_a_signed_url_serves_one_object_of_one_repository(http):
    http.post("/api/repos/create", json={"name": "other"})
    href = ask_upload(http)["actions"]["upload"]["href"]
    query = urlsplit(href).query
    forged = [
        href.replace("/entry/", "/other/"),
        href.replace(OID, "0" * 64),
        href.replace(f"size={len(DATA)}", f"size={len(DATA) + 1}"),
        href.replace("expires=", "expires=9"),
        href.replace("signature=", "signature=0"),
        href.replace("signature=", "signature=%C3%A4"),
        href.replace(OID, f"{OID}/parts/1"),
    ]
    assert [put(url, DATA).status_code for url in forged] == [403] * len(forged)
    assert httpx.post(href, json={"oid": OID, "parts": []}).status_code == 403, "signed for PUT, not for completing"
    assert put(href.replace(query, ""), DATA).status_code == 422


def test_an_expired_url_is_refused(start_hub, http):
    late = start_hub(upload_url_lifetime_s=-1)
    with httpx.Client(base_url=late.url, headers=http.headers) as client:
        answer = put(ask_upload(client)["actions"]["upload"]["href"], DATA)
    assert (answer.status_code, "expired" in answer.json()["error"]) == (403, True)


def test_parts_are_joined_only_when_all_are_there_and_right(hub, http):
    data = DATA * 5
    oid = hashlib.sha256(data).hexdigest()
    upload = ask_upload(http, len(data), oid, ("basic", "multipart"))["actions"]["upload"]
    chunks = {str(n + 1): data[n * CHUNK : (n + 1) * CHUNK] for n in range(3)}
    assert upload["header"].keys() == {"chunk_size", *chunks}
    for number in ("3", "1"):
        assert put(upload["header"][number], chunks[number]).headers["ETag"]
    done = {"oid": oid, "parts": []}
    assert "Part 2" in httpx.post(upload["href"], json=done).json()["error"]
    put(upload["header"]["2"], bytes(CHUNK))
    assert httpx.post(upload["href"], json=done).status_code == 400, "all there, but not the announced bytes"
    assert put(upload["header"]["2"], bytes(CHUNK + 1)).status_code == 413
    for number, chunk in chunks.items():
        put(upload["header"][number], chunk)
    assert httpx.post(upload["href"], json=done).status_code == httpx.post(upload["href"], json=done).status_code == 200
    assert "actions" not in ask_upload(http, len(data), oid)
    assert list((hub.root / "scratch").iterdir()) == []


def test_sizes_are_limited(start_hub: Callable[..., RunningHub], http):
    small = start_hub(max_regular_bytes=100, max_commit_bytes=1000, max_lfs_bytes=1000, max_files_per_repository=1)
    with httpx.Client(base_url=small.url, headers=http.headers) as client:
        assert commit(client, text_file("a", b"x" * 101)).status_code == 413
        assert commit(client, text_file("a", b"x" * 1000)).status_code == 413
        assert client.post("/api/repos/create", content=b" " * 9_000_000).status_code == 413
        assert ask_upload(client, 1001)["error"]["code"] == 413
        assert commit(client, text_file("a"), text_file("b")).status_code == 413
        assert commit(client, text_file("a")).status_code == 200
        assert commit(client, text_file("b")).status_code == 400


def test_knowing_a_hash_gives_nobody_the_content(hub, http):
    put(ask_upload(http)["actions"]["upload"]["href"], DATA)
    headers = {"Authorization": f"Bearer {hub.new_token('bob')}"}
    with httpx.Client(base_url=hub.url, headers=headers) as bob:
        bob.post("/api/repos/create", json={"name": "entry"})
        lines = [
            ("header", {"summary": "s"}),
            ("lfsFile", {"path": "f", "oid": OID, "size": len(DATA), "algo": "sha256"}),
        ]
        body = "\n".join(json.dumps({"key": key, "value": value}) for key, value in lines)
        assert bob.post("/api/models/bob/entry/commit/main", content=body).status_code == 400


def test_two_servers_over_one_folder_share_everything(hub, start_hub, http):
    second = start_hub()
    href = ask_upload(http)["actions"]["upload"]["href"]
    assert put(href.replace(hub.url, second.url), DATA).status_code == 200, "the signing secret is shared"
    assert "actions" not in ask_upload(http)


def test_the_answers_name_the_public_address(tmp_path, start_hub, repo):
    hub = start_hub(public_url="https://hub.example/")
    with httpx.Client(base_url=hub.url, headers={"Authorization": f"Bearer {hub.token}"}) as client:
        assert ask_upload(client)["actions"]["upload"]["href"].startswith("https://hub.example/lfs/models/alice/entry/")


def test_the_folder_is_readable_by_its_owner_only(tmp_path):
    create_hub(HubSettings(root=tmp_path / "new/hub"))
    assert (tmp_path / "new/hub").stat().st_mode & 0o777 == 0o700
    create_token(tmp_path / "token first", "alice", Role.READ, None)
    assert (tmp_path / "token first").stat().st_mode & 0o777 == 0o700


def test_where_people_look_for_a_folder_there_is_its_listing(http):
    commit(http, text_file("digits/entry/card.md"), text_file("other"))
    sha = http.get("/api/models/alice/entry").json()["sha"]
    shown = httpx.get(f"{http.base_url}/alice/entry/tree/{sha}/digits/entry").json()
    assert [each["path"] for each in shown] == ["digits/entry/card.md"]
    assert shown == http.get(f"/api/models/alice/entry/tree/{sha}/digits/entry").json()


def test_too_many_paths_at_once_are_refused(http):
    answer = http.post("/api/models/alice/entry/paths-info/main", content="paths=a&" * 10_001)
    assert answer.status_code == 413
    assert answer.json()["error"] == "More than 10000 paths were asked for."
