"""Evaluation of an entry with the official code, task by task, in a process without credentials."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from competition.errors import ModelOutputError, RejectionError, RejectionReason
from competition.records.base import Identifier, Record, Sha256
from competition.rules import Competition, find_scale
from scorer.children import Send
from scorer.messages import TaskFinished, TaskStarted
from scorer.mirror import Mirror


class EvaluateRequest(Record):
    """``evaluate_entry``'s request."""

    competition: Competition
    scale: Identifier
    tasks: tuple[Identifier, ...]
    model_sha256: Sha256
    mirror: Path
    evaluation: Path
    threads: int = Field(ge=1)


def evaluate_entry(raw: str, send: Send) -> None:
    """Evaluate the mirrored model on each task and send each result as soon as it is there.

    Raises ``RejectionError`` when the model yields something that is not finite, ``EvaluationError`` or
    ``StorageError`` when an evaluation set or the mirror cannot be used.
    """
    import torch

    from competition.evaluation.encoders import load_encoder
    from competition.evaluation.protocols import Subject
    from competition.evaluation.run import evaluate_task
    from competition.evaluation.sets import ensure_sets

    request = EvaluateRequest.model_validate_json(raw)
    torch.set_num_threads(request.threads)
    competition = request.competition
    recipe = competition.clip_recipe_of(find_scale(competition, request.scale))
    suite = competition.suite
    ensure_sets(suite.id, request.evaluation)
    weights = Mirror(request.mirror).verified(request.model_sha256)
    subject = Subject(load_encoder(recipe, weights, precision=suite.precision))
    for task_id in request.tasks:
        send(TaskStarted(task=task_id))
        try:
            result = evaluate_task(subject, suite.task(task_id), suite, request.evaluation)
        except ModelOutputError as error:
            # Finite weights can still overflow: no other attempt would end differently.
            raise RejectionError(RejectionReason.MODEL_NOT_FINITE, f"Task {task_id!r}: {error.message}") from error
        send(TaskFinished(result=result))
