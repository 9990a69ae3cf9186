"""Evaluation sets from a real Hub on loopback: pinned, whole or not there, resumed, repaired, checked, and offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from competition.data.digests import file_sha256
from competition.errors import (
    DataFormatError,
    NotFoundError,
    PermissionDeniedError,
    ServiceUnavailableError,
    StorageError,
    UsageError,
)
from competition.evalsets.download import State, check_offline, download_sets
from competition.evalsets.layout import byte_limit
from competition.evalsets.lock import lock_path, read_lock
from competition.evalsets.sources import EvaluationSet, Origin, sets_of
from competition.evalsets.verify import verify_sets
from competition.evaluation.images import Preparation
from competition.evaluation.sets import load_classification
from competition.rules import find_suite
from tests.competition.evalsets.hub import Published, digits_set, published

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

TORN_AFTER = 10_500_000
"""Bytes; the client writes ten million at a time."""

NAME = "wds_mnist_test"
FILES = ["classnames.txt", "test/0.tar", "test/1.tar", "test/nshards.txt", "zeroshot_classification_templates.txt"]


def hub_set(name: str = NAME, revision: str = "main") -> EvaluationSet:
    return EvaluationSet(name, Origin.HUB, f"djghosh/{name}", revision, ("mnist",))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with published(tmp_path) as made:
        yield made


def test_a_set_comes_whole_at_a_recorded_commit_and_stays_there(hub: Published, tmp_path: Path) -> None:
    first = hub.publish(NAME)
    root = tmp_path / "sets"
    (report,) = download_sets([hub_set()], root, hub.url).sets
    assert (report.state, report.revision, report.files, report.files_fetched) == (State.FETCHED, first, 5, 5)
    lock = read_lock(root, NAME)
    assert lock is not None
    assert [(file.path, file.sha256, file.size) for file in lock.files] == [
        (path, file_sha256(hub.local / NAME / path), (hub.local / NAME / path).stat().st_size) for path in FILES
    ]
    loaded = load_classification(root / NAME, Preparation(8))
    assert len(loaded.labels) == 20

    digits_set(tmp_path / "newer", per_shard=11)
    second = hub.publish(NAME, tmp_path / "newer")
    assert second != first
    (again,) = download_sets([hub_set()], root, hub.url).sets
    assert (again.state, again.revision, again.files_fetched) == (State.KEPT, first, 0)
    (other,) = download_sets([hub_set()], tmp_path / "others", hub.url).sets
    assert other.revision == second
    assert other.digest != report.digest


def test_a_lock_that_was_copied_makes_another_machine_take_the_same_set(hub: Published, tmp_path: Path) -> None:
    first = hub.publish(NAME)
    (report,) = download_sets([hub_set()], tmp_path / "a", hub.url).sets
    digits_set(tmp_path / "newer", per_shard=11)
    hub.publish(NAME, tmp_path / "newer")
    (tmp_path / "b").mkdir()
    shutil.copy(lock_path(tmp_path / "a", NAME), lock_path(tmp_path / "b", NAME))
    (same,) = download_sets([hub_set()], tmp_path / "b", hub.url).sets
    assert (same.state, same.revision, same.digest) == (State.FETCHED, first, report.digest)

    content = json.loads(lock_path(tmp_path / "a", NAME).read_text())
    content["files"][1]["sha256"] = "0" * 64
    (tmp_path / "c").mkdir()
    lock_path(tmp_path / "c", NAME).write_text(json.dumps(content))
    failure = download_sets([hub_set()], tmp_path / "c", hub.url).failures[NAME]
    assert "other bytes for test/0.tar" in failure.message
    assert not (tmp_path / "c" / NAME).exists()


def test_a_task_may_pin_the_commit(hub: Published, tmp_path: Path) -> None:
    first = hub.publish(NAME)
    digits_set(tmp_path / "newer", per_shard=11)
    hub.publish(NAME, tmp_path / "newer")
    (report,) = download_sets([hub_set(revision=first)], tmp_path / "sets", hub.url).sets
    assert report.revision == first


@pytest.mark.parametrize("killed", [False, True])
def test_a_connection_that_breaks_is_taken_up_within_the_file(hub: Published, tmp_path: Path, killed: bool) -> None:
    folder = digits_set(hub.local / NAME)
    (folder / "test" / "1.tar").write_bytes(np.random.default_rng(0).bytes(11_000_000))
    hub.publish(NAME, folder)
    root = tmp_path / "sets"
    hub.app.torn["test/1.tar"] = TORN_AFTER
    hub.app.down_after_tear = killed
    if killed:  # the run ends in the middle of the file, and another one goes on
        with pytest.raises(ServiceUnavailableError, match="does not answer"):
            download_sets([hub_set()], root, hub.url)
        assert not (root / NAME).exists()
        assert (root / ".download" / NAME / "test" / "1.tar.part").stat().st_size == 10_485_760
        hub.app.down = False
    (report,) = download_sets([hub_set()], root, hub.url).sets
    assert report.state is State.FETCHED
    assert hub.app.ranges == [b"bytes=10485760-"]
    assert hub.app.fetched.count("test/0.tar") == 1
    assert (root / NAME / "test" / "1.tar").read_bytes() == (folder / "test" / "1.tar").read_bytes()
    assert list((root / ".download").iterdir()) == []


def test_a_run_that_was_cut_off_goes_on_at_its_commit(hub: Published, tmp_path: Path) -> None:
    first = hub.publish(NAME)
    hub.app.down = True
    with pytest.raises(ServiceUnavailableError):
        download_sets([hub_set()], tmp_path / "sets", hub.url)
    hub.app.down = False
    digits_set(tmp_path / "newer", per_shard=11)
    hub.publish(NAME, tmp_path / "newer")
    (report,) = download_sets([hub_set()], tmp_path / "sets", hub.url).sets
    assert report.revision == first


@pytest.mark.parametrize("fault", ["spoiled", "swollen"])
@pytest.mark.parametrize("path", ["test/0.tar", "classnames.txt"])
def test_wrong_bytes_are_refused_and_the_set_is_not_there(
    hub: Published, tmp_path: Path, fault: str, path: str
) -> None:
    """One file is in large-file storage, which has a sha256; the other has git's blob id."""
    hub.publish(NAME)
    hub.publish("wds_svhn_test")
    root = tmp_path / "sets"
    getattr(hub.app, fault).add(path)
    outcome = download_sets([hub_set()], root, hub.url)
    assert isinstance(outcome.failures[NAME], DataFormatError)
    assert f"other bytes for {path}" in outcome.failures[NAME].message
    assert not (root / NAME).exists()
    assert read_lock(root, NAME) is None
    assert list(root.rglob("*.part")) == []
    getattr(hub.app, fault).clear()
    hub.app.fetched.clear()
    (report,) = download_sets([hub_set()], root, hub.url).sets
    assert (report.state, hub.app.fetched) == (State.FETCHED, [path])


