"""A folder's lock keeps others out for as long as it is held."""

from __future__ import annotations

from pathlib import Path

import pytest

from competition.data.lock import folder_lock
from competition.errors import StorageError, UsageError


def test_a_second_process_waits_its_turn(tmp_path: Path) -> None:
    with folder_lock(tmp_path, "builds a pool", "--output-dir"):
        again = folder_lock(tmp_path, "builds a pool", "--output-dir")
        with pytest.raises(UsageError, match="Another process builds a pool in") as raised, again:
            pass
        assert "--output-dir" in raised.value.hint
    with folder_lock(tmp_path, "builds a pool", "--output-dir"):
        pass


def test_a_folder_that_cannot_hold_a_lock_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="opening"), folder_lock(tmp_path / "absent", "trains", "--exp-name"):
        pass
