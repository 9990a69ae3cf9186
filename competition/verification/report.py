"""What checking a folder came to, for people and programs: `datacup check` and `datacup-scorer verify` say the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from competition.errors import RejectionError, RejectionReason
from competition.records.base import Record
from competition.records.manifest import FileRole, SubmissionManifest
from competition.rules import Competition, Pool, find_competition, find_track
from competition.verification.checks import MEMBERSHIP, SCORER_ONLY, check_submission
from competition.verification.entry import Findings
from competition.verification.manifest import read_manifest

if TYPE_CHECKING:
    from competition.data.uids import UidArray

BEFORE_CHECKS = "manifest"
"""What goes before the named checks: that there is a manifest, and that it lists plain files."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN_DIGITS = 12


class PassedCheck(Record):
    """A check that passed, and what it found."""

    name: str
    found: dict[str, int | str]


class FailedCheck(Record):
    """The check that refused the entry; reason, message and hint are those that the scorer would give."""

    name: str
    reason: RejectionReason
    message: str
    hint: str


class CheckReport(Record):
    """All checks up to the first that refused the entry, and what no check here looks at."""

    schema_version: Literal[1] = 1
    valid: bool
    passed: tuple[PassedCheck, ...]
    failed: FailedCheck | None
    unchecked: tuple[str, ...]

    def require_valid(self) -> None:
        """Raise ``RejectionError`` as the check did that refused the entry."""
        if self.failed is not None:
            raise RejectionError(self.failed.reason, self.failed.message)

    def lines(self) -> dict[str, str]:
        """A line of words for every check, by its name; digests are shown by their first digits."""
        shown = {each.name: ", ".join(map(_words, each.found, each.found.values())) or "ok" for each in self.passed}
        if self.failed is not None:
            shown[self.failed.name] = f"refused: {self.failed.reason.value}"
        return shown


def report_on_folder(
    folder: Path, competition: str, known_uids: Callable[[Pool, SubmissionManifest], UidArray | None]
) -> CheckReport:
    """Report on a submission folder that is there already.

    Args:
        folder: holds ``submission.json``.
        competition: a built-in competition or a YAML file; empty: the one that the manifest names.
        known_uids: the uids of the pool, sorted, or at least those that the folder's subset has; None without the pool.

    Raises:
        UsageError: there is no such competition.
        RulesError: its file is malformed.
    """
    try:
        manifest = read_manifest(folder)
    except RejectionError as error:
        return refused(error, BEFORE_CHECKS)
    rules = find_competition(competition or manifest.competition)
    # Of a scale that does not exist the checks tell; it has no pool.
    pool = next((scale.pool for scale in rules.scales if scale.id == manifest.scale), None)
    return report_on(folder, rules, None if pool is None else known_uids(pool, manifest))


def report_on(folder: Path, competition: Competition, pool_uids: UidArray | None) -> CheckReport:
    """Check a local submission folder as the scorer will (see ``check_submission``), and report instead of raising."""
    begun, passed = [BEFORE_CHECKS], list[PassedCheck]()

    def note(name: str, found: Findings) -> None:
        passed.append(PassedCheck(name=name, found=dict(found)))

    try:
        manifest = check_submission(folder, competition, pool_uids, begun.append, note)
    except RejectionError as error:
        return refused(error, begun[-1], tuple(passed))
    kind = find_track(competition, manifest.track).entry
    without_pool = pool_uids is None and any(file.role is FileRole.SUBSET for file in manifest.files)
    unchecked = (*([MEMBERSHIP] if without_pool else []), *SCORER_ONLY[kind])
    return CheckReport(valid=True, passed=tuple(passed), failed=None, unchecked=unchecked)


def refused(error: RejectionError, check: str, passed: tuple[PassedCheck, ...] = ()) -> CheckReport:
    """The report on an entry that ``check`` refused: what comes after it was not looked at."""
    failed = FailedCheck(name=check, reason=error.reason, message=error.message, hint=error.hint)
    return CheckReport(valid=False, passed=passed, failed=failed, unchecked=())


def _words(name: str, value: int | str) -> str:
    label = name if "." in name else name.replace("_", " ")  # a file's name stays as it is
    if isinstance(value, int):
        return f"{value:,} {label}"
    return f"{label} {value[:_SHOWN_DIGITS] if _DIGEST.fullmatch(value) else value}"
