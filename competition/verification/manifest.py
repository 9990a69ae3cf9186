"""Reading ``submission.json``: size, schema, paths, and whether it fits the competition."""

from __future__ import annotations

import errno
import re
from pathlib import Path, PurePosixPath

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from competition.errors import RejectionError, RejectionReason
from competition.records.manifest import MANIFEST_NAME, FileRole, SubmissionManifest
from competition.rules import EntryKind
from competition.verification.entry import Entry, Findings, shown
from competition.verification.external import EXTERNAL, check_external_sizes
from competition.verification.json_document import UnreadableJsonError, read_json, told

MAX_MANIFEST_BYTES = 1_000_000

# What a browser reads as the beginning of a tag, a comment or a declaration.
_MARKUP = re.compile(r"<[A-Za-z/!?]")
# An entry is data: a name that promises anything else (a pickle above all) is refused before the file is fetched.
_SUFFIXES = {
    FileRole.SUBSET: {".npy"},
    FileRole.MODEL: {".safetensors"},
    FileRole.TRAINING_REPORT: {".json"},
    FileRole.TRAINING_LOG: {".jsonl"},
    FileRole.EVALUATION_REPORT: {".json"},
    FileRole.RESULTS: {".jsonl"},
    FileRole.CARD: {".md"},
    FileRole.LINEAGE: {".json"},
    FileRole.PREDICTIONS: {".npz"},
    FileRole.EXTERNAL_TABLE: {".parquet"},
    FileRole.EXTERNAL_SHARD: {".tar"},
}
_NEEDED = {
    EntryKind.MODEL: (FileRole.MODEL, FileRole.TRAINING_REPORT),
    EntryKind.PREDICTIONS: (FileRole.PREDICTIONS,),
}
_OF_A_POOL = frozenset(FileRole) - {FileRole.PREDICTIONS, *EXTERNAL}
_PERMITTED = {
    EntryKind.MODEL: _OF_A_POOL,
    EntryKind.PREDICTIONS: frozenset({FileRole.PREDICTIONS, FileRole.CARD}),
}


