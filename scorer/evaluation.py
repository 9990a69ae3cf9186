"""Evaluation of an entry with the official code, task by task, in a process without credentials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from competition.errors import EngineError, ModelOutputError, PredictionsError, RejectionError, RejectionReason
from competition.records.base import Identifier, Record, Sha256
from competition.records.evaluation import EvaluationReport
from competition.rules import Competition, EntryKind, find_scale, find_track
from competition.verification.evaluation_report import MAX_EVALUATION_BYTES, parse_evaluation
from competition.verification.self_report import reported_gap
from scorer.children import Send
from scorer.messages import TaskFinished, TaskStarted
from scorer.mirror import Mirror

if TYPE_CHECKING:
    import torch

    from competition.evaluation.protocols import Subject


class EvaluateRequest(Record):
    """``evaluate_entry``'s request."""

    competition: Competition
    track: Identifier
    scale: Identifier
    tasks: tuple[Identifier, ...]
    reported_sha256: Sha256 | None = Field(default=None, description="of the entry's own evaluation report")
    judged_sha256: Sha256 = Field(description="of the model, or of the predictions, as the track takes")
    mirror: Path
    evaluation: Path
    threads: int = Field(ge=1)
    device: int | None = Field(default=None, ge=0, description="number of the GPU that was given to it; None: the CPU")
    visible: str | None = Field(
        default=None, description="what CUDA_VISIBLE_DEVICES is set to: the number counts these; None: left as it is"
    )


class SetsRequest(Record):
    """``prepare_sets``' request."""

    suite: Identifier
    evaluation: Path


def prepare_sets(raw: str, _send: Send) -> None:
    """Make the evaluation sets that are made from code, where they are absent; no entry is read."""
    from competition.evaluation.sets import ensure_sets

    request = SetsRequest.model_validate_json(raw)
    ensure_sets(request.suite, request.evaluation)


def evaluate_entry(raw: str, send: Send) -> None:
    """Evaluate the mirrored model or predictions on each task and send each result as soon as it is there.

    Raises ``RejectionError`` when the model yields something that is not finite, or when the labels show that the
    predictions are out of order; ``EvaluationError`` or ``StorageError`` when an evaluation set or the mirror cannot be
    used.
    """
    import torch

    from competition.evaluation.peak_memory import device_name
    from competition.evaluation.run import evaluate_task

    request = EvaluateRequest.model_validate_json(raw)
    torch.set_num_threads(request.threads)
    suite = request.competition.suite
    device = _device(request)
    subject, report = _subject(request, device), _report(request)
    name = device_name(device)
    for task_id in request.tasks:
        send(TaskStarted(task=task_id))
        try:
            result = evaluate_task(subject, suite.task(task_id), suite, request.evaluation)
        except ModelOutputError as error:
            # Finite weights can still overflow: no other attempt would end differently.
            raise RejectionError(RejectionReason.MODEL_NOT_FINITE, f"Task {task_id!r}: {error.message}") from error
        except PredictionsError as error:
            # The order of the columns shows against the labels alone.
            raise RejectionError(error.reason, f"Task {task_id!r}: {error.message}") from error
        gap = reported_gap(report, result) if report is not None else None
        send(TaskFinished(result=result.model_copy(update={"device": name}), reported_gap=gap))


def _report(request: EvaluateRequest) -> EvaluationReport | None:
    """What the entry says of itself, where the mirror here has it: there is nothing to score in it."""
    if request.reported_sha256 is None:
        return None
    path = Mirror(request.mirror).path(request.reported_sha256)
    if not path.exists() or path.stat().st_size > MAX_EVALUATION_BYTES:
        return None
    try:
        return parse_evaluation(path.read_bytes(), "the evaluation report")
    except RejectionError:
        # Verified before reports were: what an old entry says of itself changes nothing about its scores.
        return None


def _device(request: EvaluateRequest) -> torch.device:
    """The device that was given to this process and to no other; never one that happens to be there."""
    import torch

    if request.device is None:
        return torch.device("cpu")
    if request.visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = request.visible
    if torch.cuda.device_count() <= request.device:
        raise EngineError(
            "The GPU that an evaluation was given is not seen by PyTorch in its process.",
            hint="`datacup-scorer doctor` says what PyTorch sees on this machine.",
        )
    torch.cuda.set_device(request.device)
    return torch.device("cuda", request.device)


def _subject(request: EvaluateRequest, device: torch.device) -> Subject:
    """What the entry has to be judged by; a model is loaded once for all tasks."""
    from competition.evaluation.encoders import load_encoder
    from competition.evaluation.protocols import Subject

    competition = request.competition
    judged = Mirror(request.mirror).verified(request.judged_sha256)
    if find_track(competition, request.track).entry is EntryKind.PREDICTIONS:
        return Subject(predictions=judged)
    recipe = competition.clip_recipe_of(find_scale(competition, request.scale))
    return Subject(load_encoder(recipe, judged, device, competition.suite.precision))
