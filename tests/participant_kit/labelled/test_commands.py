"""``datacup label`` as people type it, with texts that are encoded by a model."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from participant_kit.pools.annotate.models import ModelChoice
from participant_kit.pools.annotate.run import AnnotateOptions, annotate_pool
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.pools import small
from tests.participant_kit.pools.test_annotate import CONFIG


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
