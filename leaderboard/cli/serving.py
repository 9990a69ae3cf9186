"""Serving the site, and the local Hub beside it or alone."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from competition.errors import UsageError
from leaderboard.settings import Settings, read_settings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

Host = Annotated[str | None, typer.Option(help="Address to listen on [default: DATACUP_HOST or 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on [default: DATACUP_PORT or 8000]", min=0, max=65535)]
HubPort = Annotated[int, typer.Option(help="Port of the local Hub.", min=0, max=65535)]


def serve(
    host: Host = None,
    port: Port = None,
    with_hub: Annotated[
        bool, typer.Option("--with-hub", help="Serve the local Hub as well; name its address in DATACUP_HUBS.")
    ] = False,
    hub_port: HubPort = 8001,
) -> None:
    """Serve the site and the API."""
    from leaderboard.app import create_app
    from leaderboard.cli.database import opened
    from leaderboard.clock import utc_now
    from leaderboard.competitions import service
    from leaderboard.references import shipped

    settings = read_settings()
    address = host or settings.host
    with opened(settings) as database, database.writing() as session:
        service.publish_all(session, settings.competitions, utc_now())
        shipped.publish(session, settings.competitions, utc_now)
    with _listening(address, settings.port if port is None else port) as site:
        _say("Leaderboard", site)
        if not with_hub:
            _run((create_app(settings), site))
            return
        with _listening(address, hub_port) as beside:
            _say("Hub", beside)
            _run((create_app(settings), site), (_hub_app(settings), beside))


def hub(host: Host = None, port: HubPort = 8001) -> None:
    """Serve the local Hub alone."""
    settings = read_settings()
    with _listening(host or settings.host, port) as listener:
        _say("Hub", listener)
        _run((_hub_app(settings), listener))


def _hub_app(settings: Settings) -> FastAPI:
    from leaderboard.hub.app import HubSettings, create_hub

    return create_hub(HubSettings(root=settings.hub_root))


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """The port, taken before anything else starts (raises ``UsageError`` when that is not possible)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"Port {port} of {host} is in use."
            raise UsageError(message, hint="Stop what uses it, or choose another with --port or --hub-port.") from error
        raise UsageError(f"Cannot listen on {host}, port {port} ({error.strerror or error}).") from error
    with listener:
        yield listener


def _say(what: str, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    typer.echo(f"{what} on http://{f'[{host}]' if ':' in host else host}:{port}", err=True)


def _run(*applications: tuple[FastAPI, socket.socket]) -> None:
    """Serve until a signal; requests in progress are finished first."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(_serve_all(applications))


async def _serve_all(applications: tuple[tuple[FastAPI, socket.socket], ...]) -> None:
    servers = [_server(app) for app, _ in applications]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    tasks = []
    for server, (_, listener) in zip(servers, applications, strict=True):
        # The process has one pair of signals and maybe two servers: neither takes them for itself.
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
        tasks.append(asyncio.create_task(server.serve(sockets=[listener])))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*tasks)


def _server(app: FastAPI) -> uvicorn.Server:
    import uvicorn

    return uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=10))
