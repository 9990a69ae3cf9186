"""One run of a recipe: train, or go on where a killed run stopped, or recognise that it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from pydantic import ValidationError

from competition.data.atomic import make_folder
from competition.data.digests import file_sha256
from competition.data.lock import folder_lock
from competition.errors import DataCupError, DivergedError, TrainingError, UsageError
from competition.progress import ProgressHook
from competition.records.training import TrainingReport
from competition.rules.recipes import Recipe
from participant_kit.train.checkpoint import RunState, newest_checkpoint, restore, save_model
from participant_kit.train.data.choice import DataChoice, keep_indexes, open_data
from participant_kit.train.data.loader import Share
from participant_kit.train.data.samples import Samples
from participant_kit.train.data.source import TrainingSet
from participant_kit.train.distributed import Group, join
from participant_kit.train.ingredients import ingredients_of
from participant_kit.train.loop import diverged, gathered_corrupt, run_steps
from participant_kit.train.machine import Machine
from participant_kit.train.report import write_report
from participant_kit.train.run import CHECKPOINTS, MODEL_FILE, REPORT_FILE, Run
from participant_kit.train.trackers import Followed, TrackerName, open_trackers
from participant_kit.train.trainer import Trainer


class FollowerError(Exception):
    """This process cannot go on, for a reason that the leader says."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained, on what, into which folder.

    Args:
        recipe: nothing of it can be overridden.
        competition: its id, named in the report.
        data: what it is trained on.
        output_dir: where the run's folder is made.
        exp_name: name of the run's folder.
        seed: of initial weights, order and augmentation.
    """

    recipe: Recipe
    competition: str
    data: DataChoice
    output_dir: Path
    exp_name: str
    seed: int = 0

    @property
    def folder(self) -> Path:
        """The run's folder.

        Raises:
            UsageError: ``exp_name`` is not one plain name.
        """
        if self.exp_name in {"", ".", ".."} or "/" in self.exp_name:
            raise UsageError(
                f"--exp-name {self.exp_name!r} is not the name of a folder.",
                hint="Give one name, without '/', as in: first",
            )
        return self.output_dir / self.exp_name


def train(
    plan: Plan,
    machine: Machine | None = None,
    *,
    track: Sequence[TrackerName] = (),
    progress: ProgressHook | None = None,
) -> TrainingReport:
    """Train a recipe on data and report; with the processes that torchrun or SLURM started together with this one.

    A killed run goes on from its newest checkpoint when it is started again; on a CPU with the same number of threads
    it ends with the same weights, bit for bit. A finished run is recognised and returned as it is.

    Args:
        plan: what is trained.
        machine: how this machine is used.
        track: where the curve can be followed, beside the log.
        progress: told where the run stands.

    Raises:
        TrainingError: no usable data, too many corrupt samples, a diverging loss, a checkpoint of another run.
        UsageError: the plan's ``exp_name`` is not one plain name, or the folder holds another finished run, or a run
            that is still going on.
        DataFormatError: a shard is damaged.
        StorageError: the disk is full; the newest checkpoint is intact.
        FollowerError: the leader has met an error and says which.
    """
    machine = machine or Machine()
    report = progress or (lambda _progress: None)
    with (
        torch.random.fork_rng(devices=[]),
        join(machine.device) as group,
        machine.thread_count() as threads,
        ExitStack() as stack,
    ):
        try:
            found: TrainingReport | TrainingSet | DataCupError = (
                _begin(plan, group, threads, report, stack) if group.leader else TrainingSet(())
            )
        except DataCupError as error:
            found = error
        # The leader may end here, with a report or an error; the others must not wait for it.
        goes_on = group.told(isinstance(found, TrainingSet))
        if not goes_on:
            return _ended(found)
        data = found if group.leader else open_data(plan.data, plan.folder, threads, report)
        assert isinstance(data, TrainingSet)
        run = prepare(plan, data, machine, threads, group, report)
        if group.leader:
            run.trackers = open_trackers(track, _followed(run, plan.exp_name))
            for tracker in run.trackers:
                stack.callback(tracker.close)
        try:
            return _finish(run, plan, run_steps(run))
        except DivergedError:  # met by all at once
            if group.leader:
                raise
            raise FollowerError from None


def _begin(
    plan: Plan, group: Group, threads: int, progress: ProgressHook, stack: ExitStack
) -> TrainingReport | TrainingSet:
    """Lock the folder and open the data; or the report of a run that is finished."""
    Share(group.rank, group.world).of(plan.recipe.global_batch)
    folder = plan.folder
    data = open_data(plan.data, folder, threads, progress)
    _steps_on(data, plan.recipe)
    make_folder(folder)
    stack.enter_context(folder_lock(folder, "is training", "--exp-name"))
    return finished(plan, data.digest) or keep_indexes(data, folder)


def _steps_on(data: TrainingSet, recipe: Recipe) -> int:
    steps = recipe.steps_on(data.sizes)
    if steps < 1:
        raise TrainingError(
            f"The data hold {len(data)} samples: recipe {recipe.id!r} would train on less than one batch of "
            f"{recipe.global_batch}.",
            hint="Give more data.",
        )
    return steps


def _ended(found: TrainingReport | TrainingSet | DataCupError) -> TrainingReport:
    if isinstance(found, DataCupError):
        raise found
    if isinstance(found, TrainingReport):
        return found
    raise FollowerError


def prepare(plan: Plan, data: TrainingSet, machine: Machine, threads: int, group: Group, progress: ProgressHook) -> Run:
    """Everything that trains, at the newest checkpoint of the plan's folder or at the beginning.

    Raises:
        TrainingError: less than a batch of data, a batch that does not divide, a checkpoint of another run.
    """
    recipe = plan.recipe
    Share(group.rank, group.world).of(recipe.global_batch)
    steps = _steps_on(data, recipe)
    ingredients = ingredients_of(recipe, data, plan.seed, group)
    trainer = Trainer(ingredients, recipe, plan.seed, group, save_memory=machine.save_memory)
    state = _first_state(plan, data)
    saved = checkpoint_of(plan, data)
    if saved is not None:
        restore(saved[0], trainer, saved[1])
        state = saved[1]
    samples = Samples(data, ingredients.preparation.decode)
    run = Run(
        recipe=recipe,
        steps=steps,
        folder=plan.folder,
        data=data,
        samples=samples,
        preparation=ingredients.preparation,
        apart=ingredients.apart,
        trainer=trainer,
        state=state,
        group=group,
        machine=machine,
        threads=threads,
        progress=progress,
        corrupt=set(state.corrupt),
    )
    samples.decode_ahead(threads, progress)
    return run


def checkpoint_of(plan: Plan, data: TrainingSet) -> tuple[Path, RunState] | None:
    """The newest checkpoint of the plan's folder, if any (raises ``TrainingError`` if it is of another run)."""
    saved = newest_checkpoint(plan.folder / CHECKPOINTS)
    if saved is None:
        return None
    wanted = _first_state(plan, data)
    for name, label in (("recipe_digest", "recipe"), ("data_digest", "data"), ("seed", "seed")):
        if getattr(saved[1], name) != getattr(wanted, name):
            raise TrainingError(
                f"The checkpoint {saved[0]} belongs to a run with another {label}.",
                hint="Choose another --exp-name, or delete the run's folder to start afresh.",
            )
    return saved


