"""Blocks of a few rows, so that small sets have several and an error at their edges shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from competition.evaluation.dataset_metrics import features


@pytest.fixture(scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_MOST_BLOCK_ROWS", 7)
        assert features.rows_of_width(3) == 7
        yield
