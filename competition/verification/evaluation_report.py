"""The evaluation report, which an entry may have: what its authors measured, of this very model and suite.

The scorer evaluates again, and what counts is what it finds; the report is there to be compared with that.
"""

from __future__ import annotations

from competition.errors import RejectionError, RejectionReason
from competition.records.evaluation import EvaluationReport
from competition.records.manifest import FileRole
from competition.verification.entry import Entry, Findings
from competition.verification.json_document import parse_record

# The 38 tasks of DataComp's suite, every image's outcome included, take under a million.
MAX_EVALUATION_BYTES = 8_000_000


def check_evaluation(entry: Entry) -> Findings:
    """Where there is an evaluation report it is one, of the entry's model under the competition's suite.

    Raises:
        RejectionError: more than one, too large, malformed, or of another model or suite.
    """
    if not any(file.role is FileRole.EVALUATION_REPORT for file in entry.manifest.files):
        return {"files": 0}
    file, path = entry.only(FileRole.EVALUATION_REPORT)
    if file.size > MAX_EVALUATION_BYTES:
        raise RejectionError(
            RejectionReason.FILE_TOO_LARGE,
            f"{file.path} has {file.size} bytes; an evaluation report may have at most {MAX_EVALUATION_BYTES}.",
        )
    report = parse_evaluation(path.read_bytes(), file.path)
    model, _ = entry.only(FileRole.MODEL)
    for field, expected, found in (
        ("model_sha256", model.sha256, report.model_sha256),
        ("suite_digest", entry.competition.suite.digest, report.suite_digest),
    ):
        if expected != found:
            raise RejectionError(
                RejectionReason.EVALUATION_MISMATCH,
                f"{file.path}: {field} is {found}, but this entry's is {expected}.",
            )
    return {"tasks": len(report.results)}


def parse_evaluation(raw: bytes, name: str) -> EvaluationReport:
    """The report in the bytes of its file, which messages call ``name`` (raises ``RejectionError``)."""
    reason = RejectionReason.EVALUATION_MALFORMED
    return parse_record(EvaluationReport, raw, name=name, what="an evaluation report", reason=reason)
