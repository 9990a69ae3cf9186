"""The tiny CLIP of the golden fixtures, as a recipe and as float32 weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from competition.evaluation.encoders import ClipEncoder, load_encoder
from competition.rules.recipes import ClipArchitecture, ClipRecipe, Optimizer


def recipe_of(config: dict) -> ClipRecipe:
    architecture = ClipArchitecture(
        name="tiny", embed_dim=config["embed_dim"], vision=config["vision_cfg"], text=config["text_cfg"]
    )
    return ClipRecipe(
        kind="clip",
        id="tiny",
        architecture=architecture,
        optimizer=Optimizer(learning_rate=0.001, warmup_steps=1),
        samples_seen=8,
        global_batch=4,
    )


@pytest.fixture(scope="session")
def zeroshot_golden(golden: Path) -> Path:
    return golden / "zeroshot"


@pytest.fixture(scope="session")
def golden_recipe(zeroshot_golden: Path) -> ClipRecipe:
    return recipe_of(json.loads((zeroshot_golden / "tiny-digits-a.json").read_text()))


@pytest.fixture(scope="session")
def golden_model(zeroshot_golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("golden") / "model.safetensors"
    halves = load_file(zeroshot_golden / "tiny-digits-a_fp16.safetensors")
    save_file({name: tensor.float() for name, tensor in halves.items()}, path)
    return path


@pytest.fixture(scope="session")
def golden_encoder(golden_recipe: ClipRecipe, golden_model: Path) -> ClipEncoder:
    return load_encoder(golden_recipe, golden_model, torch.device("cpu"))
