"""``datacup label`` as people type it: the commands of the documentation, and texts encoded by a model."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from competition.data.uids import load_subset
from participant_kit.pools.annotate.models import ModelChoice
from participant_kit.pools.annotate.run import AnnotateOptions, annotate_pool
from tests.conftest import ROOT
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.labelled.made import rows, unit, write_features, write_pool
from tests.participant_kit.pools import small
from tests.participant_kit.pools.test_annotate import CONFIG

DOCUMENTATION = ROOT / "docs" / "labelled-datasets.md"
COMMANDS = re.findall(r"^\$ datacup (.*)$", DOCUMENTATION.read_text(), flags=re.MULTILINE)


def test_every_command_of_the_documentation_runs_and_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = re.search(r"```json\n(.*?)```", DOCUMENTATION.read_text(), flags=re.DOTALL)
    assert listed is not None
    (tmp_path / "classes.json").write_text(listed[1])
    made = rows(60)
    made["uid"] = [f"{row:032x}" for row in range(60)]
    made["text"] = [("zero", "the number one!", "nothing")[row % 3] for row in range(60)]
    for member in ("b32_txt", "l14_img"):
        made[member] = unit(np.random.default_rng(5).normal(size=(60, 16)) + 2)
    write_pool(tmp_path / "pool" / "metadata", made)
    write_features(tmp_path / "class.npy", 2)
    np.save(tmp_path / "class.npy", unit(np.ones((2, 16))).astype(np.float32))
    write_features(tmp_path / "prompt.npy", 3)
    (tmp_path / "labels.csv").write_text("uid,label\n1,Zero\n2,Nought\n3,One\n4,Two\n")
    (tmp_path / "map.tsv").write_text("Zero\t0\nNought\t0\nOne\t1\n")
    assert len(COMMANDS) == 8
    for command in COMMANDS:
        words = shlex.split(command)
        result = typed(*words)
        assert result.code == 0, (command, result.err)
        table = Path(words[words.index("--save-path") + 1])
        record = json.loads(table.with_name(f"{table.name}.json").read_text())
        assert record["strategy"] == words[1]
        assert f"kept                       {record['kept']:,}" in re.sub(" {3,}", " " * 23, result.out)
        assert len(load_subset(table.with_suffix(".npy"))) == record["kept"] > 0
        pool = "pool" if "--metadata-dir" in words else "POOL"
        assert f"datacup reshard -i {pool}/shards -o shards/{table.stem} -s {table.with_suffix('.npy')}" in result.err
        assert json.loads(typed(*words, "--json").out) == record


def test_texts_are_encoded_by_the_model_that_made_the_pool_and_by_no_other(tmp_path: Path) -> None:
    small.write_pool(tmp_path / "pool")
    (tmp_path / "tiny.json").write_text(json.dumps(CONFIG))
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = open_clip.CLIP(**CONFIG)
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, tmp_path / f"{seed}.safetensors")
    choice = ModelChoice(str(tmp_path / "tiny.json"), str(tmp_path / "0.safetensors"), "b32")
    annotate_pool(tmp_path / "pool" / "shards", tmp_path / "m", AnnotateOptions((choice,)))
    names = ["number 7", "number 41"]
    document = [{"id": number, "names": [name]} for number, name in enumerate(names)]
    (tmp_path / "classes.json").write_text(json.dumps(document))
    shared = (
        "--classes",
        tmp_path / "classes.json",
        "--metadata-dir",
        tmp_path / "m",
        "--model",
        tmp_path / "tiny.json",
    )
    out = ("--save-path", tmp_path / "t.parquet", "--json")
    own = ("--pretrained", tmp_path / "0.safetensors")
    captions = typed("label", "retrieve-captions", *shared, *own, *out, "--threshold", "-1")
    report = json.loads(captions.out)
    assert report["per_class"] == {"0": 1, "1": 1}
    assert report["options"]["model"]["role"] == "b32"
    prompts = typed("label", "retrieve-prompts", *shared, *own, *out, "-k", 1, "--template", "a photo of {}")
    assert json.loads(prompts.out)["per_class"] == {"0": 1, "1": 1}, "a caption's own sentence is its nearest prompt"
    other = refused("label", "retrieve-captions", *shared, "--pretrained", tmp_path / "1.safetensors", *out[:2])
    assert "b32 features are those of a model with other weights than tiny/1.safetensors" in other.err
