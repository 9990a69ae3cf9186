"""What a Hub refuses is said in terms of the command that was typed: gated, private, absent, without the revision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from competition.errors import NotFoundError, PermissionDeniedError
from competition.evalsets.download import State, download_sets
from competition.evalsets.lock import lock_path
from competition.evalsets.sources import EvaluationSet, Origin
from tests.competition.evalsets.hub import Published, published
from tests.participant_kit.cli.typed import typed

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

NAME = "wds_mnist_test"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with published(tmp_path) as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        yield made


def hub_set(name: str = NAME, revision: str = "main") -> EvaluationSet:
    return EvaluationSet(name, Origin.HUB, f"djghosh/{name}", revision, ("mnist",))


def test_a_revision_that_is_not_there_is_said_without_an_option_that_is_not(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    hub.publish("wds_cifar10_test")
    outcome = download_sets([hub_set(revision="v9"), hub_set("wds_cifar10_test")], tmp_path / "sets", hub.url)
    assert [report.state for report in outcome.sets] == [State.FAILED, State.FETCHED]
    failure = outcome.failures[NAME]
    assert isinstance(failure, NotFoundError)
    assert "has no such revision of djghosh/wds_mnist_test" in failure.message
    assert "'v9'" in failure.hint
    assert "--revision" not in failure.hint
    assert not (tmp_path / "sets" / NAME).exists()


def test_a_lock_of_a_commit_that_is_gone_names_the_lock(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    root = tmp_path / "sets"
    download_sets([hub_set()], root, hub.url)
    content = json.loads(lock_path(root, NAME).read_text())
    other = tmp_path / "other"
    other.mkdir()
    lock_path(other, NAME).write_text(json.dumps({**content, "revision": "0" * 40}))
    failure = download_sets([hub_set()], other, hub.url).failures[NAME]
    assert isinstance(failure, NotFoundError)
    assert "lock file" in failure.hint
    assert "000000000000" in failure.hint
    assert not (other / NAME).exists()


def test_gated_and_absent_sets_are_one_line_each_and_the_others_come(hub: Published, tmp_path: Path) -> None:
    hub.publish(NAME)
    hub.publish("wds_cifar10_test")
    hub.app.gated.add("wds_mnist_test")
    words = [word for task in ("mnist", "cifar10", "svhn") for word in ("--only", task)]
    result = typed("evalsets", "download", "datacomp-40", *words, "--data-dir", tmp_path / "sets", "--json")
    assert result.code == PermissionDeniedError.exit_code
    states = {entry["name"]: entry["state"] for entry in json.loads(result.out)["sets"]}
    assert states == {NAME: "failed", "wds_cifar10_test": "fetched", "wds_vtab-svhn_test": "failed"}
    said = [line for line in result.err.splitlines() if line.startswith("wds_")]
    assert len(said) == 2
    assert "gives djghosh/wds_mnist_test only to those who accepted its terms" in said[0]
    assert f"{hub.url}/datasets/djghosh/wds_mnist_test" in said[0]
    assert "hf auth login" in said[0]
    assert "shows no dataset djghosh/wds_vtab-svhn_test" in said[1]
    assert "Traceback" not in result.err
