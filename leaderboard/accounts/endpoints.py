"""Routes about the caller."""

from __future__ import annotations

from fastapi import APIRouter

from competition.errors import AuthenticationError
from leaderboard.accounts.schemas import Me
from leaderboard.answers import documented
from leaderboard.dependencies import AnyViewer

router = APIRouter(tags=["accounts"])


@router.get("/me", summary="Whose token is this?", responses=documented(401))
def me(viewer: AnyViewer) -> Me:
    """The account, the scopes and the expiry of the token in use."""
    if viewer.account is None or viewer.expires_at is None:
        raise AuthenticationError("This needs a token.", hint="Send the header 'Authorization: Bearer TOKEN'.")
    return Me(account=viewer.account, scopes=sorted(viewer.scopes), expires_at=viewer.expires_at)
