"""From outcomes to replicates and aggregates, and what a result must be to count."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import pytest

from competition.records.evaluation import TaskResult
from competition.statistics import bootstrap_replicates
from leaderboard.scoring import results
from tests.leaderboard.site import Site, result, rules

SUITE = rules().suite
TASK = SUITE.tasks[0]


def _result(**changes: Any) -> TaskResult:
    return TaskResult.model_validate(result(TASK.id, TASK.metric, 0.75) | changes)


def test_entries_share_their_random_numbers_and_keep_float32() -> None:
    one = results.replicates_of(_result(), SUITE.digest)
    again = results.replicates_of(_result(seconds=9.0), SUITE.digest)
    assert np.array_equal(one, again)
    outcomes = _result().outcomes[0].decode()
    assert np.array_equal(one, bootstrap_replicates([outcomes], seed_text=SUITE.digest))
    assert np.allclose(results.unpack(results.pack(one)), one, atol=1e-6)


def test_without_outcomes_the_interval_gives_independent_replicates() -> None:
    bare = _result(outcomes=())
    one, other = (results.replicates_of(bare.model_copy(update={"seconds": s}), SUITE.digest) for s in (1.0, 2.0))
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.1
    width = bare.interval.high - bare.interval.low
    assert abs(float(one.mean()) - bare.value) < 0.01
    assert abs(float(one.std()) - width / 3.92) < 0.01


def test_the_aggregate_is_the_mean_over_tasks_and_holds_its_value() -> None:
    parts = [np.full(2000, 0.2), np.full(2000, 0.6)]
    total = results.aggregate([0.2, 0.6], parts)
    assert (total.value, total.low, total.high) == pytest.approx((0.4, 0.4, 0.4))
    assert total.low <= total.value <= total.high
    with pytest.raises(ValueError, match="every task"):
        results.aggregate([0.2], [])


def _bomb() -> dict[str, Any]:
    packed = base64.b64encode(zlib.compress(b"\0" * 10_000_000, 9)).decode()
    return {"count": 200, "data": packed}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"task": "unknown"}, "result.task"),
        ({"metric": "other"}, "result.metric"),
        ({"value": 0.1}, "result.interval"),
        ({"samples": 10**12}, "result.outcomes"),
        ({"outcomes": [{"count": 3, "data": "!"}]}, "result.outcomes"),
        ({"outcomes": [{"count": 3, "data": "AAAA"}]}, "result.outcomes"),
        ({"outcomes": [_bomb()]}, "result.outcomes"),
        ({"value": 0.72}, "result.value"),
        ({"unreadable": 1}, "result.unreadable"),
        ({"unreadable": 10**30}, "result.unreadable"),
        ({"peak_memory_bytes": 10**30}, "result.peak_memory_bytes"),
        ({"classes": [{"label": 0, "right": 2, "n": 1}]}, "result.classes"),
        ({"classes": [{"label": label, "right": 0, "n": 1} for label in range(1001)]}, "result.classes"),
    ],
)
def test_a_result_that_cannot_be_is_refused_by_field(sqlite_site: Site, changes: dict[str, Any], names: str) -> None:
    site = sqlite_site
    site.enter()
    site.verify(site.claim())
    grant = site.claim()
    refused = site.say(grant, "results", result=result(TASK.id, TASK.metric, 0.75) | changes)
    assert refused.status_code == 422
    assert names in refused.json()["error"]["message"]


def test_what_a_result_says_beside_its_numbers_is_taken_and_changes_none(sqlite_site: Site) -> None:
    """Its classes, its speed and its memory are the report's: the leaderboard keeps none of them."""
    site = sqlite_site
    site.enter()
    site.verify(site.claim())
    grant = site.claim()
    further = {
        "classes": [{"label": label, "name": "n" * 120, "right": 0, "n": 1} for label in range(1000)],
        "images_per_second": 1e300,
        "peak_memory_bytes": 2**60,
    }
    plain = result(TASK.id, TASK.metric, 0.75)
    assert site.say(grant, "results", result=plain | further).status_code == 204
    with_further, without = (TaskResult.model_validate(each) for each in (plain | further, plain))
    assert np.array_equal(
        results.replicates_of(with_further, SUITE.digest), results.replicates_of(without, SUITE.digest)
    )
