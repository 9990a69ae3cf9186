"""The weighted nearest-neighbour classifier: ours, SELECT's ``knn_classifier``, and the bare matrix product.

    [PEERS=DIR] python -m bench knn
    python -m bench.knn [--peers DIR] [--rounds N] [--support N] [--queries N] [--only NAME ...]

``DIR/SELECT`` is a checkout of jimmyxu123/SELECT, of which the function runs as it is; without it the same loop,
written again, takes its place and is named so. The original is given normalised features and is called once for each k.
Ours normalises and checks them itself. The sides take turns. Figures are of wall seconds, in brackets of the
processor's: on a machine that does other work too, the latter are the better ones.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch

from competition.evaluation.features import LabelledFeatures, unit_rows
from competition.evaluation.knn import KnnSettings, evaluate

DIMENSIONS = 512
CLASSES = 1000
_TEMPERATURE = 0.07
_PRODUCT_QUERIES = 500
_QUERY_CHUNKS = 100

T = TypeVar("T")

Classifier = Callable[..., tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of one run."""

    wall: float
    cpu: float


WORKS = {"one k (20)": (20,), "one k (200)": (200,), "four k (10, 20, 100, 200)": (10, 20, 100, 200)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("bench.knn", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    peers = os.environ.get("PEERS")
    parser.add_argument("--peers", type=Path, default=Path(peers) if peers else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--support", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", default=list(WORKS), choices=list(WORKS))
    given = parser.parse_args([] if arguments is None else arguments)
    support, queries = made(given.support, 0), made(given.queries, 1)
    peer, name = (original(given.peers), "original") if given.peers else (written_again, "its loop, written again")
    print(f"{given.support:,} x {given.queries:,} x {DIMENSIONS}; median of {given.rounds}; {os.cpu_count()} cores\n")
    print(f"| work | ours s | {name} s | product s | {name} / ours | ours / product | largest difference |")
    print("| --- " * 7 + "|")
    for work in given.only:
        print(_line(work, WORKS[work], support, queries, peer, given.rounds), flush=True)


def _line(
    work: str,
    neighbours: tuple[int, ...],
    support: LabelledFeatures,
    queries: LabelledFeatures,
    peer: Classifier,
    rounds: int,
) -> str:
    units = [torch.from_numpy(unit_rows(data.features)) for data in (support, queries)]
    labels = [torch.from_numpy(data.labels) for data in (support, queries)]
    settings = KnnSettings(neighbours, _TEMPERATURE)
    seconds: dict[str, list[Seconds]] = {"ours": [], "peer": [], "product": []}
    difference = 0.0
    for _ in range(rounds):
        found, taken = timed(lambda: evaluate(support, queries, CLASSES, settings))
        seconds["ours"].append(taken)
        seconds["product"].append(timed(lambda: product(*units))[1])
        theirs, taken = timed(
            lambda: [peer(units[0], labels[0], units[1], labels[1], k, _TEMPERATURE, CLASSES) for k in neighbours]
        )
        seconds["peer"].append(taken)
        for k, values in zip(neighbours, theirs, strict=True):
            ours = [100 * (found[k].metrics[metric] or 0.0) for metric in ("acc1", "acc5")]
            difference = max(difference, *(abs(a - b) for a, b in zip(ours, values, strict=True)))
    sides = {side: Seconds(median(s.wall for s in of), median(s.cpu for s in of)) for side, of in seconds.items()}
    cells = [f"{taken.wall:.2f} ({taken.cpu:.1f})" for taken in sides.values()]
    cells += [_ratio(sides["peer"], sides["ours"]), _ratio(sides["ours"], sides["product"]), f"{difference:.4f} %"]
    return f"| {work} | {' | '.join(cells)} |"


def made(rows: int, seed: int) -> LabelledFeatures:
    """Vectors near the means of their classes, of unequal length."""
    means = np.random.default_rng(9).standard_normal((CLASSES, DIMENSIONS), dtype=np.float32)
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, rows)
    return LabelledFeatures(means[labels] + 3 * generator.standard_normal((rows, DIMENSIONS), dtype=np.float32), labels)


def original(peers: Path) -> Classifier:
    """The function alone, from the file that also reads arguments and starts processes."""
    path = peers / "SELECT" / "ssl" / "eval_knn.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions: list[ast.stmt] = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "knn_classifier"
    ]
    names: dict[str, Any] = {"torch": torch}
    exec(compile(ast.Module(functions, []), path, "exec"), names)
    classifier: Classifier = names["knn_classifier"]
    return classifier


@torch.no_grad()
def written_again(
    support: torch.Tensor,
    support_labels: torch.Tensor,
    queries: torch.Tensor,
    labels: torch.Tensor,
    k: int,
    temperature: float,
    classes: int,
) -> tuple[float, float]:
    """What SELECT does: a hundred chunks of queries, one-hot labels of all neighbours, votes of all classes sorted."""
    right = [0, 0]
    step = len(labels) // _QUERY_CHUNKS
    for part, targets in zip(torch.split(queries, step), torch.split(labels, step), strict=True):
        similarities, rows = (part @ support.T).topk(k)
        voters = torch.zeros(len(part) * k, classes).scatter_(1, support_labels[rows].view(-1, 1), 1)
        weights = (similarities / temperature).exp()
        votes = (voters.view(len(part), k, classes) * weights[:, :, None]).sum(dim=1)
        correct = votes.sort(dim=1, descending=True).indices == targets[:, None]
        right[0] += int(correct[:, :1].sum())
        right[1] += int(correct[:, : min(5, k)].sum())
    return 100 * right[0] / len(labels), 100 * right[1] / len(labels)


def product(support: torch.Tensor, queries: torch.Tensor) -> None:
    """All cosines, thrown away."""
    room = torch.empty((_PRODUCT_QUERIES, len(support)))
    for part in torch.split(queries, _PRODUCT_QUERIES):
        torch.mm(part, support.T, out=room[: len(part)])


def timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    """The result, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def _ratio(above: Seconds, below: Seconds) -> str:
    return f"{above.wall / below.wall:.2f} ({above.cpu / below.cpu:.2f})"


if __name__ == "__main__":
    main(sys.argv[1:])
