"""The named checks in their order: the cheap ones first, each relying on those before it; and what they leave open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from competition.records.manifest import SubmissionManifest
from competition.rules import Competition, EntryKind
from competition.verification.contamination import check_contamination
from competition.verification.entry import Entry, Findings
from competition.verification.evaluation_report import check_evaluation
from competition.verification.external import check_external
from competition.verification.files import check_digests, locate
from competition.verification.lineage import check_lineage
from competition.verification.manifest import check_listing, check_names, check_rules, check_texts, read_manifest
from competition.verification.model import check_model_header, check_model_weights
from competition.verification.predictions import check_predictions
from competition.verification.subset import check_subset
from competition.verification.training import check_training, check_training_data

if TYPE_CHECKING:
    from competition.data.uids import UidArray

Check = Callable[[Entry], Findings | None]
"""Raises ``RejectionError``, or tells what it found, if that is more than its name says."""

_OF_ALL: tuple[tuple[str, Check], ...] = (
    ("rules", check_rules),
    ("texts", check_texts),
    ("listing", check_listing),
    ("digests", check_digests),
)
CHECKS: dict[EntryKind, tuple[tuple[str, Check], ...]] = {
    EntryKind.MODEL: (
        *_OF_ALL,
        ("training", check_training),
        ("evaluation", check_evaluation),
        ("lineage", check_lineage),
        ("subset", check_subset),
        ("external-data", check_external),
        ("training-data", check_training_data),
        ("model-header", check_model_header),
        ("model-weights", check_model_weights),
        ("contamination", check_contamination),
    ),
    EntryKind.PREDICTIONS: (*_OF_ALL, ("predictions", check_predictions)),
}

MEMBERSHIP = (
    "whether every uid of the subset is of the pool, which is not at hand "
    "(datacup: --metadata-dir; datacup-scorer: DATACUP_POOLS)"
)
SCORER_ONLY: dict[EntryKind, tuple[str, ...]] = {
    EntryKind.MODEL: (
        "whether the weights are nearly those of another submission",
        "whether images of the subset are images of an evaluation set too",
        "the results: the scorer evaluates the model itself",
    ),
    EntryKind.PREDICTIONS: (
        "whether the columns are in order, best class first: only the labels show it",
        "the results: the scorer counts them itself",
    ),
}
"""What stays unchecked on any machine but the scorer's, because nobody else has what it takes, in words."""


def run_checks(
    entry: Entry,
    on_check: Callable[[str], None] = lambda _name: None,
    on_passed: Callable[[str, Findings], None] = lambda _name, _found: None,
) -> None:
    """Run every check of its kind of entry; ``on_check`` hears the name of each as it begins, ``on_passed`` what it
    found when it passed.

    Raises ``RejectionError``.
    """
    for name, check in CHECKS[entry.kind]:
        on_check(name)
        on_passed(name, check(entry) or {})


def check_submission(
    folder: Path,
    competition: Competition,
    pool_uids: UidArray | None,
    on_check: Callable[[str], None] = lambda _name: None,
    on_passed: Callable[[str, Findings], None] = lambda _name, _found: None,
) -> SubmissionManifest:
    """Check a local submission folder as the scorer will; loads torch to know a recipe's model.

    Args:
        folder: holds ``submission.json`` and the files that it lists.
        competition: the rules that the entry claims to follow.
        pool_uids: the pool's uids, sorted, dtype ``u8,u8``; None skips the check that the subset is part of the pool.
        on_check: hears the name of each check as it begins.
        on_passed: hears what each check found when it passed.

    Raises:
        RejectionError: the entry breaks a rule; reason and message are those that the scorer would give.
    """
    manifest = read_manifest(folder)
    check_names(manifest)
    run_checks(Entry(manifest, competition, locate(folder, manifest), pool_uids), on_check, on_passed)
    return manifest
