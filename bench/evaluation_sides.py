"""Our side of ``bench.evaluation``, and the forward pass on preloaded tensors, in one process; prints JSON.

``python -m bench.evaluation_sides warm|cold|text|suite REQUEST`` with the JSON that ``bench.evaluation`` makes.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

from bench.made_evaluation_sets import architecture_of, make_set
from competition.data.digests import file_sha256
from competition.evaluation import zeroshot
from competition.evaluation.encoders import (
    ClipEncoder,
    build_clip,
    load_encoder,
    load_weights,
    normalise_pixels,
    tokenizer,
)
from competition.evaluation.run import evaluate_suite
from competition.evaluation.sets import CACHE_FOLDER, load_classification
from competition.evaluation.text_tower import encode_text, text_batches
from competition.rules import (
    Aggregate,
    ClipRecipe,
    Competition,
    Protocol,
    Suite,
    Task,
    find_competition,
    find_recipe,
)

_BATCH = 64
_CPU = torch.device("cpu")
_METRICS, _SETS = ("acc1", "mean_per_class_recall"), 5


class Model:
    """The request's model, and what it takes as preloaded tensors."""

    def __init__(self, request: dict[str, Any]) -> None:
        torch.set_num_threads(request["threads"])
        config = json.loads(Path(request["config"]).read_bytes())
        self.architecture = architecture_of(config, "bench")
        self.module: open_clip.CLIP = build_clip(self.architecture)
        load_weights(self.module, Path(request["weights"]))
        self.module.eval()

    def encoder(self) -> ClipEncoder:
        """Ours, which remembers nothing yet."""
        return ClipEncoder(self.module, self.architecture, _CPU)

    def forward_images(self, images: torch.Tensor) -> None:
        """The image tower on normalised tensors."""
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                self.module.encode_image(images[start : start + _BATCH], normalize=True)

    def forward_texts(self, tokens: torch.Tensor, *, cut: bool) -> torch.Tensor:
        """The text tower on tokens [N, L]: cut at their ends, or the whole context."""
        with torch.inference_mode():
            if not cut:
                whole: torch.Tensor = self.module.encode_text(tokens, normalize=True)
                return whole
            features = torch.empty(len(tokens), self.architecture.embed_dim)
            for positions, chunk in text_batches(self.module, tokens):
                features[positions] = encode_text(self.module, chunk)
            return features


def timed(work: Callable[[], Any]) -> float:
    """Its seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def zeroshot_side(request: dict[str, Any], *, cold: bool) -> dict[str, Any]:
    """From the set's folder to its metrics, as in an evaluation of a model that is loaded."""
    model, folder, cache = Model(request), Path(request["set"]), Path(request["work"]) / "cache"
    metrics: dict[str, Any] = {}

    def ours() -> None:
        encoder = model.encoder()
        metrics.update(zeroshot.evaluate(encoder, load_classification(folder, encoder.preparation, cache)).metrics)

    ours()
    data = load_classification(folder, model.encoder().preparation, cache)
    images = normalise_pixels(torch.from_numpy(np.array(data.images)))
    model.forward_images(images[:_BATCH])
    seconds: dict[str, list[float]] = {"ours": [], "limit": []}
    for _ in range(request["repeats"]):
        if cold:
            shutil.rmtree(cache)
        seconds["ours"].append(timed(ours))
        seconds["limit"].append(timed(lambda: model.forward_images(images)))
    return seconds | {"facts": {"images": len(images), "metrics": metrics}}


def text_side(request: dict[str, Any]) -> dict[str, Any]:
    """A text classifier, and the cut text tower on tokens; and how far features are from those of the whole context."""
    model, classes, templates = Model(request), request["classes"], request["templates"]
    prompts = [template.replace("{c}", name) for name in classes for template in templates]
    tokens = tokenizer(int(model.architecture.text["context_length"]))(prompts)
    whole, cut = (model.forward_texts(tokens, cut=cut) for cut in (False, True))
    seconds: dict[str, list[float]] = {"ours": [], "limit": []}
    for _ in range(request["repeats"]):
        seconds["ours"].append(timed(lambda: zeroshot.text_classifier(model.encoder(), classes, templates)))
        seconds["limit"].append(timed(lambda: model.forward_texts(tokens, cut=True)))
    longest = int(tokens.argmax(dim=1).max()) + 1
    difference = f"{(whole - cut).abs().max():.1e}"
    return seconds | {"facts": {"prompts": len(prompts), "longest, tokens": longest, "max difference": difference}}


def suite_side(request: dict[str, Any]) -> dict[str, Any]:
    """Ten tasks on five sets, when another submission was scored before; its seconds without the model's loading.

    The limit is the forward passes that a submission needs at least: every set once, every prompt once.
    """
    model, root = Model(request), Path(request["work"]) / "suite"
    metrics, sets = _METRICS, _SETS
    samples = len(load_classification(Path(request["set"]), model.encoder().preparation).labels)
    for number in range(sets):
        if not (root / f"set{number}").exists():  # each another one: equal sets would be one to ours
            make_set(root / f"set{number}", samples, (200, 500), seed=number + 1)
    competition, recipe = _competition(model, metrics, sets, samples)
    weights = Path(request["weights"])
    evaluate_suite(weights, competition, recipe, root, device=_CPU)
    data = load_classification(root / "set0", model.encoder().preparation, root / CACHE_FOLDER)
    images = normalise_pixels(torch.from_numpy(np.array(data.images)))  # a forward pass takes as long on any set
    prompts = [template.replace("{c}", name) for name in data.class_names for template in data.templates]
    tokens = tokenizer(int(model.architecture.text["context_length"]))(prompts)

    def forward() -> None:
        model.forward_texts(tokens, cut=True)
        for _ in range(sets):
            model.forward_images(images)

    seconds: dict[str, list[float]] = {"ours": [], "limit": []}
    loading = 0.0
    for _ in range(request["repeats"]):
        seconds["limit"].append(timed(forward))
        whole = timed(lambda: evaluate_suite(weights, competition, recipe, root, device=_CPU))
        loading = timed(lambda: load_encoder(recipe, weights, _CPU)) + timed(lambda: file_sha256(weights))
        seconds["ours"].append(whole - loading)
    facts = {"tasks": len(competition.suite.tasks), "images of a set": samples, "loading, s": f"{loading:.2f}"}
    return seconds | {"facts": facts}


def _competition(model: Model, metrics: tuple[str, ...], sets: int, samples: int) -> tuple[Competition, ClipRecipe]:
    """The digits competition with a suite of these tasks and a recipe of this model."""
    rules, (_, recipe) = find_competition("digits"), find_recipe("digits-nano-clip")
    assert isinstance(recipe, ClipRecipe)
    recipe = recipe.model_copy(update={"architecture": model.architecture})
    tasks = tuple(
        Task(
            id=f"set{number}-{place}",
            title="Made",
            protocol=Protocol.ZEROSHOT_CLASSIFICATION,
            dataset=f"set{number}",
            metric=metric,
            samples=samples,
        )
        for number in range(sets)
        for place, metric in enumerate(metrics)
    )
    average = Aggregate(id="average", title="Average", tasks=tuple(task.id for task in tasks))
    suite = Suite(id="made", version=1, tasks=tasks, aggregates=(average,), primary="average")
    return rules.model_copy(update={"suite": suite}), recipe


SIDES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "warm": lambda request: zeroshot_side(request, cold=False),
    "cold": lambda request: zeroshot_side(request, cold=True),
    "text": text_side,
    "suite": suite_side,
}


if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]](json.loads(sys.argv[2]))))
