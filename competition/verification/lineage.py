"""The lineage, which an entry may have: a sound record of how this very subset was made."""

from __future__ import annotations

from competition.errors import RejectionError, RejectionReason
from competition.records.lineage import MAX_LINEAGE_BYTES, DatasetLineage
from competition.records.manifest import FileRole
from competition.verification.entry import Entry, Findings
from competition.verification.json_document import parse_record


def check_lineage(entry: Entry) -> Findings:
    """Where there is a lineage it is one, its chain of digests holds, and its dataset is the entry's subset.

    Raises:
        RejectionError: more than one, too large, malformed, or of another subset.
    """
    if not any(file.role is FileRole.LINEAGE for file in entry.manifest.files):
        return {"files": 0}
    file, path = entry.only(FileRole.LINEAGE)
    if file.size > MAX_LINEAGE_BYTES:
        raise RejectionError(
            RejectionReason.FILE_TOO_LARGE,
            f"{file.path} has {file.size} bytes; a lineage may have at most {MAX_LINEAGE_BYTES}.",
        )
    subset, _ = entry.only(FileRole.SUBSET)
    lineage = parse_lineage(path.read_bytes(), file.path)
    check_result(lineage, file.path, subset.path, subset.sha256)
    return {"steps": len(lineage.steps)}


def parse_lineage(raw: bytes, name: str) -> DatasetLineage:
    """The lineage in the bytes of its file, which messages call ``name`` (raises ``RejectionError``)."""
    reason = RejectionReason.LINEAGE_MALFORMED
    return parse_record(DatasetLineage, raw, name=name, what="a lineage", reason=reason)


def check_result(lineage: DatasetLineage, name: str, subset: str, sha256: str) -> None:
    """Raise ``RejectionError`` when the lineage in the file ``name`` is not that of the file ``subset``."""
    told = lineage.result.subset_sha256
    if told != sha256:
        raise RejectionError(
            RejectionReason.LINEAGE_MISMATCH,
            f"{name} tells how a subset with sha256 {told} was made, but {subset} has {sha256}.",
        )
