"""``datacup evaluate --predictions`` and ``datacup submit --predictions``, and docs/entry-format.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from competition.data.digests import file_sha256
from competition.errors import RejectionReason
from competition.records.evaluation import EvaluationReport
from competition.records.manifest import FileRole
from competition.rules import Limits, find_suite
from leaderboard.accounts.service import create_token as create_api_token
from leaderboard.accounts.viewer import Scope
from leaderboard.app import create_app
from leaderboard.clock import utc_now
from leaderboard.competitions.service import publish
from leaderboard.database import Database
from leaderboard.hub.app import HubSettings, Role, create_hub, create_token
from leaderboard.models import Base
from leaderboard.settings import Settings
from tests.competition.evaluation.predicted import (
    COMPETITION_YAML,
    SETS,
    all_guesses,
    counted,
    digit_labels,
    guesses,
    guessing,
    write_labels,
)
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import refused, typed
from tests.serving import serve

TEXT = (ROOT / "docs" / "entry-format.md").read_text(encoding="utf-8")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "guess.yaml"
    path.write_text(COMPETITION_YAML)
    return path


def save(folder: Path, **sets: np.ndarray) -> Path:
    path = folder / "mine.npz"
    np.savez_compressed(path, **sets)
    return path


def test_predictions_are_scored_without_a_run(rules: Path, tmp_path: Path) -> None:
    sets, root = all_guesses(), write_labels(tmp_path / "sets")
    file = save(tmp_path, **sets)
    words = ("evaluate", "--predictions", file, "--suite", rules, "--data-dir", root)
    result = typed(*words)
    assert result.code == 0, result.err
    top1 = counted(sets[SETS[0]], digit_labels()[SETS[0]])[0]
    assert f"{top1:.3f}" in result.out
    assert f"datacup submit --competition {rules} --track predictions --scale digits --predictions {file}" in result.err
    place = tmp_path / "mine.evaluation_report.json"
    report = EvaluationReport.model_validate_json(place.read_text())
    assert report.predictions_sha256 == file_sha256(file)
    printed = json.loads(typed(*words, "--json").out)
    assert printed["predictions_sha256"] == report.predictions_sha256
    assert printed["model_sha256"] is None
    assert [task["value"] for task in printed["results"]] == [task.value for task in report.results]
    compared = typed("compare", place, place)
    assert compared.code == 0, compared.err


def test_a_set_that_is_left_out_is_unscored_and_named(rules: Path, tmp_path: Path) -> None:
    file = save(tmp_path, **{SETS[0]: all_guesses()[SETS[0]]})
    root = write_labels(tmp_path / "sets")
    result = typed("evaluate", "--predictions", file, "--suite", rules, "--data-dir", root)
    assert result.code == 0, result.err
    assert "Unscored, since the file has no predictions for their sets: digits-odd-acc1, digits-odd-acc5." in result.err
    assert "datacup submit" not in result.err, "it is no entry yet"


def test_what_does_not_fit_together_is_refused(rules: Path, tmp_path: Path) -> None:
    file, root = save(tmp_path, **all_guesses()), write_labels(tmp_path / "sets")
    assert "without a run" in refused("evaluate", "--predictions", file).err
    assert "without a run" in refused("evaluate", "--predictions", file, "--suite", rules, "--model", "x").err
    absent = refused("evaluate", "--predictions", tmp_path / "no.npz", "--suite", rules)
    assert "There are no predictions in" in absent.err
    other = refused("evaluate", "--predictions", file, "--suite", "digits")
    assert "No built-in competition takes predictions for suite digits@1." in other.err
    there = refused("evaluate", "--predictions", file, "--suite", rules, "--data-dir", tmp_path / "nowhere")
    assert "'digits-even' of task 'digits-even-acc1' is not in" in there.err
    sets = all_guesses()
    for words, broken in (("are in reverse", sets[SETS[1]][:, ::-1]), ("are transposed", sets[SETS[1]].T)):
        wrong = save(tmp_path, **{SETS[0]: sets[SETS[0]], SETS[1]: broken})
        result = refused("evaluate", "--predictions", wrong, "--suite", rules, "--data-dir", root)
        assert words in result.err
        assert not (tmp_path / "mine.evaluation_report.json").exists()


@pytest.fixture
def leaderboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A leaderboard with the competition and a Hub, in the environment of a participant."""
    settings = Settings(data_dir=tmp_path, hubs=())
    database = Database(settings.url)
    Base.metadata.create_all(database.engine)
    now = utc_now()
    with database.writing() as session:
        publish(session, guessing(), now)
        token = create_api_token(
            session, account="ada", scopes=[Scope.SUBMIT], now=now, expires_at=now + timedelta(days=1)
        )
    database.close()
    monkeypatch.setenv("HF_TOKEN", create_token(tmp_path / "hub", "ada", Role.WRITE, None))
    monkeypatch.setenv("DATACUP_TOKEN", token)
    with serve(create_app(settings)) as url, serve(create_hub(HubSettings(root=tmp_path / "hub"))) as hub:
        monkeypatch.setenv("DATACUP_ENDPOINT", url)
        monkeypatch.setenv("HF_ENDPOINT", hub)
        yield
    huggingface_hub.close_session()


