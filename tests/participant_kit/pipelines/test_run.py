"""A pipeline's result is that of its commands; what is there is not made again, and what is made is recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import competition
from competition.data.digests import file_sha256
from competition.data.lock import folder_lock
from competition.data.uids import load_subset, save_subset
from competition.errors import DataFormatError, UsageError
from competition.records.lineage import DatasetLineage
from participant_kit.pipelines.load import load_pipeline
from participant_kit.pipelines.run import Built, build, foresee
from participant_kit.subsets import StrategyOptions, build_subset
from participant_kit.subsets.algebra import combine_subsets, weigh_subsets
from participant_kit.subsets.function import function_subset
from participant_kit.subsets.ranking import Share
from participant_kit.subsets.sample import sample_subset
from tests.conftest import ROOT
from tests.participant_kit.pipelines.made import FILES, STEPS, changed, content, quiet, write_pipeline

ORDER = [step["name"] for step in STEPS]
NAMES = set(ORDER)


def run(path: Path, output: Path, notes: list[str] | None = None) -> Built:
    return build(load_pipeline(path), output, 1, quiet(notes))


def made(built: Built) -> set[str]:
    return {name for name, state in built.states.items() if state == "made"}


def test_the_dataset_is_that_of_the_single_commands(tmp_path: Path) -> None:
    built = run(write_pipeline(tmp_path), tmp_path / "out")
    metadata, work = tmp_path / "pool" / "metadata", tmp_path / "by-hand"
    build_subset("no_filter", metadata, work / "all.npy")
    build_subset("clip_score", metadata, work / "scored.npy", StrategyOptions(arch="l14", fraction=0.6))
    function_subset(f"{tmp_path / 'filters.py'}:keep", metadata, work / "mine.npy")
    combine_subsets("and", [work / "scored.npy", work / "mine.npy"], work / "good.npy")
    combine_subsets("minus", [work / "all.npy", work / "good.npy"], work / "rest.npy")
    sample_subset(work / "rest.npy", work / "some.npy", Share(5), 3)
    weigh_subsets([(work / "good.npy", 2), (work / "some.npy", 1)], work / "mixed.npy")
    assert built.subset.read_bytes() == (work / "mixed.npy").read_bytes()
    for step in built.lineage.steps:
        record = json.loads((work / f"{step.name}.npy.json").read_bytes())
        assert step.subset_sha256 == record["subset_sha256"]
        assert (step.total, step.kept, step.dropped, step.repeats) == tuple(
            record[name] for name in ("total", "kept", "dropped", "repeats")
        )


def test_the_lineage_names_steps_parameters_files_and_versions_but_no_folder(tmp_path: Path) -> None:
    run(write_pipeline(tmp_path), tmp_path / "out")
    raw = (tmp_path / "out" / "dataset.json").read_text()
    lineage = DatasetLineage.model_validate_json(raw)
    assert str(tmp_path) not in raw
    assert lineage.code_version == competition.__version__
    assert lineage.pool.metadata_files == FILES
    steps = {step.name: step for step in lineage.steps}
    assert set(steps) == NAMES
    assert steps["mine"].assets["function"].sha256 == file_sha256(tmp_path / "filters.py")
    assert steps["mine"].options == {"function": "filters.py:keep"}
    assert steps["mixed"].options == {"weights": (2, 1)}
    assert steps["mixed"].inputs == ("good", "some")
    assert lineage.result.subset_sha256 == file_sha256(tmp_path / "out" / "dataset.npy")


def test_a_second_run_makes_nothing_and_changes_nothing(tmp_path: Path) -> None:
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    assert made(run(path, output)) == NAMES
    before = {each: each.read_bytes() for each in output.rglob("*") if each.is_file()}
    assert made(run(path, output)) == set()
    assert {each: each.read_bytes() for each in output.rglob("*") if each.is_file()} == before


def _other_name(path: Path) -> None:
    text = path.read_text().replace("rest", "remainder")
    path.write_text(text)


def _other_function(path: Path) -> None:
    file = path.parent / "filters.py"
    file.write_text(file.read_text().replace("> 0.2", "> 0.3"))


def _touched(path: Path) -> None:
    for each in (path.parent / "pool" / "metadata").iterdir():
        os.utime(each, (1, 1))


def _other_pool(path: Path) -> None:
    """One score changes in the middle of a file; size, count and extremes stay as they are."""
    file = sorted((path.parent / "pool" / "metadata").glob("*.parquet"))[1]
    table = pq.read_table(file)
    column = table.column("clip_l14_similarity_score").to_numpy().copy()
    column[[3, 4]] = column[[4, 3]]
    place = table.schema.get_field_index("clip_l14_similarity_score")
    pq.write_table(table.set_column(place, table.schema.field(place), [column]), file)


def _other_features(path: Path) -> None:
    file = sorted((path.parent / "pool" / "metadata").glob("*.npz"))[1]
    with np.load(file) as arrays:
        held = dict(arrays)
    held["l14_img"] = held["l14_img"][::-1].copy()
    np.savez(file, **held)


POOL_STEPS = {"all", "scored", "mine"}
CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "a sample's seed": (lambda path: write_pipeline(path.parent, changed("some", seed=4)), {"some", "mixed"}),
    "a fraction": (
        lambda path: write_pipeline(path.parent, changed("scored", fraction=0.5)),
        {"scored", "good", "rest", "some", "mixed"},
    ),
    "the last step": (lambda path: write_pipeline(path.parent, changed("mixed", weights=[1, 1])), {"mixed"}),
    "the function's file": (_other_function, {"mine", "good", "rest", "some", "mixed"}),
    "the name of a step": (_other_name, set()),
    "the order in the file": (lambda path: write_pipeline(path.parent, STEPS[::-1]), set()),
    "a default written out": (
        lambda path: write_pipeline(path.parent, changed("some", seed=3, fraction=None)),
        set(),
    ),
    "times of the pool's files": (_touched, set()),
    "a metadata file": (_other_pool, NAMES),
    "a feature file": (_other_features, NAMES),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_runs_only_what_depends_on_it(what: str, tmp_path: Path) -> None:
    change, again = CHANGES[what]
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    run(path, output)
    change(path)
    pipeline = load_pipeline(path)
    foreseen = {name for name, needed in foresee(pipeline, output, 1, quiet()).items() if needed}
    built = run(path, output)
    assert made(built) == foreseen == again
    fresh = run(path, tmp_path / "fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh")
    assert built.lineage.result == fresh.lineage.result


def test_going_back_makes_nothing_again(tmp_path: Path) -> None:
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    run(path, output)
    first = content(output)
    run(write_pipeline(tmp_path, changed("some", seed=4)), output)
    assert content(output) != first
    assert made(run(write_pipeline(tmp_path), output)) == set()
    assert content(output) == first


def test_what_somebody_changed_in_the_output_is_made_or_put_back(tmp_path: Path) -> None:
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    built = run(path, output)
    first = content(output)
    digest = {step.name: step.digest for step in built.lineage.steps}["good"]
    stage = output / "stages" / digest / "dataset.npy"
    save_subset(stage, load_subset(stage)[:-1].copy())
    save_subset(output / "dataset.npy", load_subset(output / "dataset.npy")[:-1].copy())
    assert made(run(path, output)) == {"good"}
    assert content(output) == first


@pytest.mark.parametrize("calls", [1, 3])
def test_a_killed_build_goes_on_and_its_result_is_that_of_an_unbroken_one(calls: int, tmp_path: Path) -> None:
    """SIGKILL during the call for a metadata file of the third step: the two steps before are not run again, nor is a
    file of that step whose part is on the disk."""
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    (tmp_path / "kill").write_text(str(calls))
    command = [sys.executable, "-c", "from participant_kit.cli import main; main()", "build", str(path)]
    command += ["-o", str(output), "-j", "1", "--json"]
    broken = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert broken.returncode == -signal.SIGKILL
    assert not (output / "dataset.json").exists()
    kept = {each.name: each.stat().st_mtime_ns for each in (output / "stages").glob("?" * 64)}
    assert len(kept) == 2
    (tmp_path / "kill").unlink()
    resumed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(resumed.stdout)["made"] == ORDER[2:]
    assert {name: (output / "stages" / name).stat().st_mtime_ns for name in kept} == kept
    asked = (tmp_path / "calls").read_text().split()
    assert len(asked) == FILES + 1, "only the file at which it was killed was looked at twice"
    assert len(set(asked)) == FILES
    run(path, tmp_path / "fresh")
    assert content(output) == content(tmp_path / "fresh")
    assert not list((output / "stages").glob("*.partial"))


def test_stages_of_another_version_are_not_used_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    run(path, output)
    monkeypatch.setattr(competition, "__version__", "9.9.9")
    notes: list[str] = []
    assert made(run(path, output, notes)) == NAMES
    assert len(notes) == 1
    assert "made by DataCup 0.1.0 and are not used: this is 9.9.9" in notes[0]
    assert json.loads((output / "dataset.json").read_bytes())["code_version"] == "9.9.9"


@pytest.mark.parametrize("mark", ['{"format_version": 2, "code_version": "2.0.0"}', "{", "[]"])
def test_stages_in_another_form_are_refused(mark: str, tmp_path: Path) -> None:
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    run(path, output)
    (output / "stages" / "cache.json").write_text(mark)
    for again in (run, lambda path, output: foresee(load_pipeline(path), output, 1, quiet())):
        with pytest.raises(UsageError, match="kept by another version of DataCup") as refused:
            again(path, output)
        assert "--output-dir" in refused.value.hint


def test_two_builds_do_not_share_a_folder(tmp_path: Path) -> None:
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    output.mkdir()
    with folder_lock(output, "is building", "--output-dir"), pytest.raises(UsageError, match="is building"):
        run(path, output)


def test_somebodys_own_dataset_is_not_replaced(tmp_path: Path) -> None:
    path, output = write_pipeline(tmp_path), tmp_path / "out"
    output.mkdir()
    (output / "dataset.npy").write_text("mine")
    with pytest.raises(UsageError, match="no `datacup build` made"):
        run(path, output)
    assert (output / "dataset.npy").read_text() == "mine"


def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    needed = foresee(load_pipeline(write_pipeline(tmp_path)), tmp_path / "out", 1, quiet())
    assert needed == dict.fromkeys(ORDER, True)
    assert not (tmp_path / "out").exists()


def test_a_step_that_fails_is_named_with_its_line_and_keeps_the_others(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path, changed("some", count=10_000))
    with pytest.raises(UsageError, match=r"pipeline\.yaml, line 25: step 'some': --count 10000 is not between"):
        run(path, tmp_path / "out")
    assert made(run(write_pipeline(tmp_path), tmp_path / "out")) == {"some", "mixed"}


def test_a_damaged_feature_file_is_named(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path)
    archive = min((tmp_path / "pool" / "metadata").glob("*.npz"))
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(DataFormatError, match=archive.name):
        run(path, tmp_path / "out")
