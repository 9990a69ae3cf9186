"""Finding a strategy's files: given path, cache, system, download; a wrong digest and a pickle are refused."""

from __future__ import annotations

import hashlib
import pickle  # noqa: TID251 - to show that one is refused
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from competition.errors import DataFormatError, ServiceUnavailableError, UsageError
from participant_kit.assets import LID_176_BIN, SYNSET_IDS, TARGET_FEATURES, Asset, centroids_asset, find_asset
from participant_kit.subsets.language import language_model

CONTENT = bytes(range(256)) * 40_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Host:
    """A web host that can break off, refuse ranges, fail, or serve something else."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.break_after: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.requests: list[str | None] = []


@contextmanager
def serve(host: Host) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            host.requests.append(wanted)
            if host.statuses and (status := host.statuses.pop(0)) != 200:
                self.send_error(status)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and host.ranges else 0
            if start >= len(host.content):
                self.send_error(416)
                return
            body = host.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: host.break_after.pop(0)] if host.break_after else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/model.bin"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATACUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "assets"


def asset(url: str, sha256: str = SHA256) -> Asset:
    return Asset("model.bin", "the model", "--model", url=url, sha256=sha256)


def find(wanted: Asset, given: Path | None = None) -> Path:
    return find_asset(wanted, given, sleep=lambda _: None)


def test_it_is_downloaded_once_and_then_found_in_the_cache(cache: Path) -> None:
    host = Host()
    with serve(host) as url:
        path = find(asset(url))
        assert path == cache / "model.bin"
        assert path.read_bytes() == CONTENT
        assert find(asset(url)) == path
    assert len(host.requests) == 1
    assert find(asset("http://127.0.0.1:1/never-asked")) == path


def test_a_broken_download_goes_on_where_it_stopped_even_in_another_run(cache: Path) -> None:
    host = Host()
    host.break_after = [1_000_000, 3_000_000]
    with serve(host) as url:
        assert find(asset(url)).read_bytes() == CONTENT
        first, *later = host.requests
        assert first is None
        assert all(wanted is not None for wanted in later)
        (cache / "model.bin").unlink()
        (cache / ".model.bin.partial").write_bytes(CONTENT[:12345])
        assert find(asset(url)).read_bytes() == CONTENT
        assert host.requests[-1] == "bytes=12345-"


def test_a_host_without_ranges_and_leftovers_of_another_file_cost_only_time(cache: Path) -> None:
    cache.mkdir(parents=True)
    for ranges in (True, False):
        host = Host()
        host.ranges = ranges
        (cache / ".model.bin.partial").write_bytes(b"something else")
        with serve(host) as url:
            assert find(asset(url)).read_bytes() == CONTENT
        (cache / "model.bin").unlink()


def test_a_wrong_digest_is_refused_and_nothing_is_kept(cache: Path) -> None:
    host = Host()
    host.content = b"not the model"
    with serve(host) as url, pytest.raises(DataFormatError, match="is not the expected one: its sha256 is"):
        find(asset(url))
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_a_damaged_file_in_the_cache_is_replaced(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "model.bin").write_bytes(CONTENT[:-1])
    with serve(Host()) as url:
        assert find(asset(url)).read_bytes() == CONTENT


def test_a_failing_host_is_asked_again_and_a_missing_page_is_not(cache: Path) -> None:
    host = Host()
    host.statuses = [503, 503]
    with serve(host) as url:
        assert find(asset(url)).read_bytes() == CONTENT
        assert len(host.requests) == 3
        (cache / "model.bin").unlink()
        host.statuses = [404]
        with pytest.raises(ServiceUnavailableError, match=r"Downloading the model from .* failed: Client error '404"):
            find(asset(url))
        assert len(host.requests) == 4
    with pytest.raises(ServiceUnavailableError, match="failed") as caught:
        find(asset(url))
    assert str(cache / "model.bin") in caught.value.hint


def test_two_processes_do_not_spoil_each_others_download(cache: Path) -> None:
    host = Host()
    with serve(host) as url:
        found: list[Path] = []
        threads = [threading.Thread(target=lambda: found.append(find(asset(url)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [path.read_bytes() == CONTENT for path in found] == [True] * 4
    assert len(host.requests) == 1


def test_a_given_path_comes_first_and_must_exist(cache: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.bin"
    own.write_bytes(b"mine")
    assert find(asset("http://127.0.0.1:1/"), own) == own
    with pytest.raises(UsageError, match=r"--model .*absent does not exist"):
        find(asset("http://127.0.0.1:1/"), tmp_path / "absent")


def test_what_the_system_keeps_comes_before_a_download(cache: Path, tmp_path: Path) -> None:
    assert find(replace(asset("http://127.0.0.1:1/"), system_path=tmp_path)) == tmp_path


def test_what_cannot_be_had_says_what_to_do(cache: Path) -> None:
    with pytest.raises(UsageError, match="needs the centroids of DataComp's small pool") as caught:
        find(centroids_asset("small"))
    assert "datacup pool cluster" in caught.value.hint
    with pytest.raises(UsageError, match="CLIP L/14 features of ImageNet-1k"):
        find(TARGET_FEATURES)


def test_a_pickle_is_refused_wherever_it_lies(cache: Path, tmp_path: Path) -> None:
    torch_file, bare = tmp_path / "small_centroids.pt", tmp_path / "old.npy"
    with zipfile.ZipFile(torch_file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    bare.write_bytes(pickle.dumps(np.zeros(3)))
    for path in (torch_file, bare):
        with pytest.raises(DataFormatError, match="is a pickle") as caught:
            find(centroids_asset("small"), path)
        assert "numpy.save" in caught.value.hint
    archive_of_features = tmp_path / "features.npz"
    np.savez(archive_of_features, a=np.zeros(3))
    assert find(TARGET_FEATURES, archive_of_features) == archive_of_features


def test_the_full_language_model_is_asked_for_by_its_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cache.parent.parent)
    cache.mkdir(parents=True)
    with serve(Host()) as url:
        wanted = replace(LID_176_BIN, url=url, sha256=SHA256)
        monkeypatch.setattr("participant_kit.subsets.language.LID_176_BIN", wanted)
        assert language_model(Path("lid.176.bin")) == cache / "lid.176.bin"


def test_published_digests_are_whole() -> None:
    for known in (LID_176_BIN, SYNSET_IDS):
        assert len(bytes.fromhex(known.sha256)) == 32
        assert known.url.startswith("https://")
