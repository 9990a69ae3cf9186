"""Zero-shot evaluation: ours, CLIP_benchmark's own functions, and the forward pass on preloaded tensors, side by side.

    [PEERS=DIR] python -m bench evaluation
    python -m bench.evaluation [--peers DIR] [--rounds N] [--only NAME ...]

``DIR/venv/bin/python`` has clip-benchmark and open_clip_torch. A round is a fresh process for each side; within it,
after a first pass that does not count, ours and the forward pass take turns. Seconds are medians of all passes; a ratio
is the median of the rounds' ratios. Start-up and loading of the model are in none of them, but in the suite's line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.evaluation_sides import SIDES
from bench.made_evaluation_sets import CLASSES, TEMPLATES, make_model, make_set

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Work:
    """A line of the table.

    Args:
        name: of the line.
        side: of ``evaluation_sides``.
        model: ``small`` or one of open_clip's.
        images: of the made set.
        sides: least and greatest side of these in pixels.
        peer: whether there is an original to compare with.
        repeats: passes of a process.
    """

    name: str
    side: str
    model: str
    images: int = 0
    sides: tuple[int, int] = (24, 64)
    peer: bool = True
    repeats: int = 2


WORKS = (
    Work("zero-shot, small images, warm", "warm", "small", 2000),
    Work("zero-shot, small images, cold", "cold", "small", 2000),
    Work("zero-shot, photographs, warm", "warm", "small", 300, (200, 500)),
    Work("zero-shot, photographs, cold", "cold", "small", 300, (200, 500)),
    Work("text classifier, ViT-B/32", "text", "ViT-B-32", repeats=1),
    Work("images, ViT-B/32", "warm", "ViT-B-32", 32, (200, 500), peer=False),
    Work("ten tasks after another submission, ViT-B/32", "suite", "ViT-B-32", 12, (200, 500), peer=False, repeats=1),
)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table."""
    peers = os.environ.get("PEERS")
    parser = argparse.ArgumentParser(
        prog="bench.evaluation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", type=Path, default=Path(peers) if peers else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", help="names of the lines to measure")
    given = parser.parse_args(list(arguments))
    columns = ["work", "ours, s", "original, s", "forward pass, s", "original / ours", "forward / ours", "facts"]
    print(f"| {' | '.join(columns)} |\n" + "| --- " * len(columns) + "|")
    with tempfile.TemporaryDirectory() as name:
        for work in WORKS:
            if not given.only or work.name in given.only:
                print(f"| {' | '.join(_line(work, Path(name), given))} |", flush=True)


def _line(work: Work, folder: Path, given: argparse.Namespace) -> list[str]:
    request = _request(work, folder, given.threads)
    peer = [given.peers / "venv/bin/python", _HERE / "evaluation_peer.py"] if work.peer and given.peers else None
    ours, originals, limits, speedups, shares = [], [], [], [], []
    found: dict[str, Any] = {}
    for _ in range(given.rounds):
        found = _answer([sys.executable, "-m", "bench.evaluation_sides", work.side], request)
        ours += found["ours"]
        limits += found["limit"]
        shares.append(median(limit / our for our, limit in zip(found["ours"], found["limit"], strict=True)))
        if peer is not None:
            original = _answer(peer, request)
            originals += original["seconds"]
            speedups.append(median(original["seconds"]) / median(found["ours"]))
            _compare(found["facts"].get("metrics"), original["metrics"])
    absent = "peer: absent" if work.peer else ""
    return [
        work.name,
        f"{median(ours):.3f}",
        f"{median(originals):.3f}" if originals else absent,
        f"{median(limits):.3f}",
        f"{median(speedups):.2f}" if speedups else absent,
        f"{median(shares):.2f}",
        ", ".join(f"{key} {value}" for key, value in found["facts"].items() if key != "metrics"),
    ]


def _request(work: Work, folder: Path, threads: int) -> dict[str, Any]:
    assert work.side in SIDES
    made = folder / f"set-{work.images}-{work.sides[0]}"
    if work.images and not made.exists():
        make_set(made, work.images, work.sides, seed=0)
    config, weights = make_model(folder, work.model, seed=0)
    return {
        "config": str(config),
        "weights": str(weights),
        "set": str(made) if work.images else None,
        "work": str(folder),
        "classes": list(CLASSES),
        "templates": list(TEMPLATES),
        "repeats": work.repeats,
        "workers": min(threads, 2),  # of the original's loader, which allows no more than the set has shards
        "threads": threads,
    }


def _answer(command: Sequence[object], request: dict[str, Any]) -> dict[str, Any]:
    words = [*(str(word) for word in command), json.dumps(request)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _compare(ours: dict[str, float] | None, original: dict[str, float] | None) -> None:
    """Both sides did the same work (raises ``RuntimeError`` when their metrics differ)."""
    for name, value in (original or {}).items():
        if ours is None or abs(ours[name] - value) > 1e-6:
            raise RuntimeError(f"{name} is {ours} here and {value} there.")


if __name__ == "__main__":
    main(sys.argv[1:])
