"""Models and pictures that are small enough for a test, and sets' files."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from competition.evaluation.encoders import ClipEncoder, build_clip
from competition.evaluation.image_encoders import ImageEncoder, PixelStatistics
from competition.evaluation.image_models import build_image_model
from competition.evaluation.images import Preparation
from competition.evaluation.outcome import ProtocolOutcome
from competition.evaluation.protocols import Case, Subject, run_protocol
from competition.evaluation.protocols.case import Encoder
from competition.rules import Protocol, Task, find_recipe
from competition.rules.protocols import METRICS
from competition.rules.recipes import Backbone, ClipRecipe

CPU = torch.device("cpu")
SIZE = 32


def clip_model() -> ClipEncoder:
    _, recipe = find_recipe("digits-nano-clip")
    assert isinstance(recipe, ClipRecipe)
    model: Any = build_clip(recipe.architecture, 1)
    encoder = ClipEncoder(model, recipe.architecture, CPU)
    seen: list[torch.Tensor] = []
    hook = model.visual.ln_post.register_forward_hook(
        lambda _layer, _given, found: seen.append(found)
    )  # [N, tokens, width]
    encoder.encode_images(np.stack([encoder.preparation(picture(seed)) for seed in range(16)]))
    hook.remove()
    with torch.no_grad():  # of fresh weights every answer would be the same: so it depends on the picture
        model.visual.ln_post.bias.sub_(torch.cat(seen)[:, 0].mean(dim=0))
    return encoder


def image_model(classes: int, preparation: Preparation | None = None) -> ImageEncoder:
    options = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
    model: Any = build_image_model(Backbone(name="resnet18", options=options), classes, 3)
    statistics = PixelStatistics((0.5,) * 3, (0.5,) * 3)
    encoder = ImageEncoder(model, preparation or Preparation(SIZE, resize=36), statistics, CPU)
    head = model.get_classifier()
    if classes:  # of fresh weights every answer would be the same: centred features make it depend on the picture
        usual = encoder.encode_images(np.stack([np.asarray(picture(seed)) for seed in range(16)])).mean(axis=0)
        with torch.no_grad():
            head.weight.normal_(0.0, 20.0, generator=torch.Generator().manual_seed(classes))
            head.bias.copy_(-(head.weight @ torch.from_numpy(usual)))
    return encoder


def picture(seed: int, size: tuple[int, int] = (SIZE, SIZE), *, border: int = 0) -> Image.Image:
    """Blocks of random colours, within a red border where there is one."""
    random = np.random.default_rng(seed)
    blocks = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.NEAREST)
    if not border:
        return blocks
    framed = Image.new("RGB", (size[0] + 2 * border, size[1] + 2 * border), (255, 0, 0))
    framed.paste(blocks, (border, border))
    return framed


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_image(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(image))


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def evaluated(encoder: Encoder | None, protocol: Protocol, folder: Path, cache: Path | None = None) -> ProtocolOutcome:
    task = Task.model_validate(
        {"id": "t", "title": "T", "protocol": protocol, "dataset": "s", "metric": METRICS[protocol][0]}
    )
    return run_protocol(Subject(encoder), Case(task, folder, cache))


def assert_same(found: ProtocolOutcome, wanted: ProtocolOutcome) -> None:
    """The same metrics of the same samples, by the same outcomes of each."""
    assert found.samples == wanted.samples
    assert dict(found.metrics) == dict(wanted.metrics)
    assert found.proportions == wanted.proportions
    assert found.components.keys() == wanted.components.keys()
    for name, parts in wanted.components.items():
        for mine, theirs in zip(found.components[name], parts, strict=True):
            assert np.array_equal(mine, theirs)
