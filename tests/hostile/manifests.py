"""Hostile manifests: their bytes, their texts, their claims, and the paths that they list."""

from __future__ import annotations

import json
from collections.abc import Callable

from competition.errors import RejectionReason
from competition.records.manifest import FileRole
from tests.competition.verification.entries import TinyEntry
from tests.hostile.case import Hostile, listed, seal_raw, seal_with

R = RejectionReason
Make = Callable[[TinyEntry], object]


def _claims(**changes: object) -> Make:
    return lambda entry: seal_with(entry, **changes)


def _path(path: str) -> Make:
    """The model is said to lie there."""
    return lambda entry: seal_with(entry, files=listed(entry, path=path))


def _line(**changes: object) -> Make:
    """The model's line says something else of it."""
    return lambda entry: seal_with(entry, files=listed(entry, **changes))


def _bytes(content: bytes) -> Make:
    return lambda entry: seal_raw(entry, content)


def _utf16(entry: TinyEntry) -> None:
    seal_raw(entry, json.dumps(entry.manifest()).encode("utf-16"))


def _twice(entry: TinyEntry) -> None:
    files = entry.manifest()["files"]
    seal_with(entry, files=[*files, files[0]])


def _million_mistakes(entry: TinyEntry) -> None:
    """A megabyte of empty objects: every one lacks four members."""
    seal_raw(entry, json.dumps(entry.manifest()).encode()[:-1] + b', "files": [' + b"{}," * 320_000 + b"{}]}")


def _many_unknown(entry: TinyEntry) -> None:
    seal_with(entry, **{f"{number:x}": 0 for number in range(60_000)})


def _many_lines(entry: TinyEntry) -> None:
    line = {"path": "a.md", "role": "card", "size": 1, "sha256": "0" * 64}
    seal_with(entry, files=[{**line, "path": f"{number}.md"} for number in range(2000)])


def _no_manifest(entry: TinyEntry) -> None:
    entry.seal()
    (entry.folder / "submission.json").rename(entry.folder / "Submission.json")


def _file_missing(entry: TinyEntry) -> None:
    entry.seal()
    (entry.folder / "README.md").unlink()


def _changed(entry: TinyEntry) -> None:
    """One bit of the model is another one than when the manifest was written."""
    entry.seal()
    path = entry.folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _grown(entry: TinyEntry) -> None:
    entry.seal()
    with (entry.folder / "README.md").open("ab") as stream:
        stream.write(b"<script src=//evil.example></script>")


def _huge_file(entry: TinyEntry) -> None:
    """Nine megabytes where eight are allowed; it must not even be fetched."""
    with (entry.folder / "big.md").open("wb") as stream:
        stream.truncate(9_000_000)
    entry.roles["big.md"] = FileRole.CARD
    entry.seal()


def _many_files(entry: TinyEntry) -> None:
    for number in range(9):
        (entry.folder / f"{number}.md").write_text("a")
        entry.roles[f"{number}.md"] = FileRole.CARD
    entry.seal()


def _two_models(entry: TinyEntry) -> None:
    (entry.folder / "second.safetensors").write_bytes((entry.folder / "model.safetensors").read_bytes())
    entry.roles["second.safetensors"] = FileRole.MODEL
    entry.seal()


def _inside_a_file(entry: TinyEntry) -> None:
    """A path through a file of the entry, as if that were a folder."""
    seal_with(entry, files=listed(entry, path="README.md/model.safetensors"))


