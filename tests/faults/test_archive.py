"""Scorers with mirrors of their own and one archive: killed while they put the same files, and a full archive."""

from __future__ import annotations

import subprocess
from pathlib import Path

from competition.data.digests import file_sha256
from competition.records.lifecycle import Processing
from scorer.archive import Archive
from tests.faults.scene import Scene
from tests.faults.test_disk import full_mirror

__all__ = ["full_mirror"]


def sound(archive: Archive) -> bool:
    """Whether every file of the archive is what its name says."""
    blobs = list(archive.blobs())
    return bool(blobs) and all(archive.digest(blob.sha256) == blob.sha256 for blob in blobs)


def test_of_two_scorers_that_archive_the_same_at_once_one_is_killed(scene: Scene, tmp_path: Path) -> None:
    url = (tmp_path / "archive").as_uri()
    for _ in range(3):
        scene.enter()
    first, second = (scene.worker("--drain", mirror=tmp_path / f"mirror-{name}", archive=url) for name in "ab")
    first.wait_for("mirrored")
    first.kill()
    second.wait()
    scene.lose_lease()
    archive = Archive.open(url)
    assert sound(archive)
    scene.hub.api().delete_repo("alice/entries")
    lost = [each for each in scene.submissions if archive.entry(each) is None]
    scene.drain(mirror=tmp_path / "mirror-c", archive=url)
    scene.settled(Processing.SCORED, [each for each in scene.submissions if each not in lost])
    scene.settled(Processing.INVALID, lost)
    assert len(lost) <= 1, "only what was never archived is gone with its repository"
    assert sound(archive)
    models = [blob for blob in archive.blobs() if blob.size > 1_000_000]
    assert len(models) == 1, "what several entries have is there once"


def test_a_full_archive_is_waited_for(scene: Scene, full_mirror: Path) -> None:
    submission = scene.enter()
    scene.worker("--once", archive=full_mirror.as_uri()).wait()
    failures = [event.detail["message"] for event in scene.events(submission) if event.kind == "platform_failure"]
    assert len(failures) == 1
    assert "The archive of mirrored entries failed while writing a file" in failures[0]
    assert scene.state(submission) is Processing.RECEIVED
    kept = [path for path in (full_mirror / "objects").rglob("*") if path.is_file()]
    assert [path.name for path in kept] == [file_sha256(path) for path in kept], "no half of a file is in the store"
    assert not [path for path in (full_mirror / "incoming").iterdir() if path.stat().st_size], "nothing takes the room"
    subprocess.run(["mount", "-o", "remount,size=32m", str(full_mirror)], check=True)
    scene.drain(archive=full_mirror.as_uri())
    scene.settled()
    assert Archive.open(full_mirror.as_uri()).entry(submission) is not None
