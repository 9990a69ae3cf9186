"""The training report: what was trained, on what, by which code, on which machine."""

from __future__ import annotations

from datetime import UTC, datetime

import torch

from competition import __version__
from competition.data.atomic import write_bytes
from competition.data.digests import file_sha256
from competition.records.training import DataPart, Hardware, TrainingData, TrainingReport
from participant_kit.train.curve import draw_curve
from participant_kit.train.run import CURVE_FILE, LOG_FILE, MODEL_FILE, REPORT_FILE, Run

_LISTED_PARTS = 100_000


def write_report(run: Run, competition: str, loss: float, corrupt: int) -> TrainingReport:
    """Write report and curve of a run whose model is written (raises ``StorageError``)."""
    recipe, device = run.recipe, run.group.device
    data = run.data
    report = TrainingReport(
        competition=competition,
        recipe=recipe.id,
        recipe_digest=recipe.digest,
        seed=run.state.seed,
        steps=run.steps,
        samples_seen=run.steps * recipe.global_batch,
        final_loss=loss,
        data=TrainingData(
            shards=len(data.parts),
            samples=len(data),
            digest=data.digest,
            corrupt_samples=corrupt,
            source_samples=data.sizes,
            weights=data.weights,
            labels_sha256=data.labels_sha256,
            parts=tuple(
                DataPart(name=part.name, samples=part.samples, sha256=part.sha256)
                for part in data.parts[:_LISTED_PARTS]
            ),
        ),
        model_sha256=file_sha256(run.folder / MODEL_FILE),
        hardware=Hardware(
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            devices=run.group.world,
            threads=run.threads,
            torch_version=str(torch.__version__),
            cpu_capability=torch.backends.cpu.get_cpu_capability(),
        ),
        code_version=__version__,
        started_at=run.state.started_at,
        finished_at=datetime.now(UTC),
        seconds=run.seconds,
        gpu_hours=run.seconds * run.group.world / 3600 if device.type == "cuda" else 0.0,
    )
    draw_curve(run.folder / LOG_FILE, run.folder / CURVE_FILE, f"{recipe.id}, seed {run.state.seed}")
    write_bytes(run.folder / REPORT_FILE, (report.model_dump_json(indent=2) + "\n").encode())
    return report