def parse_manifest(raw: bytes) -> SubmissionManifest:
    """The manifest from the bytes of its file.

    Raises:
        RejectionError: too large, not JSON, not the promised fields, a path that leaves the folder; the message names
            the field.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise manifest_too_large(len(raw))
    try:
        document = read_json(raw)
    except UnreadableJsonError as error:
        raise RejectionError(RejectionReason.MANIFEST_MALFORMED, f"{MANIFEST_NAME}: {error}.") from error
    try:
        return SubmissionManifest.model_validate(document)
    except ValidationError as error:
        raise _rejection(error.errors(include_url=False, include_context=False)) from error


def read_manifest(folder: Path) -> SubmissionManifest:
    """The manifest of a submission folder (raises ``RejectionError``, also when there is none)."""
    path = folder / MANIFEST_NAME
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is not a plain file")  # to open a pipe would mean to wait for its writer
        with path.open("rb") as stream:
            raw = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise RejectionError(
            RejectionReason.MANIFEST_MISSING, f"{folder} holds no readable {MANIFEST_NAME} ({error.strerror})."
        ) from error
    if len(raw) > MAX_MANIFEST_BYTES:
        raise manifest_too_large(path.stat().st_size)
    return parse_manifest(raw)


def manifest_too_large(size: int) -> RejectionError:
    """The rejection of a manifest of ``size`` bytes."""
    return RejectionError(
        RejectionReason.MANIFEST_MALFORMED,
        f"{MANIFEST_NAME} has {size} bytes; at most {MAX_MANIFEST_BYTES} are read.",
    )


def check_rules(entry: Entry) -> Findings:
    """The manifest names this competition and its version, a track and scale of it, and their recipe and suite."""
    manifest, competition = entry.manifest, entry.competition
    suite = competition.suite
    expectations: list[tuple[str, object, object]] = [
        ("competition", competition.id, manifest.competition),
        ("competition_version", competition.version, manifest.competition_version),
        ("suite", suite.reference, manifest.suite),
        ("suite_digest", suite.digest, manifest.suite_digest),
    ]
    for field, expected, found in expectations:
        if expected != found:
            raise mismatch(field, expected, found)
    for field in _counts_of_absent_data(entry):
        if getattr(manifest, field) is not None:
            raise mismatch(field, None, getattr(manifest, field))
    scale, expected = entry.scale, competition.training_digest(entry.scale)
    if manifest.recipe_digest != expected:
        trained = "no recipe (the digest of null)" if scale.recipe is None else f"recipe {scale.recipe!r}"
        raise RejectionError(
            RejectionReason.RECIPE_MISMATCH,
            f"{MANIFEST_NAME}: recipe_digest is {manifest.recipe_digest}, but {trained} of scale {scale.id!r} has "
            f"{expected}.",
        )
    return {
        "competition": f"{competition.id}@{competition.version}",
        "track": entry.track.id,
        "scale": scale.id,
        "suite": suite.reference,
        "suite_digest": suite.digest,
        "recipe_digest": expected,
    }


def _counts_of_absent_data(entry: Entry) -> list[str]:
    """Fields of the manifest that count what this entry has not."""
    roles = {file.role for file in entry.manifest.files}
    none: list[str] = []
    if entry.kind is EntryKind.PREDICTIONS or (entry.own and FileRole.SUBSET not in roles):
        none += ["subset_samples", "subset_unique"]
    return none if entry.own else [*none, "external_rows", "external_samples"]


def check_texts(entry: Entry) -> None:
    """Names and description are plain text: pages, feeds and cards of other programs show them too, escaped or not."""
    for field in ("method_name", "author", "description"):
        text = getattr(entry.manifest, field)
        found = _MARKUP.search(text)
        if found:
            raise RejectionError(
                RejectionReason.MANIFEST_MALFORMED,
                f"{MANIFEST_NAME}: {field} has {shown(text[found.start() : found.start() + 20])}, which reads as HTML; "
                "write plain text, and a space after a < that means less.",
            )


def mismatch(field: str, expected: object, found: object) -> RejectionError:
    """The rejection of a manifest whose ``field`` is not what it must be."""
    return RejectionError(
        RejectionReason.MANIFEST_MISMATCH,
        f"{MANIFEST_NAME}: {field} is {shown(found)}, but this entry's is {shown(expected)}.",
    )


def check_listing(entry: Entry) -> Findings:
    """The files that an entry of this kind has, one of each, and no others; plain names of the expected types; sizes
    within the limits."""
    for role in _NEEDED[entry.kind]:
        entry.only(role)
    roles = {file.role for file in entry.manifest.files}
    if entry.kind is EntryKind.MODEL and (
        FileRole.SUBSET in roles or not roles.intersection(EXTERNAL) or not entry.own
    ):
        entry.only(FileRole.SUBSET)
    permitted = _PERMITTED[entry.kind].union(EXTERNAL if entry.own else ())
    for file in entry.manifest.files:
        if file.role not in permitted:
            raise RejectionError(
                RejectionReason.MANIFEST_MALFORMED,
                f"{MANIFEST_NAME} lists {shown(file.path)} of role {file.role.value!r}, which is no part of an entry "
                f"of track {entry.track.id!r}.",
            )
    check_names(entry.manifest)
    check_sizes(entry)
    check_external_sizes(entry)
    return {"files": len(entry.manifest.files), "bytes": sum(file.size for file in entry.manifest.files)}


def check_names(manifest: SubmissionManifest) -> None:
    """No listed file hides, stands for the manifest, or has a type that its role does not have."""
    for file in manifest.files:
        path = PurePosixPath(file.path)
        if any(part.startswith(".") for part in path.parts) or path.name == MANIFEST_NAME:
            raise _not_allowed(file.path, "hidden files and the manifest itself may not be listed")
        if path.suffix not in _SUFFIXES[file.role]:
            allowed = " or ".join(sorted(_SUFFIXES[file.role]))
            raise _not_allowed(file.path, f"a file of role {file.role.value!r} must end in {allowed}")


def check_sizes(entry: Entry) -> None:
    """The number of files, each file and their sum stay within the competition's limits."""
    limits = entry.competition.limits
    files = entry.manifest.files
    if len(files) > limits.files:
        raise _too_large(f"{MANIFEST_NAME} lists {len(files)} files; this competition takes at most {limits.files}.")
    for file in files:
        if file.size > limits.file_bytes:
            raise _too_large(f"{file.path} has {file.size} bytes; a file may have at most {limits.file_bytes}.")
    total = sum(file.size for file in files)
    if total > limits.total_bytes:
        raise _too_large(f"The entry has {total} bytes in all; at most {limits.total_bytes} are allowed.")


def _rejection(errors: list[ErrorDetails]) -> RejectionError:
    """One sentence about the first problem; a path that leaves the folder goes before any other."""
    for error in errors:
        if error["loc"][:1] == ("files",) and (error["loc"][2:] == ("path",) or error["type"] == "value_error"):
            value = error["input"]
            path = value.get("path") if isinstance(value, dict) else value
            return _not_allowed(path, "a path is relative, without .. and of plain characters")
    more = f" ({len(errors) - 1} more problems follow)" if len(errors) > 1 else ""
    return RejectionError(RejectionReason.MANIFEST_MALFORMED, f"{MANIFEST_NAME}: {told(errors[0])}{more}.")


def _not_allowed(path: object, why: str) -> RejectionError:
    return RejectionError(RejectionReason.PATH_NOT_ALLOWED, f"{MANIFEST_NAME} lists the file {shown(path)}, but {why}.")


def _too_large(message: str) -> RejectionError:
    return RejectionError(RejectionReason.FILE_TOO_LARGE, message)