def test_what_became_wrong_is_fetched_again_and_nothing_else(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    root = tmp_path / "sets"
    download_sets([hub_set()], root, hub.url)
    shard = root / NAME / "test" / "1.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    (root / NAME / "test" / "2.tar").write_bytes(b"a shard of another set")
    (root / NAME / "notes.md").write_text("somebody's")
    hub.app.fetched.clear()
    (report,) = download_sets([hub_set()], root, hub.url).sets
    assert (report.state, report.files_fetched, hub.app.fetched) == (State.FETCHED, 1, ["test/1.tar"])
    assert shard.read_bytes() == (hub.local / NAME / "test" / "1.tar").read_bytes()
    assert not (root / NAME / "test" / "2.tar").exists()
    assert (root / NAME / "notes.md").exists()


def test_a_set_that_somebody_else_downloaded_is_adopted(hub: Published, tmp_path: Path) -> None:
    commit = hub.publish(NAME)
    shutil.copytree(hub.local / NAME, tmp_path / "sets" / NAME)
    (report,) = download_sets([hub_set()], tmp_path / "sets", hub.url).sets
    assert (report.state, report.revision, hub.app.fetched) == (State.KEPT, commit, [])
    assert read_lock(tmp_path / "sets", NAME) is not None


def test_a_set_that_is_not_given_keeps_no_other_from_coming(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    hub.publish("wds_objectnet_test")
    hub.app.gated.add("wds_objectnet_test")
    wanted = [hub_set("wds_objectnet_test"), hub_set("wds_absent_test"), hub_set()]
    outcome = download_sets(wanted, tmp_path / "sets", hub.url)
    assert [report.state for report in outcome.sets] == [State.FAILED, State.FAILED, State.FETCHED]
    gated, absent = outcome.failures.values()
    assert isinstance(gated, PermissionDeniedError)
    assert "only to those who accepted its terms" in gated.message
    assert isinstance(absent, NotFoundError)
    assert "shows no dataset djghosh/wds_absent_test" in absent.message


def test_a_repository_without_a_set_or_with_half_of_one(hub: Published, tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "README.md").write_text("Nothing.")
    hub.publish("wds_page_test", tmp_path / "page")
    half = digits_set(tmp_path / "half")
    (half / "test" / "1.tar").unlink()
    hub.publish("wds_half_test", half)
    outcome = download_sets([hub_set("wds_page_test"), hub_set("wds_half_test")], tmp_path / "sets", hub.url)
    page, incomplete = outcome.failures.values()
    assert "holds no evaluation set" in page.message
    assert "promises 2 shards, and test/1.tar is not there" in incomplete.message
    assert not (tmp_path / "sets" / "wds_half_test").exists()


def test_a_hub_that_is_down_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailableError, match="does not answer for djghosh/wds_mnist_test"):
        download_sets([hub_set()], tmp_path / "sets", "http://127.0.0.1:1")


def test_a_full_disk_is_one_sentence_and_the_rest_is_kept(hub: Published, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    folder = digits_set(hub.local / NAME)
    (folder / "test" / "1.tar").write_bytes(np.random.default_rng(0).bytes(300_000))
    hub.publish(NAME, folder)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.competition.evalsets.test_download import download_sets, hub_set\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: download_sets([hub_set()], Path(sys.argv[1]), sys.argv[2])\n"
        "except Exception as error: print(type(error).__name__, error.message)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "sets"), hub.url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said.startswith("StorageError The file would exceed the largest size allowed here"), said
    assert not (tmp_path / "sets" / NAME).exists()
    hub.app.fetched.clear()
    assert download_sets([hub_set()], tmp_path / "sets", hub.url).sets[0].state is State.FETCHED
    assert hub.app.fetched == ["test/1.tar"]


def test_a_disk_that_would_be_full_is_said_before_anything_is_fetched(
    hub: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(NAME)
    monkeypatch.setattr("competition.evalsets.download._SPARE_BYTES", 10**15)
    with pytest.raises(StorageError, match="GB more; "):
        download_sets([hub_set()], tmp_path / "sets", hub.url)
    assert hub.app.fetched == []


def test_another_process_in_the_folder_is_named(hub: Published, tmp_path: Path) -> None:
    from competition.data.lock import folder_lock

    (tmp_path / "sets").mkdir()
    with folder_lock(tmp_path / "sets", "is downloading evaluation sets", "--data-dir"):
        code = (
            "import sys; from pathlib import Path\n"
            "from tests.competition.evalsets.test_download import download_sets, hub_set\n"
            "try: download_sets([hub_set()], Path(sys.argv[1]), sys.argv[2])\n"
            "except Exception as error: print(type(error).__name__, error.message)"
        )
        words = [sys.executable, "-c", code, str(tmp_path / "sets"), hub.url]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said.startswith("UsageError Another process is downloading evaluation sets"), said


OFFLINE = """
import json, sys
from pathlib import Path
called = []
def watch(event, arguments):
    if event.startswith("socket.") and event not in {"socket.gethostname"}:
        called.append(event)
sys.addaudithook(watch)
from participant_kit.cli import main
sys.argv = ["datacup", "evalsets", "download", *sys.argv[1:]]
try: main()
except SystemExit as ended:
    found = {"code": ended.code, "sockets": called, "client": "huggingface_hub" in sys.modules}
    print(json.dumps(found), file=sys.stderr)
"""


def offline(root: Path, *words: str, endpoint: str) -> tuple[dict[str, object], str, str]:
    """The command in a process of its own that notes every use of a socket, name look-ups included."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "DATACUP_CACHE": str(root / "cache")}
    command = [sys.executable, "-c", OFFLINE, *words, "--data-dir", str(root)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    *said, last = ended.stderr.strip().splitlines()
    return json.loads(last), ended.stdout, "\n".join(said)


def test_offline_opens_no_socket_and_online_does(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    root = tmp_path / "sets"
    words = ("datacomp-40", "--only", "mnist", "--json")
    online, _, _ = offline(root, *words, endpoint=hub.url)
    assert online["code"] in {0, None}
    assert "socket.connect" in online["sockets"]  # type: ignore[operator] - the watch sees what it should
    calls = hub.app.calls
    without, out, _ = offline(root, *words, "--offline", endpoint=hub.url)
    assert without == {"code": 0, "sockets": [], "client": False}
    assert json.loads(out)["sets"][0]["state"] == "kept"
    assert hub.app.calls == calls

    shutil.rmtree(root / NAME)
    absent, _, said = offline(root, *words, "--offline", endpoint=hub.url)
    assert (absent["code"], absent["sockets"]) == (NotFoundError.exit_code, [])
    assert f"{NAME} is not in" in said


def test_offline_checks_every_byte(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    root = tmp_path / "sets"
    download_sets([hub_set()], root, hub.url)
    assert check_offline([hub_set()], root).sets[0].state is State.KEPT
    shard = root / NAME / "test" / "0.tar"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    failure = check_offline([hub_set()], root).failures[NAME]
    assert "other bytes: test/0.tar" in failure.message
    lock_path(root, NAME).unlink()
    assert check_offline([hub_set()], root).sets[0].state is State.UNRECORDED


def test_a_set_of_ones_own_that_was_recorded_is_kept_and_never_replaced(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    root = tmp_path / "sets"
    digits_set(root / NAME, per_shard=12)
    verify_sets([hub_set()], root, record=True)
    (report,) = download_sets([hub_set()], root, hub.url).sets
    assert (report.state, report.revision, hub.app.fetched) == (State.KEPT, None, [])
    (root / NAME / "classnames.txt").write_text("changed")
    assert "other bytes: classnames.txt" in download_sets([hub_set()], root, hub.url).failures[NAME].message
    assert (root / NAME / "classnames.txt").read_text() == "changed"
    shutil.rmtree(root / NAME)
    assert "is of found here, not of djghosh" in download_sets([hub_set()], root, hub.url).failures[NAME].message


def test_locks_from_elsewhere_cannot_name_other_files(tmp_path: Path) -> None:
    content = {
        "schema_version": 1,
        "name": NAME,
        "origin": "hub",
        "source": f"djghosh/{NAME}",
        "revision": "0" * 40,
        "files": [{"path": "../../outside.txt", "size": 1, "sha256": "0" * 64}],
    }
    (tmp_path / "sets").mkdir()
    lock_path(tmp_path / "sets", NAME).write_text(json.dumps(content))
    failure = download_sets([hub_set()], tmp_path / "sets", "http://127.0.0.1:1").failures[NAME]
    assert "'../../outside.txt', which is no file of a published set" in failure.message
    lock_path(tmp_path / "sets", NAME).write_text("{}")
    assert (
        "is no lock file" in download_sets([hub_set()], tmp_path / "sets", "http://127.0.0.1:1").failures[NAME].message
    )


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("classnames.txt", True),
        ("test/0.tar", True),
        ("train/12.tar", True),
        ("test/nshards.txt", True),
        ("test/00.tar", False),
        ("test/../0.tar", False),
        ("../classnames.txt", False),
        ("/etc/classnames.txt", False),
        ("test/0.tar\n", False),
        ("README.md", False),
        (".hidden.txt", False),
        ("other/0.tar", False),
    ],
)
def test_only_files_of_the_layout_are_fetched(path: str, known: bool) -> None:
    assert (byte_limit(path) is not None) == known


def test_every_task_has_its_set_and_repositories_are_datacomps() -> None:
    wanted = {item.name: item for item in sets_of(find_suite("datacomp-40"))}
    assert wanted["wds_vtab-caltech101_test"].repo == "djghosh/wds_vtab-caltech101_test"
    assert {item.origin for item in sets_of(find_suite("digits"))} == {Origin.CODE}
    suite = find_suite("genbench")
    assert sorted(task for item in sets_of(suite) for task in item.tasks) == sorted(task.id for task in suite.tasks)
    assert [item.tasks for item in sets_of(suite, ["probe-dtd"])] == [("probe-dtd",)]
    with pytest.raises(UsageError, match="has no task 'dtd'"):
        sets_of(suite, ["dtd"])
