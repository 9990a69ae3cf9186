"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.ray_cluster import two_nodes

settings.register_profile("datacup", deadline=None)  # how long a case takes is for benchmarks to say
settings.load_profile("datacup")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Inputs with the outputs of the original programs; they are not part of the repository."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("../shared/golden is absent")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever reads these is marked, so that ``pytest -m golden`` runs all of it."""
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """Of a Ray cluster with two nodes on this machine, which is started for the first test that asks."""
    with two_nodes() as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and "chromium" in os.environ.get("DATACUP_REQUIRE", ""):
        pytest.fail("chromium is required (DATACUP_REQUIRE) and absent")
    if found is None:
        pytest.skip("chromium is absent")
    return Path(found)
