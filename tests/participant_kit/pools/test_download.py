"""Published pools from a real Hub on loopback: pinned, resumed, repaired file by file, then the images."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import HfApi

from competition.data.metadata import list_metadata, read_feature
from competition.errors import DataFormatError, NotFoundError, ServiceUnavailableError, UsageError
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from participant_kit.pools import hub_files
from participant_kit.pools.catalogue import SCALES, SHIFTS, find_pool
from participant_kit.pools.download import DownloadOptions, download_pool
from participant_kit.pools.images import ImageOptions
from tests.participant_kit.pools.web import hosts, metadata_file
from tests.serving import serve

# Not the download's: httpx's word on how huggingface_hub uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

TORN_AFTER = 10_500_000
"""Bytes; the client writes ten million at a time."""

SMALL = find_pool("small", SCALES)
XLARGE = find_pool("xlarge", SCALES)


class CountedHub:
    """The Hub, noting what is fetched; ``spoiled`` files are zeros, ``torn`` ones end in the middle once."""

    def __init__(self, root: Path) -> None:
        self._app = create_hub(HubSettings(root=root, max_regular_bytes=3_000))
        self.fetched: list[str] = []
        self.spoiled: set[str] = set()
        self.torn: set[str] = set()
        self.ranges: list[bytes] = []

    async def __call__(self, scope, receive, send) -> None:
        path = scope.get("path", "")
        name = path.rpartition("/")[2]
        if "/resolve/" in path and scope["method"] == "GET":
            self.fetched.append(name)
            self.ranges += [value for header, value in scope["headers"] if header == b"range"]
        sent = 0
        spoil = name in self.spoiled and scope.get("method") == "GET"

        async def spoiling(message) -> None:
            nonlocal sent
            if spoil and message.get("body"):
                message = {**message, "body": bytes(len(message["body"]))}
            await send(message)
            sent += len(message.get("body", b""))
            if name in self.torn and sent > TORN_AFTER:
                self.torn.discard(name)
                raise ConnectionResetError("torn")

        await self._app(scope, receive, spoiling)


@dataclass(frozen=True)
class Published:
    """A Hub and what is on it."""

    url: str
    app: CountedHub
    api: HfApi
    local: Path

    def upload(self, repo: str, folder: Path) -> str:
        self.api.create_repo(repo, repo_type="dataset", exist_ok=True)
        return str(self.api.upload_folder(repo_id=repo, folder_path=folder, repo_type="dataset").oid)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    root = tmp_path / "hub"
    app = CountedHub(root)
    with serve(app) as url:
        token = create_token(root, "mlfoundations", Role.WRITE, None)
        local = tmp_path / "published"
        local.mkdir()
        yield Published(url, app, HfApi(endpoint=url, token=token), local)
    huggingface_hub.close_session()


@pytest.fixture
def small(hub: Published) -> str:
    """The small pool, of three files with features and a README; returns its sha."""
    for name in "abc":
        path = metadata_file(hub.local, name, [f"http://127.0.0.1:1/{name}/{n}" for n in range(40)])
        np.savez(path.with_suffix(".npz"), l14_img=np.zeros((40, 4), dtype=np.float16))
    (hub.local / "README.md").write_text("A pool.")
    return hub.upload(SMALL.repo, hub.local)


def _options(hub: Published, **wanted: object) -> DownloadOptions:
    return DownloadOptions(hub.url, **wanted)  # type: ignore[arg-type]


def test_metadata_come_at_a_revision_that_is_recorded_and_kept(hub: Published, small: str, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    report = download_pool(SMALL, pool, _options(hub))
    assert (report.files, report.files_fetched, report.revision) == (3, 3, small)
    assert sorted(path.name for path in (pool / "metadata").iterdir()) == [
        path.name for path in list_metadata(hub.local)
    ]
    record = json.loads((pool / "pool.json").read_text())
    assert (record["pool"], record["source"], record["revision"]) == ("small", SMALL.repo, small)

    shutil.copy(list_metadata(hub.local)[0], hub.local / f"{'d' * 32}.parquet")
    newer = hub.upload(SMALL.repo, hub.local)
    again = download_pool(SMALL, pool, _options(hub))
    assert (again.files, again.files_fetched, again.revision) == (3, 0, small)
    with pytest.raises(UsageError, match="was begun at revision"):
        download_pool(SMALL, pool, _options(hub, revision=newer))
    pinned = download_pool(SMALL, tmp_path / "pinned", _options(hub, revision=small))
    assert (pinned.files, pinned.revision) == (3, small)
    assert download_pool(SMALL, tmp_path / "newer", _options(hub)).files == 4


def test_only_wrong_files_are_fetched_again(hub: Published, small: str, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    download_pool(SMALL, pool, _options(hub))
    first, second, third = list_metadata(pool / "metadata")
    content = bytearray(first.read_bytes())
    content[100] ^= 1
    first.write_bytes(content)
    third.write_bytes(third.read_bytes()[:-1])
    untouched = second.stat().st_mtime_ns
    hub.app.fetched.clear()
    report = download_pool(SMALL, pool, _options(hub))
    assert report.files_fetched == 2
    assert sorted(hub.app.fetched) == [first.name, third.name]
    assert second.stat().st_mtime_ns == untouched
    for path in (first, second, third):
        assert path.read_bytes() == (hub.local / path.name).read_bytes()


def test_features_come_too_where_they_are_asked_for_and_a_foreign_download_is_adopted(
    hub: Published, small: str, tmp_path: Path
) -> None:
    pool = tmp_path / "pool"
    shutil.copytree(hub.local, pool / "metadata", ignore=shutil.ignore_patterns("*.npz", "README.md"))
    list_metadata(pool / "metadata")[1].unlink()
    assert download_pool(SMALL, pool, _options(hub)).files_fetched == 1
    with_features = download_pool(SMALL, pool, _options(hub, features=True))
    assert (with_features.files, with_features.files_fetched) == (6, 3)
    assert read_feature(list_metadata(pool / "metadata")[0], "l14_img").shape == (40, 4)


def test_the_parts_of_xlarge_become_one_folder(hub: Published, tmp_path: Path) -> None:
    for part, name in (("part_0", "a"), ("part_1", "b"), ("elsewhere", "c")):
        metadata_file(hub.local / part, name, ["http://127.0.0.1:1/1"])
    hub.upload(XLARGE.repo, hub.local)
    download_pool(XLARGE, tmp_path / "pool", _options(hub))
    assert len(list_metadata(tmp_path / "pool" / "metadata")) == 2
    shutil.copytree(hub.local / "part_0", hub.local / "part_2")
    hub.upload(XLARGE.repo, hub.local)
    with pytest.raises(DataFormatError, match="would be one file here"):
        download_pool(XLARGE, tmp_path / "other", _options(hub))


def test_what_the_hub_sends_is_checked_and_nothing_wrong_is_kept(hub: Published, small: str, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    spoiled = list_metadata(hub.local)[1].name
    hub.app.spoiled.add(spoiled)
    with pytest.raises(DataFormatError, match=f"other bytes for {spoiled}"):
        download_pool(SMALL, pool, _options(hub))
    assert not (pool / "metadata" / spoiled).exists()
    hub.app.spoiled.clear()
    hub.app.fetched.clear()
    assert download_pool(SMALL, pool, _options(hub)).files_fetched == 1
    assert hub.app.fetched == [spoiled]


def test_a_connection_that_breaks_goes_on_within_the_file(hub: Published, tmp_path: Path) -> None:
    name = f"{'f' * 32}.parquet"
    (hub.local / name).write_bytes(np.random.default_rng(0).bytes(11_000_000))
    hub.upload(SMALL.repo, hub.local)
    hub.app.torn.add(name)
    left = tmp_path / "pool" / "metadata" / ".fetching" / "left"  # by a run that was killed
    left.parent.mkdir(parents=True)
    left.write_bytes(b"part of a file")
    assert download_pool(SMALL, tmp_path / "pool", _options(hub)).files_fetched == 1
    assert (tmp_path / "pool" / "metadata" / name).read_bytes() == (hub.local / name).read_bytes()
    assert hub.app.ranges == [b"bytes=10485760-"]
    assert not left.exists()


def test_a_full_disk_is_one_sentence_and_the_rest_is_kept(hub: Published, small: str, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    name = f"{'f' * 32}.parquet"
    (hub.local / name).write_bytes(np.random.default_rng(0).bytes(300_000))
    hub.upload(SMALL.repo, hub.local)
    code = (
        "import resource, sys; from pathlib import Path; from participant_kit.pools.download import *\n"
        "from participant_kit.pools.catalogue import SCALES\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: download_pool(SCALES[0], Path(sys.argv[1]), DownloadOptions(sys.argv[2]))\n"
        "except Exception as error: print(type(error).__name__, error.message)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "pool"), hub.url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said.startswith("StorageError The file would exceed the largest size allowed here")
    assert not (tmp_path / "pool" / "metadata" / name).exists()
    hub.app.fetched.clear()
    assert download_pool(SMALL, tmp_path / "pool", _options(hub)).files == 4
    assert name in hub.app.fetched


def test_a_hub_that_is_down_or_lacks_the_pool_is_one_sentence(hub: Published, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="shows no dataset mlfoundations/datacomp_small"):
        download_pool(SMALL, tmp_path / "pool", _options(hub))
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        download_pool(SMALL, tmp_path / "pool", DownloadOptions("http://127.0.0.1:1"))
    with pytest.raises(UsageError, match="does not pin anything"):
        download_pool(SMALL, tmp_path / "pool", _options(hub, revision="main"))
    assert not (tmp_path / "pool" / "pool.json").exists()


def test_a_complete_pool_needs_no_hub(hub: Published, small: str, tmp_path: Path) -> None:
    download_pool(SMALL, tmp_path / "pool", _options(hub))
    report = download_pool(SMALL, tmp_path / "pool", DownloadOptions("http://127.0.0.1:1"))
    assert (report.files, report.files_fetched) == (3, 0)


def test_another_pool_or_foreign_metadata_in_the_folder_is_refused(hub: Published, small: str, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    download_pool(SMALL, pool, _options(hub))
    with pytest.raises(UsageError, match="holds another pool: small"):
        download_pool(XLARGE, pool, _options(hub))
    shutil.copy(list_metadata(hub.local)[0], pool / "metadata" / f"{'e' * 32}.parquet")
    with pytest.raises(UsageError, match="1 parquet files that"):
        download_pool(SMALL, pool, _options(hub))


def test_names_that_leave_the_folder_are_refused() -> None:
    listing = hub_files.Listing(repo="a/b", revision="0" * 40, files=())
    for path in ("..", "part_0/..", "-x\n.parquet", "a\\b.parquet"):
        with pytest.raises(DataFormatError, match="odd name"):
            hub_files._check_names(listing, [hub_files.HubFile(path=path, size=1, digest="0")])


def test_a_pool_with_its_images(hub: Published, tmp_path: Path) -> None:
    with hosts() as web:
        metadata_file(hub.local, "a", [f"{web.url}/good/1", f"{web.url}/gone/2", f"{web.url}/changed/3"])
        hub.upload(SMALL.repo, hub.local)
        images = ImageOptions(1, 4, retries=0, private_hosts=True)
        report = download_pool(SMALL, tmp_path / "pool", _options(hub, images=images))
    assert report.images is not None
    assert (report.images.rows, report.images.images) == (3, 1)
    assert report.images.failed == {"not found (404, 410)": 1, "hash mismatch": 1}
    assert (tmp_path / "pool" / "shards" / "00000000.tar").exists()


def test_a_shift_of_imagenet_is_its_shards(hub: Published, tmp_path: Path) -> None:
    shift = find_pool("oi1000", SHIFTS)
    api = HfApi(endpoint=hub.url, token=create_token(tmp_path / "hub", "nyu-dice-lab", Role.WRITE, None))
    for name in ("data/00000.tar", "data/00001.tar", "README.md"):
        path = hub.local / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode() * 1_000)
    Published(hub.url, hub.app, api, hub.local).upload(shift.repo, hub.local)
    report = download_pool(shift, tmp_path / "shift", _options(hub))
    assert report.files == 2
    assert sorted(path.name for path in (tmp_path / "shift" / "shards").iterdir()) == ["00000.tar", "00001.tar"]
    with pytest.raises(UsageError, match="No pool 'nano' is known"):
        find_pool("nano", SCALES)
