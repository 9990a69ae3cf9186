"""External data of an entry: as many tables and shards as fit, each sound, and the counts that the manifest claims."""

from __future__ import annotations

from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import MANIFEST_NAME, FileRole
from competition.verification.entry import Entry, Findings
from competition.verification.external_shards import check_shard
from competition.verification.external_table import check_table

EXTERNAL = (FileRole.EXTERNAL_TABLE, FileRole.EXTERNAL_SHARD)


def check_external_sizes(entry: Entry) -> None:
    """Number and bytes of the files, as the manifest lists them (raises ``RejectionError``)."""
    limits = entry.competition.limits.external
    files = [file for file in entry.manifest.files if file.role in EXTERNAL]
    total = sum(file.size for file in files)
    for found, allowed, what in ((len(files), limits.files, "files"), (total, limits.total_bytes, "bytes")):
        if found > allowed:
            raise RejectionError(
                RejectionReason.FILE_TOO_LARGE,
                f"{MANIFEST_NAME} lists {found} {what} of external data; at most {allowed} are allowed.",
            )


def check_external(entry: Entry) -> Findings:
    """Tables and shards are sound but for the pixels, and hold what the manifest says.

    Raises:
        RejectionError: one is malformed, there are too many samples, or another number than claimed.
    """
    limits = entry.competition.limits.external
    left = limits.samples
    rows = samples = 0
    for file, path in entry.all(FileRole.EXTERNAL_TABLE):
        rows += check_table(path, file.path, left - rows)
        entry.beat()
    for file, path in entry.all(FileRole.EXTERNAL_SHARD):
        samples += check_shard(path, file.path, limits, left - rows - samples)
        entry.beat()
    for field, claimed, found in (
        ("external_rows", entry.manifest.external_rows, rows),
        ("external_samples", entry.manifest.external_samples, samples),
    ):
        if (claimed or 0) != found:
            raise RejectionError(
                RejectionReason.EXTERNAL_COUNT_MISMATCH,
                f"{MANIFEST_NAME} says {field} = {claimed}, but the external data have {found}.",
            )
    if not rows and not samples:
        return {}
    return {"external_rows": rows, "external_samples": samples}
