"""Why images could not be had, in a few kinds: hosts and libraries say the same thing in thousands of ways."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from participant_kit.pools.images.public_web import NOT_PUBLIC, TOO_LARGE, TOO_SLOW

SUCCESS = "success"
NO_NETWORK = "no network"
_OTHER = "other"

_KINDS = (
    (SUCCESS, re.compile(r"^success$")),
    ("address not public", re.compile(NOT_PUBLIC)),
    ("too large", re.compile(rf"{TOO_LARGE}|IMAGE_(PIXELS|WIDTH|HEIGHT)|MAX_IMAGE", re.IGNORECASE)),
    ("too slow", re.compile(rf"{TOO_SLOW}|timed? ?out", re.IGNORECASE)),
    (
        "not an http address",
        re.compile(r"unknown url type|no host given|URL can't contain|nonnumeric port", re.IGNORECASE),
    ),
    ("hash mismatch", re.compile(r"^hash mismatch$")),
    ("use disallowed by the host", re.compile(r"X-Robots-Tag")),
    ("not found (404, 410)", re.compile(r"HTTP Error (404|410)\b")),
    ("refused by the host (other 4xx)", re.compile(r"HTTP Error 4\d\d\b")),
    ("failure of the host (5xx)", re.compile(r"HTTP Error 5\d\d\b")),
    ("redirect refused", re.compile(r"HTTP Error 3\d\d\b|redirect", re.IGNORECASE)),
    (NO_NETWORK, re.compile(r"Temporary failure in name resolution|Network is unreachable")),
    (
        "unknown host",
        re.compile(
            r"Name or service not known|No address associated|nodename nor servname|getaddrinfo|idna", re.IGNORECASE
        ),
    ),
    ("TLS", re.compile(r"\bSSL\b|CERTIFICATE|TLS|EOF occurred in violation of protocol")),
    (
        "connection broken",
        re.compile(
            r"Connection|IncompleteRead|Remote end closed|Broken pipe|No route to host|BadStatusLine|chunk",
            re.IGNORECASE,
        ),
    ),
    ("not an image", re.compile(r"Image decoding error|OpenCV|imdecode", re.IGNORECASE)),
)


def kind_of(message: str) -> str:
    """The kind of an ``error_message`` of img2dataset (or its word for success)."""
    return next((kind for kind, pattern in _KINDS if pattern.search(message)), _OTHER)


def by_kind(status: Mapping[str, int]) -> Counter[str]:
    """img2dataset's ``status_dict`` (message to count) by kind."""
    counts: Counter[str] = Counter()
    for message, count in status.items():
        counts[kind_of(message)] += count
    return counts
