"""Images from hosts that are slow, failing, redirecting and changing; what is counted, resumed and tried again."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.data.shards import read_samples
from competition.errors import EngineError, ServiceUnavailableError, StorageError, UsageError
from participant_kit.pools.images import ImageOptions, fetch_images, rounds, shard
from participant_kit.pools.images.failures import kind_of
from participant_kit.pools.images.public_web import WebLimits, guarded_opener, is_public
from tests.participant_kit.pools.web import Hosts, hosts, metadata_file, picture, uid, until

QUICK = ImageOptions(
    processes=2, threads=16, retries=0, timeout_s=3, max_seconds=1.0, max_bytes=1 << 21, private_hosts=True
)


@pytest.fixture
def web() -> Iterator[Hosts]:
    with hosts() as served:
        yield served


def _image(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def test_every_kind_of_host_is_counted_and_failures_alone_are_tried_again(web: Hosts, tmp_path: Path) -> None:
    kinds = ("good", "large", "moved", "flaky", "gone", "circular", "away", "changed", "forbidding", "torn")
    kinds += ("dripping", "silent", "endless")
    urls = [f"{web.url}/{kind}/{number}" for number, kind in enumerate(kinds)]
    urls += ["ftp://127.0.0.1/97", "file:///etc/hostname", "nonsense/99"]
    source = metadata_file(tmp_path / "metadata", "a", urls)
    report = fetch_images([source], tmp_path / "shards", tmp_path / "record", QUICK)
    assert report.images == 3
    assert report.failed == {
        "not an http address": 3,
        "redirect refused": 2,
        "too slow": 2,
        "failure of the host (5xx)": 1,
        "not found (404, 410)": 1,
        "hash mismatch": 1,
        "use disallowed by the host": 1,
        "connection broken": 1,
        "too large": 1,
    }
    assert report.images + sum(report.failed.values()) == report.rows == 16
    first = (tmp_path / "shards" / "00000000.tar").read_bytes()

    web.broken = False
    web.requests.clear()
    again = fetch_images([source], tmp_path / "shards", tmp_path / "record", QUICK)
    assert (again.images, again.fetched, again.shards, again.rounds) == (4, 1, 2, 2)
    assert "failure of the host (5xx)" not in again.failed
    assert again.images + sum(again.failed.values()) == 16
    assert not any(path.startswith(("/good", "/large", "/moved")) for path in web.requests)
    assert (tmp_path / "shards" / "00000000.tar").read_bytes() == first
    (sample,) = read_samples(tmp_path / "shards" / "00000001.tar")
    assert sample.key.startswith("00000001")
    assert json.loads(sample.members["json"])["uid"] == uid(3)


def test_a_sample_is_what_datacomp_makes_of_it_with_the_faces_blurred(web: Hosts, tmp_path: Path) -> None:
    urls = [f"{web.url}/good/1", f"{web.url}/large/2", f"{web.url}/good/3"]
    source = metadata_file(tmp_path / "metadata", "a", urls, [[[0.1, 0.1, 0.9, 0.9]], [], []])
    fetch_images([source], tmp_path / "shards", tmp_path / "record", QUICK)
    samples = {sample.key: sample.members for sample in read_samples(tmp_path / "shards" / "00000000.tar")}
    assert sorted(samples) == ["000000000000", "000000000001", "000000000002"]
    described = json.loads(samples["000000000001"]["json"])
    assert " ".join(described) == (
        "uid face_bboxes caption url key status error_message width height original_width original_height exif sha256"
    )
    assert (described["width"], described["height"]) == (512, 326)
    assert (described["original_width"], described["original_height"]) == (1100, 700)
    assert samples["000000000001"]["txt"] == b"picture 2"
    inner = np.s_[15:45, 20:60]
    blurred, plain = (_image(samples[key]["jpg"])[inner] for key in ("000000000000", "000000000002"))
    assert blurred.std() < 0.3 * plain.std()
    assert np.abs(_image(samples["000000000002"]["jpg"]) - _image(picture(3))).mean() < 12


def test_without_leave_no_private_address_is_opened_not_even_by_redirect(web: Hosts, tmp_path: Path) -> None:
    port = web.url.rpartition(":")[2]
    urls = [f"{web.url}/good/1", f"http://localhost:{port}/good/2", f"http://[::1]:{port}/good/3"]
    urls += ["http://169.254.169.254/latest/4", "http://2130706433/5", "http://[::ffff:127.0.0.1]/6"]
    source = metadata_file(tmp_path / "metadata", "a", urls)
    options = ImageOptions(processes=1, threads=8, retries=0, timeout_s=2)
    report = fetch_images([source], tmp_path / "shards", tmp_path / "record", options)
    assert report.images == 0
    assert report.failed == {"address not public": 6}
    assert not web.requests


def test_a_proxy_is_used_but_what_goes_past_it_must_be_public(web: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.setenv("no_proxy", "localhost,inner.test")
    opener = guarded_opener(WebLimits(1 << 20, 5.0))
    with opener.open("http://pictures.test/good/1", timeout=5) as answer:
        assert answer.read() == picture(1)
    port = web.url.rpartition(":")[2]
    for host in (f"localhost:{port}", "127.1", "%31%36%39.254.169.254", "2852039166", "[::1]", "0x7f000001"):
        with pytest.raises(OSError, match="not a public address"):
            opener.open(f"http://{host}/good/2", timeout=5)
    assert set(web.requests) == {"http://pictures.test/good/1"}


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((address, True) for address in ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822")),
        *((address, False) for address in ("10.0.0.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1")),
        *((address, False) for address in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:a00:1::")),
        *((address, False) for address in ("64:ff9b::a9fe:a9fe", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "ff02::1")),
    ],
)
def test_addresses_are_public_or_not_however_they_are_wrapped(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_only_incomplete_shards_are_fetched_and_a_damaged_one_gets_no_sample_twice(
    web: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "SHARD_SAMPLES", 2)
    urls = [f"{web.url}/{kind}/{n}" for n, kind in enumerate(("good", "flaky", "good", "gone", "good"))]
    source = metadata_file(tmp_path / "metadata", "a", urls)
    shards, record = tmp_path / "shards", tmp_path / "record"
    first = fetch_images([source], shards, record, QUICK)
    assert (first.images, first.shards) == (3, 3)
    (shards / "00000002.tar").write_bytes(b"torn")
    web.requests.clear()
    repaired = fetch_images([source], shards, record, QUICK)
    assert (repaired.images, repaired.shards, repaired.rounds) == (3, 3, 1)
    assert set(web.requests) == {"/good/4"}

    web.broken = False
    assert fetch_images([source], shards, record, QUICK).images == 4
    (shards / "00000000_stats.json").unlink()  # its row 1 is by now in a shard of round 2
    web.requests.clear()
    mended = fetch_images([source], shards, record, QUICK)
    assert set(web.requests) == {"/good/0"}
    assert (mended.images, mended.failed, mended.rounds) == (4, {"not found (404, 410)": 1}, 2)
    kept = [json.loads(s.members["json"])["uid"] for path in sorted(shards.glob("*.tar")) for s in read_samples(path)]
    assert sorted(kept) == sorted(uid(n) for n in (0, 1, 2, 4))
    left = fetch_images([source], shards, record, ImageOptions(retry_failed=False, private_hosts=True))
    assert (left.fetched, left.rounds, left.images) == (0, 2, 4)


def test_a_killed_download_leaves_no_process_and_goes_on(web: Hosts, tmp_path: Path) -> None:
    source = metadata_file(tmp_path / "metadata", "a", [f"{web.url}/waiting/{n}" for n in range(3)])
    code = (
        "import sys; from pathlib import Path; from participant_kit.pools.images import *; "
        "source, shards, record = map(Path, sys.argv[1:]); "
        "fetch_images([source], shards, record, ImageOptions(1, 4, private_hosts=True))"
    )
    folders = [str(source), str(tmp_path / "shards"), str(tmp_path / "record")]
    run = subprocess.Popen([sys.executable, "-c", code, *folders])
    until(lambda: len(web.requests) == 3)
    children = _children(run.pid)
    assert children
    run.send_signal(signal.SIGKILL)
    run.wait()
    until(lambda: not any(_alive(child) for child in children))
    assert not list((tmp_path / "shards").glob("*.tar"))
    web.gate.set()
    report = fetch_images([source], tmp_path / "shards", tmp_path / "record", QUICK)
    assert (report.images, report.rounds) == (3, 1)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "00000000.parquet",
        "00000000.tar",
        "00000000_stats.json",
    ]


def _children(parent: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(place.parent.name))
    return found


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_full_disk_is_one_sentence_and_no_shard(web: Hosts, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the process that fetches inherits it."""
    source = metadata_file(tmp_path / "metadata", "a", [f"{web.url}/good/{n}" for n in range(40)])
    code = (
        "import resource, sys; from pathlib import Path; from participant_kit.pools.images import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "try: fetch_images([Path(sys.argv[1])], Path(sys.argv[2]), Path(sys.argv[3]), "
        "ImageOptions(1, 4, private_hosts=True))\n"
        "except Exception as error: print(type(error).__name__, error.message)"
    )
    folders = [str(source), str(tmp_path / "shards"), str(tmp_path / "record")]
    said = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{StorageError.__name__} The file would exceed the largest size allowed here")
    assert not list((tmp_path / "shards").glob("*.tar"))


def test_no_token_reaches_the_process_that_opens_strangers_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "DATACUP_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in shard._environment().values()
    assert shard._environment()["NO_ALBUMENTATIONS_UPDATE"] == "1"


@pytest.mark.parametrize(
    ("statuses", "kept"),
    [
        ({"<urlopen error [Errno -3] Temporary failure in name resolution>": 2}, False),
        ({"<urlopen error [Errno -3] Temporary failure in name resolution>": 1, "HTTP Error 404: Not Found": 1}, True),
    ],
)
def test_without_network_nothing_is_noted_as_failed(statuses: dict[str, int], kept: bool, tmp_path: Path) -> None:
    """A shard whose every row failed for want of a network is no finding about its hosts."""
    from competition.data.shards import write_shard

    work = tmp_path / "work"
    work.mkdir()
    write_shard(work, 0, [], {"count": 2, "status_dict": statuses})
    (work / "00000000.parquet").write_bytes(b"log")
    task = shard.ShardTask(0, tmp_path, tmp_path / "source", 0, 2)
    if kept:
        assert shard._adopt(task, work) == 0
        assert shard.read_stats(task) is not None
    else:
        with pytest.raises(ServiceUnavailableError, match="There is no network"):
            shard._adopt(task, work)
        assert shard.read_stats(task) is None


def test_a_process_that_dies_is_named_with_its_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "_SET", {"PYTHONHOME": str(tmp_path / "absent")})
    source = metadata_file(tmp_path / "metadata", "a", ["http://127.0.0.1:1/1"])
    with pytest.raises(EngineError, match=r"00000000\.tar.*ended with status"):
        fetch_images([source], tmp_path / "shards", tmp_path / "record", QUICK)


