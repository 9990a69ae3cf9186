"""The checks that every entry must pass before it is scored; the same code for participants and the scorer.

``check_submission`` checks a folder; the scorer composes the named checks of ``checks`` with what only it knows (the
registration, the mirror). Each check raises ``RejectionError`` with a sentence that names file, expected and found.
"""

from competition.verification.checks import CHECKS, check_submission, run_checks
from competition.verification.entry import Entry
from competition.verification.manifest import MAX_MANIFEST_BYTES, parse_manifest
from competition.verification.subset import check_members

__all__ = [
    "CHECKS",
    "MAX_MANIFEST_BYTES",
    "Entry",
    "check_members",
    "check_submission",
    "parse_manifest",
    "run_checks",
]