def entering(rules: Path, *words: str | Path) -> tuple[str | Path, ...]:
    named = ("--method-name", "Mine", "--author", "Ada", "--hf-repo-name", "ada/mine")
    return "submit", "--competition", rules, "--track", "predictions", "--scale", "digits", *named, *words


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.usefixtures("leaderboard")
def test_predictions_are_entered_and_traps_are_found_before_anything_is_registered(rules: Path, tmp_path: Path) -> None:
    sets = all_guesses()
    transposed = save(tmp_path, **{name: top5.T for name, top5 in sets.items()})
    assert "are transposed" in refused(*entering(rules, "--predictions", transposed)).err
    half = save(tmp_path, **{SETS[0]: sets[SETS[0]]})
    assert "has no predictions for: digits-odd" in refused(*entering(rules, "--predictions", half)).err
    assert not (tmp_path / "submissions").exists()
    whole = save(tmp_path, **sets)
    result = typed(*entering(rules, "--predictions", whole, "--json"))
    assert result.code == 0, result.err
    view = json.loads(result.out)
    assert view["processing"] == "received"
    folder = tmp_path / "submissions" / view["id"]
    manifest = json.loads((folder / "submission.json").read_text())
    assert {file["role"]: file["sha256"] for file in manifest["files"]}["predictions"] == file_sha256(whole)
    assert manifest["subset_samples"] is None
    again = typed(*entering(rules, "--predictions", whole, "--json"))
    assert json.loads(again.out)["id"] == view["id"]


