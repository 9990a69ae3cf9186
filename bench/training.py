"""Samples per second of training, ours beside the originals: open_clip's command, timm's parts, lightly's loop.

``python -m bench.training [--peers DIR] [--rounds N]``; DIR holds ``venv`` with open_clip_torch[training] and the
webdataset that it resolves to (see BENCHMARKS.md). timm's and lightly's loops run in our own environment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from competition.rules import ClipRecipe, find_competition, find_recipe
from participant_kit.pools.digits.build import build_digits_pool
from participant_kit.train.data.choice import DataChoice
from participant_kit.train.launcher import Plan, train
from participant_kit.train.machine import Machine

_HERE = Path(__file__).resolve().parent


def main(options: Sequence[str] = ()) -> None:
    """Print a table: recipe, ours, the original, their ratio, and the share of time that ours waits for data."""
    parser = argparse.ArgumentParser(prog="bench.training")
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of the model, ours and the original's")
    arguments = parser.parse_args(list(options))
    threads: int = arguments.threads
    print("| recipe | ours, samples/s | original, samples/s | ours / original | data wait |\n" + "| --- " * 5 + "|")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        if arguments.peers is not None:
            build_digits_pool(folder / "pool", find_competition("digits").scales[0], workers=2)
            shards = folder / "pool" / "shards"
            peer = _open_clip(arguments.peers / "venv/bin/python", shards, folder, threads)
            _compare("digits-nano-clip", shards, folder, peer, arguments.rounds, threads)
        images = _image_folder(folder / "images")
        for peer_name, recipe in (("timm", "digits-nano-supervised"), ("lightly", "digits-nano-simclr")):
            words: list[object] = [
                sys.executable,
                "-m",
                "bench.training_image_peers",
                peer_name,
                recipe,
                images,
                1,
                threads,
            ]
            _compare(recipe, images, folder, partial(_printed, words), arguments.rounds, threads)


def _image_folder(folder: Path) -> Path:
    """scikit-learn's digits as JPEGs of 64 pixels in a folder for each class."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((pixels * 15.9375).astype("uint8"), "L").convert("RGB")
        image.resize((64, 64), Image.Resampling.BICUBIC).save(path, quality=90)
    return folder


def _compare(recipe_id: str, shards: Path, folder: Path, peer: Callable[[], float], rounds: int, threads: int) -> None:
    ours, theirs, waits = [], [], []
    for number in range(rounds):
        speed, wait = _ours(recipe_id, shards, folder / "runs", f"{recipe_id}-{number}", threads)
        ours.append(speed)
        waits.append(wait)
        theirs.append(peer())
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"| {recipe_id} | {statistics.median(ours):,.0f} | {statistics.median(theirs):,.0f} | {ratio:.2f} "
        f"| {statistics.median(waits):.1%} |",
        flush=True,
    )


def _ours(recipe_id: str, shards: Path, output: Path, name: str, threads: int) -> tuple[float, float]:
    """Samples/s between the first and the last log line, and the share of time waited for data."""
    competition, recipe = find_recipe(recipe_id)
    plan = Plan(recipe, competition, DataChoice((str(shards),)), output, name)
    train(plan, Machine("cpu", threads))
    lines = [json.loads(line) for line in (plan.folder / "train_log.jsonl").read_text().splitlines()]
    first, last = lines[0], lines[-1]
    return (last["samples"] - first["samples"]) / (last["seconds"] - first["seconds"]), last["data_wait_share"]


def _open_clip(python: Path, shards: Path, folder: Path, threads: int) -> Callable[[], float]:
    _, recipe = find_recipe("digits-nano-clip")
    assert isinstance(recipe, ClipRecipe)
    config = folder / "digits-vit.json"
    config.write_text(json.dumps(recipe.architecture.open_clip_config()))
    options = recipe.optimizer
    words = [
        config, shards, recipe.samples_seen, recipe.global_batch, options.learning_rate, options.warmup_steps, 1,
        threads,
    ]  # fmt: skip

    def measure() -> float:
        logs = tempfile.mkdtemp(prefix="logs-", dir=folder)  # open_clip does not train into a folder that it knows
        return _printed([python, _HERE / "training_clip_peer.py", *words, logs])

    return measure


def _printed(command: Sequence[object]) -> float:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(json.loads(done.stdout.splitlines()[-1])["samples_per_second"])


if __name__ == "__main__":
    main(sys.argv[1:])
