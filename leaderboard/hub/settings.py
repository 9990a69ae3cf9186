"""What an operator may choose about a local Hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024**2


@dataclass(frozen=True)
class HubSettings:
    """Sizes are in bytes, durations in seconds.

    ``root`` is the one folder that holds everything: repositories, tokens and, unless ``signing_secret`` is given, the
    secret that signs upload URLs. Several server processes may share it.
    """

    root: Path
    #: Where clients reach this Hub, for the URLs in its answers; empty means the ``Host`` of each request.
    public_url: str = ""
    signing_secret: str = field(default="", repr=False)
    #: Files above this size, and binary ones of any size, go through LFS.
    max_regular_bytes: int = 5 * MIB
    max_lfs_bytes: int = 64 * 1024 * MIB
    #: One commit's request body, in which regular files travel as base64.
    max_commit_bytes: int = 512 * MIB
    #: Also the most changes that one commit may hold.
    max_files_per_repository: int = 20_000
    #: LFS objects above this size are uploaded in parts of this size.
    multipart_chunk_bytes: int = 256 * MIB
    upload_url_lifetime_s: float = 6 * 3600.0
