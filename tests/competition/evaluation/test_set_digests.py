"""A result says on which bytes of its set it was computed: as the set's lock has it, or would have it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from competition.data.shards import Sample, write_samples
from competition.evalsets.lock import read_lock, record_set, write_lock
from competition.evalsets.sources import Origin
from competition.evaluation import known_digests
from competition.evaluation.locked_set import set_digest
from competition.rules import Protocol, Task
from tests.competition.evaluation.test_protocols import write_set
from tests.competition.evaluation.test_task_results import COMMIT, evaluated, make_task

IMAGE_TASK = Task.model_validate(
    {"id": "t", "title": "T", "protocol": Protocol.CLASSIFICATION, "dataset": "s", "metric": "acc1"}
)


def record(root: Path, origin: Origin, revision: str | None = None) -> str:
    lock = record_set(root / "s", "s", origin, revision=revision)
    write_lock(root, lock)
    return lock.digest


@pytest.mark.parametrize(("origin", "revision"), [(Origin.HUB, COMMIT), (Origin.ELSEWHERE, None), (Origin.CODE, None)])
def test_a_recorded_set_and_an_unrecorded_one_of_the_same_bytes_are_the_same(
    origin: Origin, revision: str | None, tmp_path: Path
) -> None:
    write_set(tmp_path / "s")
    before = evaluated(tmp_path, make_task()).set_digest
    recorded = record(tmp_path, origin, revision)
    lock = read_lock(tmp_path, "s")
    assert lock is not None
    assert before == recorded == lock.digest == evaluated(tmp_path, make_task()).set_digest


def test_a_page_beside_the_shards_is_no_part_of_the_set_and_instances_are(tmp_path: Path) -> None:
    write_set(tmp_path / "s")
    found = set_digest(tmp_path, make_task(), tmp_path / "cache")
    (tmp_path / "s" / "README.md").write_text("about the set")
    (tmp_path / "s" / ".gitattributes").write_text("*.tar filter=lfs")
    assert set_digest(tmp_path, make_task(), tmp_path / "cache") == found
    (tmp_path / "s" / "instances.jsonl").write_text("{}")
    assert set_digest(tmp_path, make_task(), tmp_path / "cache") != found


@pytest.mark.parametrize("change", ["prompts", "class names", "images", "a further part"])
def test_another_version_of_a_set_has_another_digest(change: str, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "s")
    found = set_digest(tmp_path, make_task(), tmp_path / "cache")
    match change:
        case "prompts":
            (folder / "zeroshot_classification_templates.txt").write_text("a phota of {c}")
        case "class names":
            (folder / "classnames.txt").write_text((folder / "classnames.txt").read_text().upper())
        case "images":
            write_samples(folder / "test" / "0.tar", [Sample("0", {"png": b"x", "cls": b"1"})])
        case "a further part":
            write_set(folder, split="train", seed=1)
    assert set_digest(tmp_path, make_task(), tmp_path / "cache") != found


def test_what_is_known_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two tasks on one set the second reads no file; of files changed a moment ago it would."""
    write_set(tmp_path / "s")
    monkeypatch.setattr(known_digests, "_SETTLED_NANOSECONDS", -(10**18))
    cache = tmp_path / "cache"
    cache.mkdir()
    found = set_digest(tmp_path, make_task(), cache)
    read: list[Path] = []
    monkeypatch.setattr(known_digests, "file_sha256", read.append)
    assert set_digest(tmp_path, make_task(), cache) == found
    assert read == []


def test_an_unrecorded_folder_of_images_has_none_and_a_recorded_one_has(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "s" / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "s" / "test" / name / "0.png")
    assert set_digest(tmp_path, IMAGE_TASK, tmp_path / "cache") is None
    recorded = record(tmp_path, Origin.ELSEWHERE)
    assert set_digest(tmp_path, IMAGE_TASK, tmp_path / "cache") == recorded


def test_labels_alone_are_a_set(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "labels.txt").write_text("0\n1\n")
    found = set_digest(tmp_path, make_task(), tmp_path / "cache")
    assert found == record(tmp_path, Origin.ELSEWHERE)
    (tmp_path / "s.lock.json").unlink()
    (tmp_path / "s" / "labels.txt").write_text("1\n1\n")
    assert set_digest(tmp_path, make_task(), tmp_path / "cache") not in (None, found)
