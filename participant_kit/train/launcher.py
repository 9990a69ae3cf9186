"""One run of a recipe: train, or go on where a killed run stopped, or recognise that it is finished."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from competition import __version__
from competition.data.atomic import make_folder, write_bytes
from competition.data.digests import file_sha256
from competition.data.lock import folder_lock
from competition.errors import TrainingError, UsageError
from competition.evaluation.encoders import default_device
from competition.progress import Progress, ProgressHook
from competition.records.training import Hardware, TrainingData, TrainingReport
from competition.rules.recipes import ClipRecipe
from participant_kit.train.checkpoint import RunState, newest_checkpoint, restore, save_checkpoint, save_model
from participant_kit.train.clip import ClipTrainer, learning_rate
from participant_kit.train.pipeline import Batch, Samples, training_batches
from participant_kit.train.run_log import RunLog
from participant_kit.train.shards import ShardIndex, open_shards

MODEL_FILE = "model.safetensors"
REPORT_FILE = "training_report.json"
LOG_FILE = "train_log.jsonl"
CHECKPOINTS = "checkpoints"

_CHECKPOINTS_PER_RUN = 4
_CHECKPOINT_SECONDS = 600.0
_LOG_LINES = 50
_GPU_LOSS_EVERY = 10


@dataclass
class _Run:
    """Everything that one run holds while it trains."""

    recipe: ClipRecipe
    folder: Path
    index: ShardIndex
    samples: Samples
    trainer: ClipTrainer
    state: RunState
    threads: int
    progress: ProgressHook
    resumed_at: float = field(default_factory=time.monotonic)
    waited: float = 0.0

    @property
    def seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self.resumed_at


def train(  # noqa: PLR0913 - what a run is made of, nothing that could change the recipe
    recipe: ClipRecipe,
    competition_id: str,
    data_dirs: Sequence[Path],
    output_dir: Path,
    exp_name: str,
    *,
    seed: int = 0,
    threads: int | None = None,
    progress: ProgressHook | None = None,
) -> TrainingReport:
    """Train ``recipe`` on the shards of ``data_dirs`` into ``output_dir/exp_name`` and report.

    A killed run goes on from its newest checkpoint when it is started again; on a CPU with the same number of threads
    it ends with the same weights, bit for bit. A finished run is recognised and returned as it is.

    Args:
        recipe: what is trained; nothing of it can be overridden.
        competition_id: named in the report.
        data_dirs: folders of webdataset shards.
        output_dir: where the run's folder is made.
        exp_name: name of the run's folder.
        seed: of initial weights, order and crops.
        threads: of the CPU; all when absent.
        progress: told where the run stands.

    Raises:
        TrainingError: no usable data, too many corrupt samples, a diverging loss, a checkpoint of another run.
        UsageError: ``exp_name`` is not one plain name, or the folder holds another finished run, or a run that is
            still going on.
        DataFormatError: a shard is damaged.
        StorageError: the disk is full; the newest checkpoint is intact.
    """
    report = progress or (lambda _progress: None)
    folder = _run_folder(output_dir, exp_name)
    index = open_shards(data_dirs, report)
    make_folder(folder)
    with folder_lock(folder, "is training", "--exp-name"), _thread_count(threads):
        finished = _finished(folder, recipe, index.digest, seed)
        if finished is not None:
            return finished
        run = _prepare(recipe, folder, index, seed, report)
        losses = _train(run)
        return _finish(run, competition_id, losses)


def _run_folder(output_dir: Path, exp_name: str) -> Path:
    if exp_name in {"", ".", ".."} or "/" in exp_name:
        raise UsageError(
            f"--exp-name {exp_name!r} is not the name of a folder.", hint="Give one name, without '/', as in: first"
        )
    return output_dir / exp_name


def _prepare(recipe: ClipRecipe, folder: Path, index: ShardIndex, seed: int, progress: ProgressHook) -> _Run:
    if recipe.steps < 1:
        raise TrainingError(f"Recipe {recipe.id!r} has fewer samples than one batch.")
    trainer = ClipTrainer(recipe, seed, default_device())
    state = RunState(
        recipe_digest=recipe.digest,
        data_digest=index.digest,
        seed=seed,
        steps_done=0,
        seconds=0.0,
        started_at=datetime.now(UTC),
    )
    found = newest_checkpoint(folder / CHECKPOINTS)
    if found is not None:
        checkpoint, saved = found
        _require_same(saved, state, checkpoint)
        restore(checkpoint, trainer)
        state = saved
    threads = torch.get_num_threads()
    samples = Samples(index, recipe)
    run = _Run(recipe, folder, index, samples, trainer, state, threads, progress)
    samples.decode_ahead(threads, progress)
    return run


def _require_same(saved: RunState, wanted: RunState, checkpoint: Path) -> None:
    for name, label in (("recipe_digest", "recipe"), ("data_digest", "data"), ("seed", "seed")):
        if getattr(saved, name) != getattr(wanted, name):
            raise TrainingError(
                f"The checkpoint {checkpoint} belongs to a run with another {label}.",
                hint="Choose another --exp-name, or delete the run's folder to start afresh.",
            )


def _train(run: _Run) -> float:
    """Run the steps that are left; returns the last loss."""
    steps, first = run.recipe.steps, run.state.steps_done
    log = RunLog(run.folder / LOG_FILE, first)
    every = max(1, steps // _LOG_LINES)
    quarter = max(1, math.ceil(steps / _CHECKPOINTS_PER_RUN))
    check_every = 1 if run.trainer.device.type == "cpu" else _GPU_LOSS_EVERY
    loss, saved_at = math.nan, time.monotonic()
    for batch in _timed(run, first):
        tensor = run.trainer.step(batch.step, batch.images, batch.texts)
        done = batch.step + 1
        logs = done % every == 0 or done == steps
        saves = done < steps and (done % quarter == 0 or time.monotonic() - saved_at > _CHECKPOINT_SECONDS)
        if logs or saves or done % check_every == 0:
            loss = _checked_loss(tensor, done, run)
            run.progress(Progress("training", done, steps, resumed=first, task=f"loss {loss:.3f}"))
        if logs:
            log.write(_log_line(run, done, done - first, loss))
        if saves:
            _save(run, done)
            saved_at = time.monotonic()
    return loss


def _timed(run: _Run, first: int) -> Iterator[Batch]:
    """The batches; time spent waiting for them is summed in ``run.waited``."""
    # Held samples need little work, and one thread leaves the cores to the model; decoding needs them all.
    workers = 1 if run.samples.all_held else run.threads
    source = training_batches(run.samples, run.index.identities, run.recipe, run.state.seed, first, workers)
    while True:
        start = time.monotonic()
        batch = next(source, None)
        run.waited += time.monotonic() - start
        if batch is None:
            return
        yield batch


def _checked_loss(tensor: torch.Tensor, done: int, run: _Run) -> float:
    loss = float(tensor)
    if not math.isfinite(loss):
        raise _diverged(f"The loss is {loss} at step {done} of {run.recipe.steps}", run)
    return loss


def _diverged(what: str, run: _Run) -> TrainingError:
    return TrainingError(
        f"{what}: training has diverged.",
        hint=f"The last good checkpoint is kept in {run.folder / CHECKPOINTS}. Check the data for constant images or "
        "captions, or train with another --seed under another --exp-name.",
    )


def _save(run: _Run, done: int) -> None:
    if not run.trainer.is_finite():
        raise _diverged(f"A weight is not finite after step {done} of {run.recipe.steps}", run)
    state = run.state.model_copy(update={"steps_done": done, "seconds": run.seconds})
    save_checkpoint(run.folder / CHECKPOINTS, run.trainer, state)


def _log_line(run: _Run, done: int, since_start: int, loss: float) -> dict[str, Any]:
    elapsed = time.monotonic() - run.resumed_at
    return {
        "step": done,
        "samples": done * run.recipe.global_batch,
        "loss": loss,
        "learning_rate": learning_rate(run.recipe.optimizer, done - 1, run.recipe.steps),
        "logit_scale": float(run.trainer.model.logit_scale.detach().exp()),
        "samples_per_second": round(since_start * run.recipe.global_batch / elapsed, 1),
        "data_wait_share": round(run.waited / elapsed, 4),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds": round(run.seconds, 2),
    }


def _finish(run: _Run, competition_id: str, loss: float) -> TrainingReport:
    if not run.trainer.is_finite():
        raise _diverged("A weight is not finite after the last step", run)
    model = run.folder / MODEL_FILE
    save_model(model, run.trainer)
    recipe = run.recipe
    device = run.trainer.device
    report = TrainingReport(
        competition=competition_id,
        recipe=recipe.id,
        recipe_digest=recipe.digest,
        seed=run.state.seed,
        steps=recipe.steps,
        samples_seen=recipe.steps * recipe.global_batch,
        final_loss=loss,
        data=TrainingData(
            shards=len(run.index.paths),
            samples=len(run.index),
            digest=run.index.digest,
            corrupt_samples=run.samples.corrupt,
        ),
        model_sha256=file_sha256(model),
        hardware=Hardware(
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            threads=run.threads,
            torch_version=str(torch.__version__),
        ),
        code_version=__version__,
        started_at=run.state.started_at,
        finished_at=datetime.now(UTC),
        seconds=run.seconds,
    )
    write_bytes(run.folder / REPORT_FILE, (report.model_dump_json(indent=2) + "\n").encode())
    return report


def _finished(folder: Path, recipe: ClipRecipe, data_digest: str, seed: int) -> TrainingReport | None:
    """The report of a finished run of the same thing; ``None`` when nothing is finished here."""
    path = folder / REPORT_FILE
    if not path.exists():
        return None
    try:
        report = TrainingReport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UsageError(
            f"{path} is not a training report.", hint="Delete it and run the same command again."
        ) from error
    model = folder / MODEL_FILE
    found = (report.recipe_digest, report.data.digest, report.seed)
    differences = [
        label
        for label, ours, theirs in zip(
            ("recipe", "data", "seed"), (recipe.digest, data_digest, seed), found, strict=True
        )
        if ours != theirs
    ]
    if not model.exists() or file_sha256(model) != report.model_sha256:
        differences.append("model file")
    if differences:
        raise UsageError(
            f"{folder} holds a finished run with another {' and '.join(differences)}.",
            hint="Choose another --exp-name, or delete that folder to train again.",
        )
    return report


@contextmanager
def _thread_count(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
