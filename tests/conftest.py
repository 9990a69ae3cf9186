"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.forks import Forks
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


LONGEST = (
    "participant_kit/train/test_slurm.py",
    "participant_kit/cli/test_train_bad_input.py",
    "participant_kit/train/test_resume.py",
    "competition/data/test_ray_engine.py",
    "participant_kit/test_on_ray.py",
    "competition/data/test_engine.py",
    "scorer/test_service.py",
    "participant_kit/cli/test_docs_on_digits.py",
    "leaderboard/test_cli.py",
    "participant_kit/train/test_distributed.py",
    "competition/evaluation/dataset_metrics/test_golden.py",
    "participant_kit/cli/test_commands.py",
    "leaderboard/test_claims.py",
    "participant_kit/train/test_labels.py",
    "participant_kit/train/test_golden_losses.py",
    "scorer/test_cli.py",
    "leaderboard/test_openapi_fuzz.py",
    "competition/evalsets/test_download.py",
)
"""Files that take longest, to be started first: a long one that is started last keeps one process busy alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first; whatever reads golden files is marked, so that ``pytest -m golden`` runs all of it."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        if "golden" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.golden)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """Of a Ray cluster with two nodes on this machine, which is started for the first test that asks."""
    with two_nodes() as address:
        yield address


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts processes that have PyTorch loaded."""
    started = Forks()
    yield started
    started.close()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and "chromium" in os.environ.get("DATACUP_REQUIRE", ""):
        pytest.fail("chromium is required (DATACUP_REQUIRE) and absent")
    if found is None:
        pytest.skip("chromium is absent")
    return Path(found)
