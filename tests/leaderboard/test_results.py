"""From outcomes to replicates and aggregates, and what a result must be to count."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from competition.errors import ValidationFailedError
from competition.records.evaluation import Interval, Outcomes, TaskResult
from competition.rules import Suite
from competition.rules.uncertainty import uncertain_aggregate
from competition.statistics import bootstrap_replicates
from leaderboard.scoring import results
from tests.leaderboard.site import Site, result, rules

SUITE = rules().suite
PRIMARY = SUITE.primary_aggregate
TASK = SUITE.tasks[0]


def _result(**changes: Any) -> TaskResult:
    return TaskResult.model_validate(result(TASK.id, TASK.metric, 0.75) | changes)


def test_entries_share_their_random_numbers_and_keep_float32() -> None:
    one = results.replicates_of(_result(), SUITE.digest)
    again = results.replicates_of(_result(seconds=9.0), SUITE.digest)
    assert one is not None
    assert np.array_equal(one, again)
    outcomes = _result().outcomes[0].decode()
    assert np.array_equal(one, bootstrap_replicates([outcomes], seed_text=SUITE.digest))
    assert np.allclose(results.unpack(results.pack(one)), one, atol=1e-6)


def test_without_outcomes_the_interval_gives_independent_replicates() -> None:
    bare = _result(outcomes=())
    one, other = (results.replicates_of(bare.model_copy(update={"seconds": s}), SUITE.digest) for s in (1.0, 2.0))
    assert one is not None
    assert other is not None
    assert bare.interval is not None
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.1
    width = bare.interval.high - bare.interval.low
    assert abs(float(one.mean()) - bare.value) < 0.01
    assert abs(float(one.std()) - width / 3.92) < 0.01


def test_the_aggregate_is_the_mean_over_tasks_and_holds_its_value() -> None:
    tasks = SUITE.primary_aggregate.tasks
    values = {task: place / 10 for place, task in enumerate(tasks)}
    total = uncertain_aggregate(SUITE, PRIMARY, values, {task: np.full(2000, value) for task, value in values.items()})
    assert total.found.value == pytest.approx(np.mean(list(values.values())))
    assert total.spread is not None
    assert (total.spread.low, total.spread.high) == pytest.approx((total.found.value, total.found.value))
    assert total.spread.low <= total.found.value <= total.spread.high
    nothing = uncertain_aggregate(SUITE, PRIMARY, {}, {})
    assert (nothing.found.value, nothing.found.missing, nothing.spread) == (None, tasks, None)


def test_an_aggregate_over_a_task_without_an_interval_has_none() -> None:
    values = dict.fromkeys(SUITE.primary_aggregate.tasks, 0.5)
    replicates = dict.fromkeys(values, np.full(2000, 0.5)) | {SUITE.primary_aggregate.tasks[0]: None}
    total = uncertain_aggregate(SUITE, PRIMARY, values, replicates)
    assert (total.found.value, total.spread) == (0.5, None)


def _measured(metric: str, outcomes: Sequence[float], value: float | None = None, **changes: Any) -> TaskResult:
    """A result of that metric whose outcomes are these, and whose value is their mean unless given."""
    mean = float(np.mean(outcomes))
    fields = {"metric": metric, "value": mean if value is None else value, "metrics": {}}
    interval = {"low": min(outcomes), "high": max(outcomes), "method": "bootstrap"}
    kept = (Outcomes.encode(np.asarray(outcomes)),)
    return _result().model_copy(
        update=fields | {"interval": Interval.model_validate(interval), "outcomes": kept} | changes
    )


def test_what_outcomes_may_miss_the_value_by_grows_with_their_size_and_shrinks_with_it() -> None:
    scores = np.random.default_rng(0).normal(31.0, 4.0, 500)
    assert np.abs(Outcomes.encode(scores).decode() - scores).max() > 2e-3, "rounding is coarser than that of shares"
    replicates = results.replicates_of(_measured("clip_score", list(scores)), SUITE.digest)
    assert replicates is not None
    assert replicates.mean() == pytest.approx(scores.mean(), abs=0.05)
    same = _measured("clip_score", [31.01] * 50)  # which float16 rounds by three times what a share may be off
    assert results.replicates_of(same, SUITE.digest) is not None
    small = [value / 1e4 for value in scores]
    assert results.replicates_of(_measured("kid", small), SUITE.digest) is not None
    for metric, outcomes in (("clip_score", list(scores)), ("kid", small)):
        off = float(np.mean(outcomes)) * 1.01
        with pytest.raises(ValidationFailedError, match="the outcomes give"):
            results.replicates_of(_measured(metric, outcomes, off), SUITE.digest)


def test_outcomes_behind_a_share_may_weigh_more_than_one() -> None:
    """An F1's are its influences, and an image with more captions than others counts more: their mean is the share."""
    assert results.replicates_of(_measured("F1-macro_all", [-0.4, 1.6, 0.3]), SUITE.digest) is not None


def test_replicates_of_a_share_stay_within_it_and_those_of_a_distance_do_not() -> None:
    bounds = Interval(low=0.9, high=1.0, method="bootstrap")
    share = _result(outcomes=()).model_copy(update={"value": 0.99, "interval": bounds})
    for metric, inside in (("acc1", True), ("inception_score", False)):
        drawn = results.replicates_of(share.model_copy(update={"metric": metric}), SUITE.digest)
        assert drawn is not None
        assert bool(np.all(drawn <= 1.0)) is inside


def _suite_of(metric: str) -> Suite:
    task = SUITE.tasks[0].model_copy(update={"metric": metric})
    return SUITE.model_copy(update={"tasks": (task, *SUITE.tasks[1:])})


def test_a_share_lies_in_its_range_and_a_distance_where_it_likes() -> None:
    wide = Interval(low=-3.0, high=300.0, method="bootstrap")
    for metric, refused in (("acc1", True), ("fid", False)):
        for changes in ({"value": 123.0, "interval": None}, {"value": 0.5, "interval": wide}):
            made = _result(outcomes=()).model_copy(update={"metric": metric} | changes)
            if refused:
                with pytest.raises(ValidationFailedError, match="acc1 is a share"):
                    results.check(made, _suite_of(metric))
            else:
                results.check(made, _suite_of(metric))
    enormous = _result(outcomes=()).model_copy(update={"metric": "fid", "value": 1e300, "interval": None})
    with pytest.raises(ValidationFailedError, match="at most"):
        results.check(enormous, _suite_of("fid"))


def test_without_an_interval_there_are_neither_outcomes_nor_replicates() -> None:
    bare = _result(outcomes=()).model_copy(update={"interval": None})
    results.check(bare, SUITE)
    assert results.replicates_of(bare, SUITE.digest) is None
    with pytest.raises(ValidationFailedError, match=r"result\.interval"):
        results.check(_result().model_copy(update={"interval": None}), SUITE)


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
