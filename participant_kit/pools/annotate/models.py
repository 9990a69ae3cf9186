"""CLIP models to annotate with: open_clip's by name and tag, any of its configurations with weights, or our own runs.

Weights are safetensors, wherever they come from: a pickle is never loaded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from competition.data.digests import file_sha256
from competition.errors import EvaluationError, UsageError
from competition.evaluation.encoders import ClipEncoder, load_weights
from competition.evaluation.reference_models import open_clip_tag, open_clip_weights
from competition.rules import find_competition, require_clip
from competition.rules.recipes import ClipArchitecture
from participant_kit.evaluation import read_training_report, recipe_of

ROLES = ("b32", "l14")
"""DataComp's names of the two models whose scores and features metadata have."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model as a person names it.

    Args:
        model: a name of open_clip, the path of a configuration in its form (``.json``), or the folder of one of our
            runs.
        pretrained: a tag of open_clip for that name, or the path of a ``.safetensors`` file; nothing for a run.
        role: ``b32`` or ``l14``: which columns and members it fills.
    """

    model: str
    pretrained: str | None
    role: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose weights are on this machine.

    Args:
        name: for the record.
        role: ``b32`` or ``l14``.
        config: open_clip's configuration, as JSON.
        quick_gelu: it was trained with that activation.
        weights: a ``.safetensors`` file.
        sha256: of its bytes.
        official: the file is open_clip's own, whose names of tensors it knows how to convert.
    """

    name: str
    role: str
    config: str
    quick_gelu: bool
    weights: Path
    sha256: str
    official: bool = False

    @property
    def image_size(self) -> int:
        """Side of the square input image in pixels."""
        return int(json.loads(self.config)["vision_cfg"]["image_size"])

    def as_json(self) -> dict[str, Any]:
        """What identifies it in a record."""
        return {"name": self.name, "role": self.role, "quick_gelu": self.quick_gelu, "weights_sha256": self.sha256}


def find_model(choice: ModelChoice) -> Model:
    """Find a model, and download open_clip's own weights where they are named.

    Raises:
        UsageError: there is no such model, tag or file, or it is not a plain CLIP with OpenAI's preparation of images.
        EvaluationError: the weights cannot be had as safetensors.
    """
    if choice.role not in ROLES:
        raise UsageError(f"--as {choice.role} is unknown.", hint="Choose b32 or l14.")
    if Path(choice.model).is_dir():
        return _own_run(Path(choice.model), choice)
    config, quick_gelu = _configuration(choice.model)
    if choice.pretrained is None:
        raise UsageError(
            f"Model {choice.model} comes without weights.",
            hint="Name them with --pretrained: a tag, or a safetensors file.",
        )
    official = choice.pretrained.endswith(".safetensors")
    name = (
        f"{Path(choice.model).stem if choice.model.endswith('.json') else choice.model}/{Path(choice.pretrained).name}"
    )
    if official:
        path = Path(choice.pretrained)
        if not path.is_file():
            raise UsageError(f"There are no weights {path}.")
    else:
        quick_gelu, path = _official(choice.model, choice.pretrained)
    return Model(name, choice.role, json.dumps(config), quick_gelu, path, file_sha256(path), official=not official)


def _configuration(model: str) -> tuple[dict[str, Any], bool]:
    """open_clip's configuration of a model, and whether it has QuickGELU."""
    if model.endswith(".json"):
        try:
            config = json.loads(Path(model).read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(f"Model configuration {model} cannot be read: {error}.") from error
        config = config.get("model_cfg", config) if isinstance(config, dict) else {}
    else:
        config = open_clip.get_model_config(model)
        if config is None:
            raise UsageError(
                f"open_clip has no model {model!r}.",
                hint="For example ViT-B-32 or ViT-L-14; or name a configuration's .json file, or a run's folder.",
            )
    vision, text = config.get("vision_cfg"), config.get("text_cfg")
    plain = isinstance(vision, dict) and isinstance(text, dict) and isinstance(vision.get("image_size"), int)
    if (
        not plain
        or config.get("custom_text")
        or "multimodal_cfg" in config
        or {"hf_model_name", "hf_tokenizer_name"} & set(text)
    ):
        raise UsageError(
            f"Model {model} is not a plain CLIP with OpenAI's tokenizer and square images.",
            hint="Choose one of open_clip's ViT-* or RN* models.",
        )
    return {key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}, bool(config.get("quick_gelu"))


def _official(model: str, tag: str) -> tuple[bool, Path]:
    """Whether weights of open_clip were trained with QuickGELU (the tag knows, not the name), and their file."""
    found = open_clip_tag(model, tag)
    preparation = (found.get("mean"), found.get("std"), found.get("interpolation"), found.get("resize_mode"))
    usual = (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, "bicubic", "shortest")
    if any(value is not None and value != expected for value, expected in zip(preparation, usual, strict=True)):
        raise UsageError(f"The weights {tag!r} of {model} want images prepared in another way than OpenAI's.")
    return bool(found.get("quick_gelu")), open_clip_weights(model, tag, found)


def _own_run(folder: Path, choice: ModelChoice) -> Model:
    if choice.pretrained is not None:
        raise UsageError(f"{folder} is a run, which has its own weights: leave --pretrained out.")
    training = read_training_report(folder)
    recipe = require_clip(recipe_of(training, find_competition(training.competition)))
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UsageError(f"{folder} holds no weights of a CLIP model.")
    config = json.dumps(recipe.architecture.open_clip_config())
    return Model(folder.name, choice.role, config, False, weights, file_sha256(weights))


@lru_cache(maxsize=16)
def load_model(model: Model, device: str) -> ClipEncoder:
    """The model in evaluation mode on a device; kept, because every shard of a worker needs it.

    Raises:
        EvaluationError: the weights do not fit the configuration.
    """
    config = json.loads(model.config)
    with torch.random.fork_rng():
        clip = open_clip.CLIP(**config, quick_gelu=model.quick_gelu, output_dict=True)
    if model.official:
        try:
            open_clip.load_checkpoint(clip, str(model.weights), strict=True)
        except (RuntimeError, OSError, ValueError) as error:
            raise EvaluationError(f"The weights {model.weights} do not fit {model.name}.") from error
    else:
        load_weights(clip, model.weights)
    architecture = ClipArchitecture(
        name="annotating", embed_dim=config["embed_dim"], vision=config["vision_cfg"], text=config["text_cfg"]
    )
    return ClipEncoder(clip, architecture, torch.device(device))
