"""What an audit runs in processes of their own, without network and without credentials: shards of a subset, and the
recipe on them. The subset and the pool's images are strangers' files; the model of the entry is not touched here.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from pydantic import Field

from competition.data.uids import UidArray, load_subset, multiplicities, save_subset, sort_uids
from competition.errors import DataFormatError, RejectionReason
from competition.progress import Progress, ProgressHook
from competition.records.base import Identifier, Record, Sha256
from competition.records.training import TrainingReport
from competition.rules import Competition, Pool, find_scale
from scorer.children import Send
from scorer.messages import Materialised, Progressed, Trained
from scorer.mirror import Mirror

SHARDS = "shards"
_TOLD_S = 1.0


class MaterialiseRequest(Record):
    """``materialise``'s request."""

    subset_sha256: Sha256
    report_sha256: Sha256 = Field(description="of the entry's training report")
    mirror: Path
    pool: Pool
    pools: Path
    output: Path
    random_seed: int | None = Field(default=None, description="of a random subset like it, in place of the subset")


class RetrainRequest(Record):
    """``retrain``'s request."""

    competition: Competition
    scale: Identifier
    shards: Path
    output: Path
    name: str
    seed: int
    threads: int | None


def materialise(raw: str, send: Send) -> None:
    """Copy the samples of a mirrored subset, or of a random one like it, out of the pool, as participants do it.

    Raises ``DataFormatError``, ``StorageError`` or ``UsageError``: the pool is damaged, absent or another one.
    """
    from competition.verification.json_document import parse_record
    from competition.verification.training import MAX_REPORT_BYTES
    from participant_kit.reshard import reshard

    request = MaterialiseRequest.model_validate_json(raw)
    mirror = Mirror(request.mirror)
    subset = mirror.verified(request.subset_sha256)
    if request.random_seed is not None:
        subset = _random_like(subset, request)
    shards = request.pools / request.pool.id / SHARDS
    if not shards.is_dir():
        raise DataFormatError(
            f"There are no shards of pool {request.pool.id!r} in {shards}.",
            hint="Training again needs the pool's images: put its shards there (`datacup pool download`).",
        )
    made = reshard(shards, request.output, subset, progress=_telling(send))
    path = mirror.verified(request.report_sha256)
    if path.stat().st_size > MAX_REPORT_BYTES:
        raise DataFormatError("The entry's training report is larger than any that was ever accepted.")
    report = parse_record(
        TrainingReport,
        path.read_bytes(),
        name="the mirrored file",
        what="a training report",
        reason=RejectionReason.MANIFEST_MALFORMED,
    )
    send(
        Materialised(
            samples=made.output_count,
            missing=made.not_found,
            entry_seed=report.seed,
            entry_data_digest=report.data.digest,
        )
    )


def retrain(raw: str, send: Send) -> None:
    """Train the scale's recipe on shards; a killed training goes on from its newest checkpoint."""
    from participant_kit.train.data.choice import DataChoice
    from participant_kit.train.launcher import Plan, train
    from participant_kit.train.machine import Machine

    request = RetrainRequest.model_validate_json(raw)
    recipe = request.competition.recipe_of(find_scale(request.competition, request.scale))
    data = DataChoice((str(request.shards),))
    plan = Plan(recipe, request.competition.id, data, request.output, request.name, request.seed)
    send(Trained(report=train(plan, Machine(threads=request.threads), progress=_telling(send))))


def random_subset(pool: UidArray, subset: UidArray, seed: int) -> UidArray:
    """A random subset of ``pool`` (sorted, distinct) with as many distinct uids as ``subset``, as often repeated."""
    _, copies = multiplicities(subset)
    generator = np.random.default_rng(seed)
    drawn = pool[generator.choice(len(pool), size=len(copies), replace=False)]
    return sort_uids(np.repeat(drawn, generator.permutation(copies)))


def _random_like(subset: Path, request: MaterialiseRequest) -> Path:
    from scorer.pool_index import indexed_uids

    assert request.random_seed is not None
    pool = indexed_uids(request.pool, request.pools, request.mirror / "pool-index")
    path = request.output.parent / "subset.npy"
    save_subset(path, random_subset(pool, load_subset(subset), request.random_seed))
    return path


def _telling(send: Send) -> ProgressHook:
    """Says where the work stands, at most once a second: silence means that it hangs."""
    told = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _TOLD_S:
            told = time.monotonic()
            send(Progressed(stage=progress.stage, done=progress.done, total=progress.total))

    return tell
