"""Reaching a Ray cluster: quickly, or with one sentence why not. Nothing here writes to the terminal."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from typing import Any

from competition.errors import EngineError, UsageError

LOCAL, AUTO = "local", "auto"
_CONNECT_SECONDS = 5.0
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_HEADER, _SETTINGS = 9, 4

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # It would send the current folder, perhaps with a pool in it, to every node when started by `uv run`.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # An option of ``ray.init`` keeps what workers print off the terminal; this, what nodes say of every killed worker.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # Tasks without GPUs see them as they do elsewhere; unset, Ray warns that this will become so.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def connect(address: str | None, cpus: int | None, *, extra: str = "kit") -> Any:
    """The ``ray`` module, connected.

    Args:
        address: ``host:port`` of a cluster's head; ``auto`` or ``None``: ``RAY_ADDRESS``, else the cluster that runs on
            this machine; ``local``: a cluster of this machine alone, started now and ended with the connection.
        cpus: processors of a ``local`` cluster; ``None``: all.
        extra: what DataCup is installed with for this, as a user who lacks Ray is told.

    Raises:
        UsageError: Ray is not installed, or the address is none.
        EngineError: no cluster can be reached there.
    """
    ray = _load(extra)
    chosen = address or AUTO
    if chosen == AUTO:
        chosen = os.environ.get("RAY_ADDRESS") or AUTO
    if chosen not in {AUTO, LOCAL}:
        _check_reachable(chosen)
    started = {"num_cpus": cpus, "include_dashboard": False} if chosen == LOCAL else {}
    try:
        ray.init(address=chosen, log_to_driver=False, logging_level=logging.ERROR, **started)
    except ConnectionError as error:
        if chosen != AUTO:
            raise _unreachable(chosen, str(error)) from error
        raise EngineError(
            "No Ray cluster runs on this machine.",
            hint="Name one with --ray-address HOST:PORT (or RAY_ADDRESS), or start one for this command with "
            "--ray-address local.",
        ) from None
    except (
        RuntimeError,
        ValueError,
        SystemExit,
    ) as error:  # Ray exits the process where its own processes do not answer
        raise _unreachable(chosen, str(error)) from error
    return ray


def _load(extra: str) -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError(
            "--engine ray needs the package 'ray'.",
            hint=f"Install it on every node: pip install 'datacup[{extra},ray]'",
        ) from None


def _check_reachable(address: str) -> None:
    """Ask for a connection, and for the greeting of the protocol that Ray speaks: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit()) or "/" in address:
        raise UsageError(
            f"The Ray address {address!r} is not HOST:PORT, auto or local.",
            hint="Ray's client and job addresses (ray://, http://) are not supported: run the command on a node of the "
            "cluster, or in a job of `ray job submit`.",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as connection:
            greeting = b"" if os.environ.get("RAY_USE_TLS", "0") != "0" else _greeting(connection)
    except (OSError, OverflowError) as error:
        raise _unreachable(address, getattr(error, "strerror", None) or str(error)) from error
    if greeting and greeting[3] != _SETTINGS:
        raise _unreachable(address, "what answers there is not Ray")


def _greeting(connection: socket.socket) -> bytes:
    connection.sendall(_HTTP2_GREETING)
    received = b""
    while len(received) < _FRAME_HEADER:
        part = connection.recv(_FRAME_HEADER - len(received))
        if not part:
            raise ConnectionResetError(None, "the connection was closed")
        received += part
    return received


def _unreachable(address: str, why: str) -> EngineError:
    reason = why.strip().rstrip(".").partition("\n")[0]
    return EngineError(
        f"No Ray cluster can be reached at {address}: {reason[:200]}.",
        hint="Is it running (`ray status`), does this machine belong to it, and is the port that of its head (6379)?",
    )
