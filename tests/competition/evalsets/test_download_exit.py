"""``evalsets download`` ends with 0 only if every set that was asked for is here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from competition.errors import NotFoundError
from tests.competition.evalsets.hub import digits_set
from tests.participant_kit.cli.typed import Typed, typed

NAME = "select-dtd"


def download(root: Path, *words: str) -> Typed:
    return typed("evalsets", "download", "select", "--only", "transfer-dtd", "--data-dir", root, *words)


@pytest.mark.parametrize("words", [(), ("--offline",)], ids=["online", "offline"])
def test_a_set_that_has_to_be_prepared_and_is_not_here_is_no_success(words: tuple[str, ...], tmp_path: Path) -> None:
    result = download(tmp_path, "--json", *words)
    assert result.code == NotFoundError.exit_code
    assert [(entry["name"], entry["state"]) for entry in json.loads(result.out)["sets"]] == [(NAME, "elsewhere")]
    assert f"1 set is not on the Hub and not here: {NAME}." in result.err
    assert "`datacup evalsets list select` says where each comes from" in result.err


def test_offline_a_set_without_recorded_digests_is_no_success_until_it_is_recorded(tmp_path: Path) -> None:
    digits_set(tmp_path / NAME)
    for words, code in ((("--offline",), NotFoundError.exit_code), ((), 0)):
        result = download(tmp_path, *words)
        assert result.code == code
        assert f"Here without recorded digests, and not checked: {NAME}." in result.err
        assert "`datacup evalsets verify select --record` records them as they are." in result.err
    assert typed("evalsets", "verify", "select", "--only", "transfer-dtd", "--data-dir", tmp_path, "--record").code == 0
    result = download(tmp_path, "--offline")
    assert (result.code, "Here without" in result.err) == (0, False)


def test_sets_that_one_command_makes_from_code_are_all_built_and_then_kept(tmp_path: Path) -> None:
    """The first of them makes the others of its suite; that these are there then does not mean that they were kept."""
    words = ("evalsets", "download", "digits-classification", "--data-dir", tmp_path, "--json")
    for state in ("built", "kept"):
        result = typed(*words)
        assert result.code == 0
        found = json.loads(result.out)["sets"]
        assert len(found) > 1
        assert {entry["state"] for entry in found} == {state}


def test_verify_says_what_is_to_be_done_about_each_kind(tmp_path: Path) -> None:
    tasks = ("imagenet-a", "transfer-dtd", "transfer-svhn", "transfer-gtsrb")
    only = [word for task in tasks for word in ("--only", task)]
    digits_set(tmp_path / "select-svhn")
    digits_set(tmp_path / "select-gtsrb")
    recorded = ("--only", "transfer-gtsrb", "--data-dir", tmp_path, "--record")
    assert typed("evalsets", "verify", "select", *recorded).code == 0
    (tmp_path / "select-gtsrb" / "classnames.txt").write_text("other\n")
    result = typed("evalsets", "verify", "select", "--data-dir", tmp_path, *only)
    assert result.code == 3
    said = " ".join(result.err.split())
    assert "brings and repairs what is on the Hub or made from code: wds_imagenet-a_test." in said
    assert "`datacup evalsets list select` says where each comes from" in said
    assert "the command that makes it: select-dtd." in said
    assert "move set and lock file away and make it again: select-gtsrb." in said
    assert "`datacup evalsets verify select --record` trusts their present bytes: select-svhn." in said
