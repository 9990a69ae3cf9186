"""open_clip's own training command on given shards; prints the samples/s between its first and last log line as JSON.

Runs in the peers' environment (open_clip_torch[training], whose webdataset it works with):
``python training_clip_peer.py MODEL_CONFIG SHARDS SAMPLES BATCH LR WARMUP WORKERS THREADS LOGS``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from pathlib import Path

import open_clip
import torch
from open_clip_train.main import main as open_clip_main

_PROGRESS = re.compile(r"Train Epoch: 0 \[ *(\d+)/")


class _Clock(logging.Handler):
    """Notes when the log says how many samples were seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line."""
        found = _PROGRESS.search(record.getMessage())
        if found:
            self.seen.append((int(found[1]), time.perf_counter()))


def main(words: list[str]) -> None:
    """Train one epoch."""
    config, shards, samples, batch, rate, warmup, workers, threads, logs = words
    torch.set_num_threads(int(threads))
    open_clip.add_model_config(Path(config))
    clock = _Clock()
    logging.getLogger().addHandler(clock)
    pattern = f"{shards}/{{00000000..{len(list(Path(shards).glob('*.tar'))) - 1:08d}}}.tar"
    options = {
        "train-data": pattern, "train-num-samples": samples, "dataset-type": "webdataset", "batch-size": batch,
        "model": Path(config).stem, "epochs": "1", "lr": rate, "warmup": warmup, "beta2": "0.98", "wd": "0.2",
        "precision": "fp32", "workers": workers, "logs": logs, "name": "peer", "log-every-n-steps": "50",
        "save-frequency": "0",
    }  # fmt: skip
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    open_clip_main([*given, "--dataset-resampled", "--local-loss", "--gather-with-grad"])
    (first, start), (last, end) = clock.seen[0], clock.seen[-1]
    print(json.dumps({"samples_per_second": (last - first) / (end - start)}))


if __name__ == "__main__":
    main(sys.argv[1:])