def test_what_the_track_does_not_take_is_refused(rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACUP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("DATACUP_TOKEN", "any")
    file = save(tmp_path, **all_guesses())
    assert "Track 'predictions' takes predictions." in refused(*entering(rules)).err
    both = refused(*entering(rules, "--predictions", file, "--samples", "subset.npy"))
    assert "Track 'predictions' takes predictions, not --samples." in both.err
    named = ("--method-name", "Mine", "--author", "Ada", "--hf-repo-name", "ada/mine", "--track", "filtering")
    model = refused("submit", *named, "--predictions", file)
    assert "Track 'filtering' takes no predictions" in model.err
    assert "Track 'filtering' takes a run and its subset." in refused("submit", *named).err


def test_the_golden_predictions_score_as_the_documentation_runs_them(golden: Path, tmp_path: Path) -> None:
    """ImageNetV2's published accuracies of ResNet-50, by the command of the page."""
    (command,) = re.findall(r"^\$ (datacup evaluate --predictions .*)$", TEXT, flags=re.MULTILINE)
    sets = {}
    for name in {task.dataset for task in find_suite("imagenetv2").tasks}:
        with np.load(golden / "imagenetv2" / f"{name}.npz", allow_pickle=False) as stored:
            sets[name] = stored["resnet50"]
            (tmp_path / "sets" / name).mkdir(parents=True)
            (tmp_path / "sets" / name / "labels.txt").write_text("".join(f"{y}\n" for y in stored["labels"]))
    file = save(tmp_path, **sets)
    words = command.replace("predictions.npz", str(file)).split()[1:]
    result = typed(*words, "--data-dir", tmp_path / "sets")
    assert result.code == 0, result.err
    report = json.loads((tmp_path / "mine.evaluation_report.json").read_text())
    found = {task["task"]: round(100 * task["value"], 2) for task in report["results"]}
    assert found == {
        "imagenet-validation-original-top1": 76.13, "imagenetv2-b-33-top1": 63.33, "imagenetv2-a-44-top1": 72.70,
        "imagenetv2-c-12-top1": 78.09, "imagenet-validation-original-top5": 92.86, "imagenetv2-b-33-top5": 84.65,
        "imagenetv2-a-44-top5": 92.00, "imagenetv2-c-12-top5": 94.68,
    }  # fmt: skip
    assert "datacup submit --competition generalization --track predictions --scale imagenet" in result.err


def test_labels_alone_are_a_sound_evaluation_set(tmp_path: Path) -> None:
    root = tmp_path / "sets"
    for name in {task.dataset for task in find_suite("imagenetv2").tasks}:
        (root / name).mkdir(parents=True)
        (root / name / "labels.txt").write_text("0\n999\n")
    words = ("evalsets", "verify", "imagenetv2", "--data-dir", root)
    assert typed(*words, "--record").code == 0
    assert typed(*words).code == 0
    (root / "imagenetv2-b-33" / "labels.txt").write_text("0\n998\n")
    changed = typed(*words)
    assert changed.code != 0
    assert "imagenetv2-b-33" in changed.err + changed.out


def test_the_pages_example_makes_a_file_that_is_scored(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    scores = {name: np.eye(10)[labels] for name, labels in digit_labels().items()}
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "entry-format.md", "exec"), {"scores": scores})
    root = write_labels(tmp_path / "sets")
    result = typed("evaluate", "--predictions", "predictions.npz", "--suite", rules, "--data-dir", root, "--json")
    assert {task["value"] for task in json.loads(result.out)["results"]} == {1.0}


def test_the_page_has_every_role_reason_and_bound() -> None:
    roles = set(re.findall(r"^\| `(\w+)` \| `\.", TEXT, flags=re.MULTILINE))
    assert roles == {role.value for role in FileRole}
    reasons = set(re.findall(r"^\| `(predictions_\w+)` \|", TEXT, flags=re.MULTILINE))
    assert reasons == {reason.value for reason in RejectionReason if reason.value.startswith("predictions_")}
    limits = Limits()
    bounds = dict(re.findall(r"^\| ([\w ,]+?) \| ([\d,]+(?: GiB| bytes)?) \|$", TEXT, flags=re.MULTILINE))
    assert bounds == {
        "files": f"{limits.files}",
        "a file": f"{limits.file_bytes // 2**30} GiB",
        "all files": f"{limits.total_bytes // 2**30} GiB",
        "manifest": "1,000,000 bytes",
        "uids of a subset, repeats counted": f"{limits.subset_uids:,}",
    }


def test_a_model_that_only_guesses_is_scored(rules: Path, tmp_path: Path) -> None:
    sets = {name: guesses(labels, seed=4, skill=0.0) for name, labels in digit_labels().items()}
    root = write_labels(tmp_path / "sets")
    result = typed("evaluate", "--predictions", save(tmp_path, **sets), "--suite", rules, "--data-dir", root, "--json")
    assert all(task["value"] < 0.7 for task in json.loads(result.out)["results"])
