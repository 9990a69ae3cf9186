"""Tokens: making, listing and revoking them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from competition.errors import UsageError
from leaderboard.cli.database import opened
from leaderboard.clock import utc_now
from leaderboard.settings import Settings, read_settings

if TYPE_CHECKING:
    from leaderboard.models import Token

app = typer.Typer(help="Tokens of accounts, and of the local Hub's users.", no_args_is_help=True, rich_markup_mode=None)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HUB_ROLES = ("read", "write")


@app.command()
def create(
    account: Annotated[str, typer.Option(help="Name of the account; it is made if there is none.")],
    scope: Annotated[
        list[str], typer.Option(help="submit, score or admin; may be given more than once. With --hub: read or write.")
    ],
    expires_days: Annotated[int, typer.Option(help="Days until it expires.", min=1, max=3650)] = 90,
    hub: Annotated[bool, typer.Option("--hub", help="A token of the local Hub instead (HF_TOKEN).")] = False,
    as_json: Json = False,
) -> None:
    """Make a token and print it. It is stored nowhere and cannot be shown again."""
    settings = read_settings()
    make = _hub_token if hub else _token
    token = make(settings, account, scope, expires_days)
    expires = (utc_now() + timedelta(days=expires_days)).isoformat(timespec="seconds")
    if as_json:
        typer.echo(json.dumps({"token": token, "account": account, "scopes": scope, "expires_at": expires}))
    else:
        typer.echo(token)
        typer.echo(f"For {account}, until {expires}. Keep it: it cannot be shown again.", err=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List all tokens (never the secrets), oldest first."""
    from leaderboard.accounts import service

    now = utc_now()
    with opened(read_settings()) as database, database.reading() as session:
        rows = [_row(token, now) for token in service.tokens(session)]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        scopes = ",".join(row["scopes"])
        typer.echo(f"{row['id']:>5}  {row['account']:<24}  {scopes:<20}  {row['expires_at']}  {row['state']}")


@app.command()
def revoke(
    token_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the token, from `token list`.")],
) -> None:
    """Make a token worthless at once."""
    from leaderboard.accounts import service

    with opened(read_settings()) as database, database.writing() as session:
        service.revoke_token(session, token_id, utc_now())
    typer.echo(f"Token {token_id} is revoked.", err=True)


def _row(token: Token, now: datetime) -> dict[str, Any]:
    state = "revoked" if token.revoked_at else "expired" if token.expires_at <= now else "live"
    return {
        "id": token.id,
        "account": token.account.name,
        "scopes": token.scopes,
        "expires_at": token.expires_at.isoformat(timespec="seconds"),
        "state": state,
    }


def _token(settings: Settings, account: str, scopes: list[str], days: int) -> str:
    from leaderboard.accounts import service
    from leaderboard.accounts.viewer import Scope

    unknown = [scope for scope in scopes if scope not in set(Scope)]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not a scope.", hint=f"Scopes are: {', '.join(Scope)}.")
    now = utc_now()
    with opened(settings) as database, database.writing() as session:
        return service.create_token(
            session,
            account=account,
            scopes=[Scope(scope) for scope in scopes],
            now=now,
            expires_at=now + timedelta(days=days),
        )


def _hub_token(settings: Settings, account: str, scopes: list[str], days: int) -> str:
    from leaderboard.hub.app import create_token

    if len(scopes) != 1 or scopes[0] not in _HUB_ROLES:
        raise UsageError("A token of the Hub has one scope: read or write.", hint="For example --hub --scope write.")
    return create_token(settings.hub_root, account, scopes[0], utc_now() + timedelta(days=days))
