"""A user's error ends in one sentence and an exit code; a bug keeps its traceback."""

from __future__ import annotations

import errno
import json

import pytest

from competition import command_line
from competition.errors import UsageError


def _raise(error: BaseException) -> None:
    raise error


def test_a_user_error_is_one_sentence_and_a_hint(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup"])
    with pytest.raises(SystemExit) as ended:
        command_line.run(lambda: _raise(UsageError("There is no pool here.", hint="Build one.")), extra="kit")
    captured = capsys.readouterr()
    assert ended.value.code == UsageError.exit_code
    assert captured.err == "Error: There is no pool here.\nBuild one.\n"
    assert captured.out == ""


def test_with_json_the_error_is_json_too(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup", "--json"])
    with pytest.raises(SystemExit):
        command_line.run(lambda: _raise(UsageError("No.", hint="Yes.")), extra="kit")
    expected = {"error": {"code": "usage", "message": "No.", "hint": "Yes."}}
    assert json.loads(capsys.readouterr().out) == expected


def test_a_full_disk_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup"])
    with pytest.raises(SystemExit) as ended:
        command_line.run(lambda: _raise(OSError(errno.ENOSPC, "No space left", "out.tar")), extra="kit")
    assert ended.value.code == 4
    assert "out.tar: the disk is full." in capsys.readouterr().err


def test_a_missing_package_names_the_extra_to_install(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["datacup"])
    with pytest.raises(SystemExit):
        command_line.run(lambda: _raise(ModuleNotFoundError("No module", name="torch")), extra="kit")
    assert "pip install '.[kit]'" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        command_line.run(lambda: _raise(ZeroDivisionError()), extra="kit")
    with pytest.raises(ModuleNotFoundError):
        command_line.run(lambda: _raise(ModuleNotFoundError("x", name="competitoin")), extra="kit")