def test_shards_of_others_are_not_fetched_over_and_own_ones_are_known_without_the_record(
    web: Hosts, tmp_path: Path
) -> None:
    source = metadata_file(tmp_path / "metadata", "a", [f"{web.url}/good/1"])
    fetch_images([source], tmp_path / "shards", tmp_path / "record", QUICK)
    assert fetch_images([source], tmp_path / "shards", tmp_path / "lost", QUICK).fetched == 0
    (tmp_path / "shards" / "00000000_stats.json").write_text('{"successes": 1}')
    before = (tmp_path / "shards" / "00000000.tar").read_bytes()
    with pytest.raises(UsageError, match="holds shards that this command did not make"):
        fetch_images([source], tmp_path / "shards", tmp_path / "other", QUICK)
    assert (tmp_path / "shards" / "00000000.tar").read_bytes() == before


def test_other_options_or_other_metadata_are_refused(tmp_path: Path) -> None:
    source = metadata_file(tmp_path / "metadata", "a", ["http://127.0.0.1:1/1"])
    rounds.Rounds.open(tmp_path / "record", tmp_path / "shards", (source,), QUICK)
    with pytest.raises(UsageError, match="begun with other options"):
        fetch_images([source], tmp_path / "shards", tmp_path / "record", ImageOptions(blur=False))
    other = metadata_file(tmp_path / "metadata", "b", ["http://127.0.0.1:1/2"])
    with pytest.raises(UsageError, match="other metadata than is here now"):
        fetch_images([source, other], tmp_path / "shards", tmp_path / "record", QUICK)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("<urlopen error [Errno 111] Connection refused>", "connection broken"),
        ("<urlopen error [Errno -2] Name or service not known>", "unknown host"),
        ("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed>", "TLS"),
        ("The read operation timed out", "too slow"),
        ("HTTP Error 403: Forbidden", "refused by the host (other 4xx)"),
        ("HTTP Error 410: Gone", "not found (404, 410)"),
        ("Image decoding error", "not an image"),
        ("OpenCV(4.14.0) validateInputImageSize (CV_IO_MAX_IMAGE_PIXELS)", "too large"),
        ("something new", "other"),
    ],
)
def test_messages_are_told_apart(message: str, kind: str) -> None:
    assert kind_of(message) == kind
