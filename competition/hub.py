"""The Hub's official client, set up alike wherever a Hub is spoken to, whichever Hub it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OFFICIAL_ENDPOINT = "https://huggingface.co"


def hub_api(endpoint: str, *, answer_seconds: float, token: str | bool | None = None, bars: bool = False) -> HfApi:
    """A client of the Hub at ``endpoint``.

    Args:
        endpoint: the Hub's address.
        answer_seconds: how long a call waits for the next bytes of an answer.
        token: for the Hub; ``None``: this machine's login; ``False``: none, whatever login there is.
        bars: show the client's own progress bars.
    """
    # Only huggingface.co speaks Xet. The client reads the switch once, when it is imported, so both places are set.
    plain = endpoint.rstrip("/") != OFFICIAL_ENDPOINT
    if plain:
        os.environ["HF_HUB_DISABLE_XET"] = "1"
    from huggingface_hub import HfApi, constants, get_session
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if plain:
        constants.HF_HUB_DISABLE_XET = True
    if not bars:
        disable_progress_bars()
    # Calls that are no downloads would wait for an answer for ever. (Versions before 1.0 have no such setting.)
    if hasattr(get_session(), "timeout"):
        get_session().timeout = answer_seconds
    return HfApi(endpoint=endpoint.rstrip("/"), token=token)
