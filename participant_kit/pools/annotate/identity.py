"""Names of pairs that were never given one."""

from __future__ import annotations

import hashlib


def pair_uid(url: str, text: str) -> str:
    """128 bits of a hash of (url, text), as 32 hex digits: DataComp's rule (Gadre et al., 2023), here with BLAKE2b.

    A pair without a url has ``sha256:<hex digest of the image's bytes>`` in its place.
    """
    return hashlib.blake2b(f"{url}\0{text}".encode(), digest_size=16).hexdigest()
