"""CLIP_benchmark's zero-shot classification, or its text classifier, timed inside its own process; prints JSON.

Runs in the peers' environment (clip-benchmark and open_clip_torch): ``python evaluation_peer.py REQUEST`` with a JSON
of ``config`` (open_clip's), ``weights``, ``set`` (a folder in its layout; absent: only the classifier), ``classes``,
``templates``, ``repeats``, ``workers`` and ``threads``. Batches of 64 and float32 are given; the rest is its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import open_clip
import torch
from clip_benchmark.datasets.builder import build_wds_dataset
from clip_benchmark.metrics import zeroshot_classification

_BATCH = 64


def main(request: dict[str, Any]) -> None:
    """Time each repeat from the set's folder to its metrics."""
    torch.set_num_threads(request["threads"])
    zeroshot_classification.accuracy = _accuracy
    open_clip.add_model_config(Path(request["config"]))
    name = Path(request["config"]).stem
    model, _, transform = open_clip.create_model_and_transforms(name, pretrained=request["weights"])
    model.eval()
    tokenizer = open_clip.get_tokenizer(name)
    run = _classifier if request["set"] is None else _zeroshot
    run(request, model, transform, tokenizer)  # the first pass of a process is slower
    seconds, results = [], None
    for _ in range(request["repeats"]):
        start = time.perf_counter()
        results = run(request, model, transform, tokenizer)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "metrics": results}))


def _zeroshot(request: dict[str, Any], model: Any, transform: Any, tokenizer: Any) -> Any:
    """The steps of its command, with ``--no_amp``."""
    dataset = build_wds_dataset("made", transform, split="test", data_dir=request["set"])
    loader = torch.utils.data.DataLoader(
        dataset.batched(_BATCH), batch_size=None, shuffle=False, num_workers=request["workers"]
    )
    return zeroshot_classification.evaluate(
        model, loader, tokenizer, dataset.classes, dataset.templates, "cpu", amp=False
    )


def _accuracy(output: torch.Tensor, target: torch.Tensor, topk: tuple[int, ...] = (1,)) -> list[float]:
    """Its own function but for the last step, which NumPy 2.4 refuses: an array of one element is no number."""
    correct = output.topk(max(topk), 1, True, True)[1].t().eq(target.view(1, -1))
    return [correct[:k].reshape(-1).float().sum().item() / len(target) for k in topk]


def _classifier(request: dict[str, Any], model: Any, _transform: Any, tokenizer: Any) -> None:
    zeroshot_classification.zero_shot_classifier(
        model, tokenizer, request["classes"], request["templates"], "cpu", amp=False
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
