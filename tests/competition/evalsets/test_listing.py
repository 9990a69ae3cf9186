"""Every set of every suite comes from somewhere that is named, by a command that exists."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from competition.data.shards import list_shards
from competition.evalsets.next_step import next_step
from competition.evalsets.open_sets import OPEN_SETS
from competition.evalsets.preparing.origins import origins
from competition.evalsets.preparing.recipes import RECIPES
from competition.evalsets.sources import EvaluationSet, Origin, sets_of
from competition.rules import all_suites, find_competition
from tests.competition.evalsets.digits_folders import Pen
from tests.competition.evalsets.hub import digits_set
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import refused, typed

PAGE = (ROOT / "docs" / "evaluation-sets.md").read_text(encoding="utf-8")
SUITES = sorted(all_suites())


@pytest.mark.parametrize("reference", SUITES)
def test_every_set_has_a_download_or_a_recipe_and_says_where_it_comes_from(reference: str) -> None:
    recipes = {recipe.name for recipe in RECIPES}
    for item in sets_of(all_suites()[reference]):
        step = next_step(item, "absent", reference)
        assert (item.name in recipes) == (item.origin is Origin.ELSEWHERE)
        verb = "prepare" if item.name in recipes else "download"
        assert step.command.startswith(f"datacup evalsets {verb} ")
        assert bool(step.given) == (verb == "prepare")
        assert step.source.startswith(("https://", "http://", "made from code"))


def test_a_set_of_ones_own_suite_is_to_be_put_there() -> None:
    step = next_step(EvaluationSet("my-own", Origin.ELSEWHERE, tasks=("mine",)), "absent", "mine@1")
    assert (step.command, step.given) == ("", "put it there in a layout of docs/evaluation-sets.md")


def test_every_recipe_is_of_a_set_of_a_suite() -> None:
    wanted = {task.dataset for suite in all_suites().values() for task in suite.tasks}
    assert {recipe.name for recipe in RECIPES} <= wanted
    assert set(origins()) == {
        item.name for suite in all_suites().values() for item in sets_of(suite) if item.origin is Origin.ELSEWHERE
    }


@pytest.mark.parametrize("reference", SUITES)
def test_list_shows_where_a_suites_sets_come_from_and_commands_that_exist(reference: str, tmp_path: Path) -> None:
    words = ("evalsets", "list", reference, "--data-dir", tmp_path)
    entries = json.loads(typed(*words, "--json").out)
    assert [entry["name"] for entry in entries] == [item.name for item in sets_of(all_suites()[reference])]
    shown = typed(*words)
    assert shown.code == 0
    for entry in entries:
        assert entry["source"]
        if entry["origin"] == "elsewhere":
            assert entry["given"] in shown.err
            assert entry["command"] in shown.err
        else:
            assert f"datacup evalsets download {reference} " in shown.err
    for command in {entry["command"].replace("DIR", str(tmp_path / "absent")) for entry in entries} - {""}:
        verb, *rest = shlex.split(command)[2:]
        if verb == "prepare":
            result = refused("evalsets", verb, *(word for word in rest if word != "--download"), "--data-dir", tmp_path)
            assert "There is no folder" in result.err
        else:
            assert rest[0] == reference
            assert rest[2] in {task for entry in entries for task in entry["tasks"]}


def test_a_set_that_is_here_needs_nothing_and_an_unrecorded_one_is_to_be_recorded(tmp_path: Path) -> None:
    digits_set(tmp_path / "wds_mnist_test")
    words = ("evalsets", "list", "datacomp-40", "--data-dir", tmp_path)
    entry = next(entry for entry in json.loads(typed(*words, "--json").out) if entry["name"] == "wds_mnist_test")
    assert (entry["state"], entry["command"]) == (
        "unrecorded",
        "datacup evalsets verify datacomp-40@1 --only mnist --record",
    )
    assert entry["command"] in typed(*words).err
    assert typed(*shlex.split(entry["command"])[1:], "--data-dir", tmp_path).code == 0
    entry = next(entry for entry in json.loads(typed(*words, "--json").out) if entry["name"] == "wds_mnist_test")
    assert (entry["state"], entry["command"]) == ("here", "")
    (tmp_path / "wds_mnist_test.lock.json").write_text("{}")
    assert "here with a lock file that is none" in typed(*words).err
    assert "evalsets list SUITE" in typed("evalsets", "list", "--data-dir", tmp_path).err


def test_downloading_a_suite_of_prepared_sets_names_what_lists_them(tmp_path: Path) -> None:
    result = typed("evalsets", "download", "simcore", "--offline", "--data-dir", tmp_path)
    assert "11 sets are not on the Hub and not here: simcore-aircraft," in result.err
    assert "`datacup evalsets list simcore` says where each comes from" in result.err
    verified = typed("evalsets", "verify", "simcore", "--data-dir", tmp_path)
    assert verified.code == 2
    assert "`datacup evalsets list simcore` says where each comes from" in verified.err
    assert "evalsets download" not in verified.err  # which brings none of them


def test_simcores_open_sets_are_pools_and_said_to_be(tmp_path: Path) -> None:
    assert len(OPEN_SETS) == 7
    first = {found.pool: found.samples for found in OPEN_SETS}
    scales = {scale.pool.id: scale.pool.samples for scale in find_competition("simcore").scales if scale.pool}
    assert scales.items() <= first.items()
    assert first["simcore-all"] == sum(samples for _, samples in list(first.items())[:4])
    for found in OPEN_SETS:
        words = ("evalsets", "prepare", found.pool, "--source", tmp_path, "--data-dir", tmp_path)
        assert f"`datacup pool import FOLDER -o pools/{found.pool}`" in refused(*words).err
        assert f"`{found.pool}`" in PAGE
        assert f"{found.samples:,}" in PAGE
    Pen().write(tmp_path / "train2017" / "000000000009.jpg")
    imported = typed("pool", "import", tmp_path / "train2017", "-o", tmp_path / "pools" / "coco-train", "--json")
    assert json.loads(imported.out)["samples"] == 1
    assert len(list_shards(tmp_path / "pools" / "coco-train" / "shards").shards) == 1
    words = ("evalsets", "prepare", "wds_mnist_test", "--source", tmp_path, "--data-dir", tmp_path)
    assert "it is on the Hub" in refused(*words).err


def test_a_folder_of_images_in_the_place_of_a_set_of_the_hub_is_recorded_with_every_image(tmp_path: Path) -> None:
    pen = Pen()
    for wordnet_id in ("n01440764", "n02129604"):
        pen.write(tmp_path / "wds_imagenet-a_test" / wordnet_id / "a.png")
    words = ("evalsets", "verify", "select", "--only", "imagenet-a", "--data-dir", tmp_path)
    assert typed(*words).code == 2
    assert typed(*words, "--record").code == 0
    assert typed(*words).code == 0
    pen.write(tmp_path / "wds_imagenet-a_test" / "n01440764" / "b.png")
    result = typed(*words, "--json")
    assert result.code == 3
    assert json.loads(result.out)["sets"][0]["detail"] == "not part of it: n01440764/b.png"
