"""The front page of a repository of entries: the card of the newest, since a Hub reads metadata of no other file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NAME = "README.md"
MARK = "<!-- By datacup submit, which replaces this page with each entry. Without this line it is left alone. -->"
_MAX_BYTES = 1_000_000


def front_page(api: HfApi, repo: str, card: Path, path_in_repo: str) -> bytes | None:
    """The page that the entry at ``path_in_repo`` puts in front; None where the repository has one that is not ours.

    Raises what the Hub's client raises.
    """
    if not card.is_file() or not _may_write(api, repo):
        return None
    text = card.read_text(encoding="utf-8")
    return f"{text}\nThe files of this entry are in [{path_in_repo}](./tree/main/{path_in_repo}).\n\n{MARK}\n".encode()


def _may_write(api: HfApi, repo: str) -> bool:
    there = api.get_paths_info(repo, [NAME])
    if not there:
        return True
    if getattr(there[0], "size", _MAX_BYTES) >= _MAX_BYTES:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(api.hf_hub_download(repo, NAME, local_dir=scratch, cache_dir=Path(scratch) / ".cache"))
        return MARK.encode() in page.read_bytes()