def _first_state(plan: Plan, data: TrainingSet) -> RunState:
    return RunState(
        recipe_digest=plan.recipe.digest,
        data_digest=data.digest,
        seed=plan.seed,
        steps_done=0,
        seconds=0.0,
        started_at=datetime.now(UTC),
    )


def _followed(run: Run, name: str) -> Followed:
    state = run.state
    identity = f"{state.recipe_digest} {state.data_digest} {state.seed} {state.started_at.isoformat()}"
    return Followed(run.folder, name, identity, state.steps_done, run.recipe.parameters())


def _finish(run: Run, plan: Plan, loss: float) -> TrainingReport:
    if not run.trainer.is_finite():
        raise diverged("A weight is not finite after the last step", run)
    corrupt = gathered_corrupt(run)
    report: TrainingReport | None = None
    if run.group.leader:
        save_model(run.folder / MODEL_FILE, run.trainer)
        report = write_report(run, plan.competition, loss, len(corrupt))
    return run.group.told(report)


def finished(plan: Plan, data_digest: str) -> TrainingReport | None:
    """The report of a finished run of the same thing; ``None`` when nothing is finished here.

    Raises:
        UsageError: the folder holds a finished run of something else, or a report that is none.
    """
    folder = plan.folder
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
    wanted = (plan.recipe.digest, data_digest, plan.seed)
    differences = [
        label for label, ours, theirs in zip(("recipe", "data", "seed"), wanted, found, strict=True) if ours != theirs
    ]
    if not model.exists() or file_sha256(model) != report.model_sha256:
        differences.append("model file")
    if differences:
        raise UsageError(
            f"{folder} holds a finished run with another {' and '.join(differences)}.",
            hint="Choose another --exp-name, or delete that folder to train again.",
        )
    return report
