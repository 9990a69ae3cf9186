"""``datacup evaluate --model timm:NAME``: published models by one command, from weights on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub.constants
import open_clip
import pytest
import timm
import torch
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import save_file

from competition.data.digests import file_sha256
from competition.records.evaluation import EvaluationReport
from competition.rules.references import CATALOG
from tests.competition.evaluation.test_protocols import write_set
from tests.competition.evaluation.test_reference_models import TINY
from tests.participant_kit.cli.typed import Typed, refused, typed

SUITE = """suite:
  id: own
  version: 1
  tasks:
    - {id: near, title: Near, protocol: knn_simcore, dataset: s, metric: acc1@20, samples: 60}
  aggregates: [{id: average, title: Average, tasks: [near]}]
  primary: average

"""
TIMM = "timm:test_resnet.r160_in1k"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder, with the Hub out of reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "sets" / "s")
    write_set(tmp_path / "sets" / "s", count=240, split="train", seed=1)
    text = (CATALOG / "digits" / "competition.yaml").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(text[: text.index("suite:")] + SUITE + text[text.index("phases:") :])
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet.r160_in1k").state_dict(), tmp_path / "random.safetensors")
    return tmp_path


def ask(model: str, *words: str, weights: str = "random.safetensors") -> tuple[str, ...]:
    return ("evaluate", "--model", model, "--suite", "own.yaml", "--data-dir", "sets", "--weights", weights, *words)


def report_at(folder: Path) -> EvaluationReport:
    return EvaluationReport.model_validate_json((folder / "evaluation_report.json").read_bytes())


def shown(result: Typed) -> dict:
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_a_timm_model_gets_a_report_without_any_training(here: Path) -> None:
    result = typed(*ask(TIMM))
    assert result.code == 0, result.err
    assert "images/s" in result.out
    report = report_at(here / "runs" / "timm-test_resnet.r160_in1k")
    assert (report.reference_model, report.recipe, report.competition) == (TIMM, None, None)
    assert report.model_sha256 == file_sha256(here / "random.safetensors")
    (near,) = report.results
    assert (near.task, near.samples, len(near.classes)) == ("near", 60, 6)
    assert near.value > 1.5 / 6  # brightness is its class: features of random weights tell that
    assert "Next:" not in result.err
    assert f"The report is {Path('runs/timm-test_resnet.r160_in1k/evaluation_report.json')}." in result.err


def test_an_open_clip_model_with_the_transform_of_its_tag(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = here / "published-tiny.json"
    config.write_text(json.dumps(TINY))
    open_clip.add_model_config(config)
    tag = {"hf_hub": "nobody/tiny/", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 1.0), "interpolation": "bilinear"}
    monkeypatch.setitem(_PRETRAINED, "published-tiny", {"a_tag": tag | {"resize_mode": "squash"}})
    save_file(open_clip.CLIP(**TINY).state_dict(), here / "tiny.safetensors")
    words = ask("open_clip:published-tiny/a_tag", "--output-dir", "there", "--json", weights="tiny.safetensors")
    assert shown(typed(*words))["reference_model"] == "open_clip:published-tiny/a_tag"
    assert report_at(here / "there").model_sha256 == file_sha256(here / "tiny.safetensors")
    from competition.evaluation.reference_models import load_reference

    name, cpu = "open_clip:published-tiny/a_tag", torch.device("cpu")
    encoder = load_reference(name, cpu, weights=here / "tiny.safetensors")
    identity = encoder.preparation.identity
    assert (identity["transform"], identity["interpolation"]) == ("resize-both-centre-crop", "bilinear")


def test_weights_of_another_model_leave_no_report_and_other_weights_replace_one(here: Path) -> None:
    save_file({"x": torch.zeros(3)}, here / "other.safetensors")
    result = refused(*ask(TIMM, weights="other.safetensors"))
    assert "do not fit timm's test_resnet.r160_in1k" in result.err
    assert not (here / "runs" / "timm-test_resnet.r160_in1k" / "evaluation_report.json").exists()
    first = shown(typed(*ask(TIMM, "--json")))
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet.r160_in1k").state_dict(), here / "random.safetensors")
    second = shown(typed(*ask(TIMM, "--json")))
    assert first["model_sha256"] != second["model_sha256"]


def test_weights_that_cannot_be_downloaded_are_one_sentence(here: Path) -> None:
    result = refused("evaluate", "--model", "timm:resnet18.a1_in1k", "--suite", "own.yaml", "--data-dir", "sets")
    assert "The weights of timm's resnet18.a1_in1k cannot be downloaded: LocalEntryNotFoundError." in result.err
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", TIMM), "evaluated by --model and --suite"),
        (("--model", TIMM, "--train-output-dir", "x", "--suite", "digits"), "evaluated by --model and --suite"),
        (("--model", "timm:", "--suite", "own.yaml", "--data-dir", "sets"), "'timm:' names no reference model"),
        (("--model", "open_clip:ViT-B-32", "--suite", "own.yaml", "--data-dir", "sets"), "names no reference model"),
        (("--model", "timm:no_such_net", "--suite", "own.yaml", "--data-dir", "sets"), "has no model 'no_such_net'"),
        (("--model", "run", "--weights", "random.safetensors"), "goes with a published model"),
        (("--model", "run", "--output-dir", "x"), "goes with a published model"),
        (ask(TIMM, weights="absent.safetensors")[1:], "no safetensors file absent.safetensors"),
        (ask(TIMM, weights="own.yaml")[1:], "no safetensors file own.yaml"),
        (ask(TIMM, "--output-dir", "trained")[1:], "trained is the folder of a run"),
    ],
)
def test_what_cannot_be_asked_is_said(here: Path, words: tuple[str, ...], said: str) -> None:
    (here / "trained").mkdir()
    (here / "trained" / "training_report.json").write_text("{}")
    assert said in refused("evaluate", *words).err
