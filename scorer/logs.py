"""Structured logs: one JSON object a line on stderr."""

from __future__ import annotations

import logging
import sys

import structlog

from competition.records.scoring import JobGrant


def configure(level: str) -> None:
    """Log from ``level`` on (debug, info, warning, error), with UTC times."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def identity(grant: JobGrant) -> dict[str, str | int]:
    """What every line about a job carries."""
    return {
        "submission": grant.submission_id,
        "job": grant.job_id,
        "kind": grant.kind.value,
        "attempt": grant.attempt,
    }
