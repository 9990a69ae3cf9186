"""The training loop: steps, log lines, checkpoints, and what stops it."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import torch

from competition.errors import DivergedError, TrainingError
from competition.progress import Progress
from competition.rules.recipes import ClipRecipe
from competition.rules.recipes.clip import ShardsWithReplacement
from participant_kit.train.checkpoint import save_checkpoint
from participant_kit.train.data.loader import Batch, Share, load_batches
from participant_kit.train.data.order import WINDOW, batches
from participant_kit.train.data.resampled import resampled_batches
from participant_kit.train.data.samples import Corrupt
from participant_kit.train.data.source import Indices
from participant_kit.train.run import CHECKPOINTS, LOG_FILE, Run
from participant_kit.train.run_log import RunLog

_CHECKPOINTS_PER_RUN = 4
_CHECKPOINT_SECONDS = 600.0
_LOG_LINES = 50
_LOG_EVERY_AT_MOST = 100
_GPU_LOSS_EVERY = 10


def run_steps(run: Run) -> float:
    """Run the steps that are left; returns the last loss (the mean over all processes).

    Raises:
        DivergedError: a loss or a weight is not finite.
        TrainingError: more samples are corrupt than the recipe tolerates.
        StorageError: the disk is full; the newest checkpoint is intact.
    """
    steps, first = run.steps, run.state.steps_done
    log = RunLog(run.folder / LOG_FILE, first) if run.group.leader else None
    every = max(1, min(_LOG_EVERY_AT_MOST, steps // _LOG_LINES))
    quarter = max(1, math.ceil(steps / _CHECKPOINTS_PER_RUN))
    check_every = 1 if run.group.device.type == "cpu" else _GPU_LOSS_EVERY
    loss, saved_at = math.nan, time.monotonic()
    # Closed at once when a step fails: the loader's process shares the files that are open of the run's folder.
    with closing(_timed(run, first)) as prepared:
        for batch in prepared:
            _note_corrupt(run, batch.corrupt)
            tensor = run.trainer.step(batch.step, batch.inputs)
            done = batch.step + 1
            logs = done % every == 0 or done == steps
            saves = done < steps and (done % quarter == 0 or _due(run, done, check_every, saved_at))
            if logs or saves or done % check_every == 0:
                loss = _checked_loss(tensor, done, run)
                run.progress(Progress("training", done, steps, resumed=first, task=f"loss {loss:.3f}"))
            if logs and log is not None:
                line = _log_line(run, done, done - first, loss)
                log.write(line)
                for tracker in run.trackers:
                    tracker.log(line)
            if saves:
                _save(run, done)
                saved_at = time.monotonic()
    return loss


def step_order(run: Run) -> Iterator[Indices]:
    """Positions of the samples of every step, from the first."""
    recipe, batch, seed = run.recipe, run.recipe.global_batch, run.state.seed
    if isinstance(recipe, ClipRecipe):
        if isinstance(recipe.order, ShardsWithReplacement):
            return resampled_batches(run.data, batch, seed, recipe.order)
        return batches(run.data, batch, seed, apart=True, window=recipe.order.window)
    return batches(run.data, batch, seed, apart=run.apart, window=WINDOW)


def batches_from(run: Run, first: int, last: int) -> Generator[Batch, None, None]:
    """This process's batches of the steps ``first`` to ``last`` (raises what prevented one)."""
    order = enumerate(islice(step_order(run), first, last), first)
    source = load_batches(
        run.samples,
        run.preparation,
        order,
        seed=run.state.seed,
        share=Share(run.group.rank, run.group.world).of(run.recipe.global_batch),
        batch=run.recipe.global_batch,
        workers=run.machine.loaders(run.group, all_held=run.samples.all_held),
        pin_memory=run.group.device.type == "cuda",
    )
    with closing(source):
        for batch in source:
            if batch.failure is not None:
                raise batch.failure
            yield batch


def gathered_corrupt(run: Run) -> tuple[int, ...]:
    """Positions of all samples that any process met corrupt."""
    return tuple(sorted(set().union(*run.group.gathered(run.corrupt))))


def _timed(run: Run, first: int) -> Generator[Batch, None, None]:
    """The batches; time spent waiting for them is summed in ``run.waited``."""
    with closing(batches_from(run, first, run.steps)) as source:
        while True:
            start = time.monotonic()
            batch = next(source, None)
            run.waited += time.monotonic() - start
            if batch is None:
                return
            yield batch


def _due(run: Run, done: int, check_every: int, saved_at: float) -> bool:
    """Whether it is time for a checkpoint: the leader's clock decides, now and then, for all."""
    if done % check_every:
        return False
    due = torch.tensor(float(time.monotonic() - saved_at > _CHECKPOINT_SECONDS), device=run.group.device)
    return bool(run.group.mean(due) > 0) if run.group.world > 1 else bool(due)


def _note_corrupt(run: Run, met: tuple[Corrupt, ...]) -> None:
    allowed = int(run.recipe.corrupt_tolerance * len(run.data))
    for index, reason in met:
        run.corrupt.add(index)
        if len(run.corrupt) > allowed:
            raise TrainingError(
                f"{run.data.describe(index).capitalize()} is corrupt ({reason}); {len(run.corrupt)} of "
                f"{len(run.data)} samples are, and the recipe tolerates {allowed}.",
                hint="Leave such samples out of the subset, or build the shards again.",
            )


def _checked_loss(tensor: torch.Tensor, done: int, run: Run) -> float:
    loss = float(run.group.mean(tensor))
    if not math.isfinite(loss):
        raise diverged(f"The loss is {loss} at step {done} of {run.steps}", run)
    return loss


def diverged(what: str, run: Run) -> DivergedError:
    """The error of a run whose numbers are no numbers any more."""
    return DivergedError(
        f"{what}: training has diverged.",
        hint=f"The last good checkpoint is kept in {run.folder / CHECKPOINTS}. Check the data for constant images or "
        "captions, or train with another --seed under another --exp-name.",
    )


def _save(run: Run, done: int) -> None:
    if not run.trainer.is_finite():
        raise diverged(f"A weight is not finite after step {done} of {run.steps}", run)
    corrupt = gathered_corrupt(run)
    if run.group.leader:
        state = run.state.model_copy(
            update={
                "steps_done": done,
                "seconds": run.seconds,
                "corrupt": corrupt,
                "scaler": run.trainer.scaler.state_dict(),
            }
        )
        save_checkpoint(run.folder / CHECKPOINTS, run.trainer, state)


def _log_line(run: Run, done: int, since_start: int, loss: float) -> dict[str, Any]:
    elapsed = time.monotonic() - run.resumed_at
    line: dict[str, Any] = {
        "step": done,
        "samples": done * run.recipe.global_batch,
        "loss": loss,
        "learning_rate": run.trainer.rate(done - 1),
        **run.trainer.objective.facts(),
        "samples_per_second": round(since_start * run.recipe.global_batch / elapsed, 1),
        "data_wait_share": round(run.waited / elapsed, 4),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds": round(run.seconds, 2),
    }
    if run.group.device.type == "cuda":
        line["peak_gpu_memory_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return line