CASES: dict[str, Hostile[TinyEntry]] = {
    "no manifest, but one by another case": Hostile(R.MANIFEST_MISSING, "no submission.json", _no_manifest),
    "not JSON": Hostile(R.MANIFEST_MALFORMED, "Invalid JSON", _bytes(b"\x80\x04\x95pickle.")),
    "UTF-16": Hostile(R.MANIFEST_MALFORMED, "Invalid JSON", _utf16),
    "a megabyte and a byte": Hostile(R.MANIFEST_MALFORMED, "at most 1000000 are read", _bytes(b" " * 1_000_001)),
    "nested a hundred thousand deep": Hostile(R.MANIFEST_MALFORMED, "objects and lists", _bytes(b"[" * 100_000)),
    "nested a thousand deep": Hostile(
        R.MANIFEST_MALFORMED, "Invalid JSON", _bytes(b'{"a":' * 1000 + b"1" + b"}" * 1000)
    ),
    "a million mistakes": Hostile(R.MANIFEST_MALFORMED, "320", _million_mistakes),
    "sixty thousand unknown members": Hostile(R.MANIFEST_MALFORMED, "members", _many_unknown),
    "two thousand files listed": Hostile(R.MANIFEST_MALFORMED, "files", _many_lines),
    "a future version": Hostile(R.MANIFEST_MALFORMED, "schema_version", _claims(schema_version=2)),
    "an unknown member with an escape": Hostile(R.MANIFEST_MALFORMED, "x1b", _claims(**{"\x1b]0;owned\x07": 1})),
    "a script for a name": Hostile(
        R.MANIFEST_MALFORMED, "reads as HTML", _claims(method_name="<script>alert(1)</script>")
    ),
    "an image in the description": Hostile(
        R.MANIFEST_MALFORMED, "description has", _claims(description="fine\n<img src=x onerror=alert(1)>")
    ),
    "control characters": Hostile(R.MANIFEST_MALFORMED, "method_name", _claims(method_name="a\x1b[2Jb")),
    "a text that turns around": Hostile(R.MANIFEST_MALFORMED, "author", _claims(author="me\u202etxt.exe")),
    "a line that is two": Hostile(R.MANIFEST_MALFORMED, "author", _claims(author="me\nadmin: yes")),
    "a name of a megabyte": Hostile(R.MANIFEST_MALFORMED, "author", _claims(author="x" * 950_000)),
    "half a character": Hostile(R.MANIFEST_MALFORMED, "Invalid JSON", _claims(author="\ud800")),
    "a size below nothing": Hostile(R.MANIFEST_MALFORMED, "size", _line(size=-1)),
    "a size that is no number": Hostile(R.MANIFEST_MALFORMED, "Invalid JSON", _line(size=float("nan"))),
    "a size of ten terabytes": Hostile(R.FILE_TOO_LARGE, "10000000000000 bytes", _line(size=10**13)),
    "a size beyond a word": Hostile(R.FILE_TOO_LARGE, "at most 8000000", _line(size=2**80)),
    "a digest that is a path": Hostile(R.MANIFEST_MALFORMED, "sha256", _line(sha256="../../../etc/passwd" + "0" * 45)),
    "a file listed twice": Hostile(R.MANIFEST_MALFORMED, "twice", _twice),
    "two models": Hostile(R.MANIFEST_MALFORMED, "2 files of role 'model'", _two_models),
    "another team's registration": Hostile(R.MANIFEST_MISMATCH, "nonce is", _claims(nonce="cd" * 32)),
    "another submission": Hostile(R.MANIFEST_MISMATCH, "submission_id", _claims(submission_id="sub-2")),
    "another track": Hostile(R.MANIFEST_MISMATCH, "track is 'byod'", _claims(track="byod")),
    "another competition": Hostile(R.MANIFEST_MISMATCH, "competition is 'digits'", _claims(competition="digits")),
    "another suite": Hostile(R.MANIFEST_MISMATCH, "suite_digest", _claims(suite_digest="1" * 64)),
    "another recipe": Hostile(R.RECIPE_MISMATCH, "recipe_digest is 2222", _claims(recipe_digest="2" * 64)),
    "a path upwards": Hostile(R.PATH_NOT_ALLOWED, "'../../etc/passwd'", _path("../../etc/passwd")),
    "a path upwards from within": Hostile(R.PATH_NOT_ALLOWED, "'a/../../b'", _path("a/../../b")),
    "an absolute path": Hostile(R.PATH_NOT_ALLOWED, "'/etc/passwd'", _path("/etc/passwd")),
    "a path of Windows": Hostile(R.PATH_NOT_ALLOWED, "C:", _path("C:\\model.safetensors")),
    "a path in escapes": Hostile(R.PATH_NOT_ALLOWED, "%2e", _path("%2e%2e/%2e%2e/model.safetensors")),
    "a path with a zero character": Hostile(R.PATH_NOT_ALLOWED, "x00", _path("model.safetensors\0.md")),
    "a path with a line's end": Hostile(R.PATH_NOT_ALLOWED, "model.safetensors", _path("model.safetensors\n")),
    "an address for a path": Hostile(R.PATH_NOT_ALLOWED, "https:", _path("https://evil.example/model.safetensors")),
    "a path of a device": Hostile(R.PATH_NOT_ALLOWED, "/dev/zero", _path("/dev/zero")),
    "a hidden path": Hostile(R.PATH_NOT_ALLOWED, "hidden", _path(".git/model.safetensors")),
    "a path of five thousand letters": Hostile(R.PATH_NOT_ALLOWED, "aaa", _path("a" * 5000)),
    "the manifest as a model": Hostile(R.PATH_NOT_ALLOWED, "manifest itself", _path("submission.json")),
    "a pickle by name": Hostile(R.PATH_NOT_ALLOWED, "must end in .safetensors", _path("model.pt")),
    "a path through a file": Hostile(R.FILE_MISSING, "README.md/model.safetensors", _inside_a_file),
    "a file that is not there": Hostile(R.FILE_MISSING, "README.md", _file_missing),
    "a bit changed after the manifest": Hostile(R.DIGEST_MISMATCH, "model.safetensors", _changed),
    "a card that grew after the manifest": Hostile(R.SIZE_MISMATCH, "README.md", _grown),
    "a file too large": Hostile(R.FILE_TOO_LARGE, "9000000 bytes", _huge_file),
    "too many files": Hostile(R.FILE_TOO_LARGE, "13 files", _many_files),
}
