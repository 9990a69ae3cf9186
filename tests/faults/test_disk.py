"""The disk of the mirror is full."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from competition.data.digests import file_sha256
from competition.records.lifecycle import Processing
from tests.faults.scene import Scene


@pytest.fixture
def full_mirror(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB; a model of the tiny competition takes three."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        # A process that was killed a moment ago may still hold a file there.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_an_entry_waits_until_there_is_room(scene: Scene, full_mirror: Path) -> None:
    submission = scene.enter()
    scene.worker("--once", mirror=full_mirror, free_bytes=0).wait()
    failures = [event.detail["message"] for event in scene.events(submission) if event.kind == "platform_failure"]
    assert len(failures) == 1
    assert "no space left" in failures[0]
    assert scene.state(submission) is Processing.RECEIVED
    kept = [path for path in (full_mirror / "objects").rglob("*") if path.is_file()]
    assert [path.name for path in kept] == [file_sha256(path) for path in kept], "no half of a file is in the store"
    assert not list((full_mirror / "scratch").iterdir()), "nothing is left that takes the room"
    subprocess.run(["mount", "-o", "remount,size=32m", str(full_mirror)], check=True)
    scene.drain(mirror=full_mirror, free_bytes=0)
    scene.settled()
