"""Canonical JSON (RFC 8785) and the digests made from it: the identity of recipes, suites, manifests and events."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for ``value`` (JSON types only; raises ``rfc8785.CanonicalizationError``)."""
    return rfc8785.dumps(value)


def digest(value: Any) -> str:
    """Lower-case hex sha256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
