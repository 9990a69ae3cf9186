"""Light environments, one for each version of the Hub's client, kept between runs.

They hold the client and what our Hub modules import beside it, and neither torch nor DataCup: the code under test is
that of the work tree. ``DATACUP_HUBMATRIX`` names their folder; by default it lies in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

BESIDE = ("httpx>=0.27", "numpy>=1.26", "pillow>=10.4", "pydantic>=2.9", "pyyaml>=6.0", "rfc8785>=0.1.4")
"""As in pyproject.toml."""
_SECONDS = 240


class NoIndexError(Exception):
    """The package index, or the program that asks it, cannot be reached."""


def folder() -> Path:
    """Where the environments are kept."""
    told = os.environ.get("DATACUP_HUBMATRIX")
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(told) if told else cached / "datacup-hubmatrix"


def newest(requirement: str) -> str:
    """The newest version of huggingface_hub that the requirement admits (raises ``NoIndexError``)."""
    words = ("pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "--python", sys.executable, "-")
    return _uv(*words, told=f"huggingface_hub{requirement}\n").strip().partition("==")[2]


def interpreter(version: str, *, xet: bool) -> Path:
    """Python of the environment with that version of the client, with or without ``hf_xet``.

    It is made aside and renamed, so that nobody meets half of one. Raises ``NoIndexError``.
    """
    packages = (f"huggingface_hub=={version}", *BESIDE, *(("hf_xet",) if xet else ()))
    digest = hashlib.sha256("\n".join((sys.version, *packages)).encode()).hexdigest()[:12]
    place = folder() / f"{version}-{'xet' if xet else 'plain'}-{digest}"
    if not place.is_dir():
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder()) as scratch:
            made = Path(scratch) / "environment"
            _uv("venv", "--quiet", "--python", sys.executable, str(made))
            python = str(made / "bin" / "python")
            _uv("pip", "install", "--quiet", "--python", python, *packages)
            if not xet:  # a dependency of the client on most machines
                _uv("pip", "uninstall", "--quiet", "--python", python, "hf_xet")
            if not place.is_dir():
                made.rename(place)
    return place / "bin" / "python"


def _uv(*words: str, told: str = "") -> str:
    command = [_program(), *words]
    try:
        ended = subprocess.run(command, input=told, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoIndexError(f"{' '.join(command)}: no answer in {_SECONDS} s") from error
    if ended.returncode:
        raise NoIndexError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return ended.stdout


@cache
def _program() -> str:
    """uv, from where the Makefile takes it; where it is nowhere, one that pip installs beside the environments."""
    own = folder() / "uv"
    for found in (shutil.which("uv"), ROOT / ".uv/bin/uv", own / "bin/uv"):
        if found is not None and Path(found).is_file():
            return str(found)
    installing = (
        [sys.executable, "-m", "venv", str(own)],
        [str(own / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"],
    )
    for command in installing:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if ended.returncode:
            raise NoIndexError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return str(own / "bin/uv")
