"""Runs the selection of a checkout of sungnyun/openssl-simcore, as it is, on similarities of a file.

    PYTHON bench/simcore_peer.py CHECKOUT SIMILARITIES.npy COUNT ROWS.npy

``SIMILARITIES.npy`` has one row for each centroid. Its function ``greedy`` reads a name ``args`` that the checkout does
not define: it is given one. Prints the seconds of ``greedy`` alone. Nothing of ours is imported here.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch


def main(checkout: str, similarities: str, count: str, rows: str) -> None:
    """Select, time it, and save the rows."""
    source = Path(checkout) / "util" / "sampling.py"
    spec = importlib.util.spec_from_file_location("sampling", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.args = Namespace(stop=False, patience=20, stop_thresh=0.95)  # type: ignore[attr-defined]
    np.random.seed(0)  # noqa: NPY002, TID251 - the original draws from the global generator
    matrix = torch.from_numpy(np.load(similarities)).T
    start = time.perf_counter()
    selected = module.greedy(matrix, sampling_nums=int(count))
    seconds = time.perf_counter() - start
    np.save(rows, np.sort(np.array(list(selected), dtype=np.int64)))
    Path(f"{rows}.seconds").write_text(str(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
