"""What a process without credentials tells the scorer's main process, one JSON document a message.

The main process trusts nothing here: every message is parsed as one of these, whatever a hostile entry may have made of
the process that sent it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from competition.errors import RejectionReason
from competition.records.base import FileName, Record, Sha256
from competition.records.evaluation import TaskResult
from competition.records.manifest import SubmissionManifest
from competition.records.overlap import TaskOverlap
from competition.records.scoring import NearCopy
from competition.records.training import TrainingReport


class Ready(Record):
    """The process has started; its time limit begins."""

    kind: Literal["ready"] = "ready"


class Checking(Record):
    """A named check begins."""

    kind: Literal["checking"] = "checking"
    check: str


class Mirrored(Record):
    """The entry's files are in the mirror."""

    kind: Literal["mirrored"] = "mirrored"
    manifest: SubmissionManifest


class NearCopyFound(Record):
    """The entry's model is nearly that of another submission; whose that is, only the leaderboard knows."""

    kind: Literal["near_copy"] = "near_copy"
    copy_of: NearCopy


class DevicesFound(Record):
    """The GPUs that PyTorch sees, by identities that are the same for every process of the machine."""

    kind: Literal["devices_found"] = "devices_found"
    devices: tuple[str, ...]


class Compared(Record):
    """The test images that entries are compared with are described, in a file of this name."""

    kind: Literal["compared"] = "compared"
    index: FileName


class Overlap(Record):
    """What the entry's data have of a task's test images."""

    kind: Literal["overlap"] = "overlap"
    overlap: TaskOverlap


class TaskStarted(Record):
    """A task's evaluation begins."""

    kind: Literal["task_started"] = "task_started"
    task: str


class TaskFinished(Record):
    """A task's result."""

    kind: Literal["task_finished"] = "task_finished"
    result: TaskResult
    reported_gap: float | None = Field(default=None, description="what the entry's own report says, less ``result``")


class Progressed(Record):
    """Long work goes on."""

    kind: Literal["progressed"] = "progressed"
    stage: str
    done: int
    total: int


class Materialised(Record):
    """The samples of a subset are shards now."""

    kind: Literal["materialised"] = "materialised"
    samples: int = Field(ge=1, description="copies counted")
    missing: int = Field(ge=0, description="of the subset, that the pool's shards here lack")
    entry_seed: int | None = Field(default=None, description="as the entry's training report says")
    entry_data_digest: Sha256 | None = Field(default=None, description="likewise")


class Trained(Record):
    """A training is finished."""

    kind: Literal["trained"] = "trained"
    report: TrainingReport


class Done(Record):
    """The process did all that was asked; its last message."""

    kind: Literal["done"] = "done"


class Rejected(Record):
    """The entry is at fault; the process' last message."""

    kind: Literal["rejected"] = "rejected"
    reason: RejectionReason
    message: str


class Failed(Record):
    """The platform is at fault; the process' last message."""

    kind: Literal["failed"] = "failed"
    message: str
    hint: str = ""


class Damaged(Record):
    """A file of the mirror is not what its name says. The main process looks for itself."""

    kind: Literal["damaged"] = "damaged"
    sha256: Sha256


Message = (
    Ready
    | Checking
    | Mirrored
    | NearCopyFound
    | DevicesFound
    | Compared
    | Overlap
    | TaskStarted
    | TaskFinished
    | Progressed
    | Materialised
    | Trained
    | Done
    | Rejected
    | Failed
    | Damaged
)
FINAL = (Done, Rejected, Failed)

_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def parse(raw: bytes) -> Message:
    """Raises ``pydantic.ValidationError`` when ``raw`` is none of the messages."""
    return _MESSAGES.validate_json(raw)
