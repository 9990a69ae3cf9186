"""Standings by every rule of a suite, in the direction of its metrics, with and without intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from competition.errors import ConflictError
from competition.records.lifecycle import Eligibility
from competition.records.standings import StandingsView
from competition.rules import Aggregate, Competition, Protocol, Suite, Task
from competition.rules.aggregates import aggregate_value
from leaderboard import migration
from leaderboard.accounts.viewer import Act
from leaderboard.models import PublishedCompetition
from leaderboard.submissions import service
from tests.leaderboard.site import Site, result


def _suite(
    site: Site, rule: Mapping[str, Any], *, extra: tuple[Task, ...] = (), primary: tuple[str, ...] = ()
) -> Suite:
    suite = site.competition.suite
    tasks = (*(task.model_copy(update={"chance": task.chance or 0.01}) for task in suite.tasks), *extra)
    chosen = primary or tuple(task.id for task in suite.tasks)
    aggregate = Aggregate.model_validate({"id": "total", "title": "Total", "tasks": chosen, "rule": rule})
    fields = suite.model_dump() | {
        "version": suite.version + 1,
        "tasks": [task.model_dump() for task in tasks],
        "aggregates": [aggregate.model_dump()],
        "primary": "total",
    }
    return Suite.model_validate(fields)


def _ruled(site: Site, suite: Suite) -> Competition:
    rules = site.competition
    return rules.model_copy(update={"version": rules.version + 1, "suite": suite})


def _plant(site: Site, rules: Competition) -> None:
    """Publish it as a version that runs all protocols does: what is ranked does not depend on who can evaluate it."""
    with site.database.writing() as session:
        session.add(
            PublishedCompetition(
                id=rules.id,
                version=rules.version,
                digest=rules.digest,
                document=rules.model_dump_json(),
                published_at=site.clock(),
            )
        )


def _bare(task: Task, value: float) -> Any:
    """A result without an interval, as JSON."""
    body = result(task.id, task.metric, 0.5)
    return body | {"value": value, "interval": None, "metrics": {task.metric: value}, "outcomes": []}


def _scored(site: Site, values: Mapping[str, Any]) -> str:
    """An entry with these values by task: accuracies, or whole results as JSON. It is scored all the way."""
    submission = site.enter()
    site.verify(site.claim())
    grant = site.claim()
    for number, task in enumerate(site.tasks(grant)):
        value = values[task.id]
        body = value if isinstance(value, dict) else result(task.id, task.metric, value, seed=number)
        site.must(grant, "results", result=body)
    site.must(grant, "finish", outcome="scored")
    site.clock.advance(1)
    return submission


def _accuracies(site: Site, *values: float) -> dict[str, Any]:
    return {task.id: value for task, value in zip(site.competition.suite.tasks, values, strict=True)}


RULES: dict[str, dict[str, Any]] = {
    "mean_of_groups": {"kind": "mean_of_groups"},
    "chance_centred": {"kind": "chance_centred"},
    "relative_to_baseline": {"kind": "relative_to_baseline", "baseline": "Whole pool"},
}


@pytest.mark.parametrize("kind", RULES)
def test_standings_rank_by_the_suites_rule_with_its_interval(site: Site, kind: str) -> None:
    rule = RULES[kind]
    ids = [task.id for task in site.competition.suite.tasks]
    if kind == "relative_to_baseline":
        # The last task's baseline is so low that it decides, against the plain mean.
        rule = rule | {"scores": dict(zip(ids, (0.9, 0.9, 0.9, 0.05), strict=True))}
    suite = _suite(site, rule)
    site.publish(_ruled(site, suite))
    entries = {
        _scored(site, _accuracies(site, *values)): values
        for values in ((0.9, 0.8, 0.7, 0.1), (0.5, 0.5, 0.5, 0.5), (0.2, 0.2, 0.2, 0.2))
    }
    view = StandingsView.model_validate(site.standings())
    assert (view.aggregate, view.less_is_better) == ("Total", False)
    expected = {
        key: aggregate_value(suite, suite.primary_aggregate, dict(zip(ids, values, strict=True))).value
        for key, values in entries.items()
    }
    assert [row.submission_id for row in view.rows] == sorted(entries, key=lambda key: -(expected[key] or 0.0))
    for row in view.rows:
        assert row.score is not None
        assert row.score.interval is not None
        assert row.score.value == pytest.approx(expected[row.submission_id])
        assert row.score.interval.low < row.score.value < row.score.interval.high
    if kind == "relative_to_baseline":
        assert view.rows[0].score is not None
        assert view.rows[0].score.value > 1.0, "a ratio is no share"


def test_average_ranks_are_made_of_all_entries_as_they_are_now(site: Site) -> None:
    suite = _suite(site, {"kind": "average_rank"})
    site.publish(_ruled(site, suite))
    first = _scored(site, _accuracies(site, 0.9, 0.9, 0.9, 0.1))
    alone = StandingsView.model_validate(site.standings())
    assert [(row.rank, row.score.value if row.score else None) for row in alone.rows] == [(1, 1.0)]
    second = _scored(site, _accuracies(site, 0.8, 0.8, 0.8, 0.9))
    third = _scored(site, _accuracies(site, 0.1, 0.1, 0.1, 0.9))
    view = StandingsView.model_validate(site.standings())
    assert view.less_is_better
    found = {row.submission_id: (row.rank, row.score.value if row.score else None) for row in view.rows}
    assert found == {first: (1, 6 / 4), second: (2, 7.5 / 4), third: (3, 10.5 / 4)}
    assert [row.submission_id for row in view.rows] == [first, second, third], "the least is the first"
    for row in view.rows:
        assert row.score is not None
        assert row.score.interval is None
        assert (row.rank_low, row.rank_high) == (None, None)
    page = site.http.get("/competitions/digits").text
    assert "Ranks 1–3 by the value alone" in page
    assert "ranked by “Total”, less is better" in page
    assert "not separable: their rank ranges" not in page
    with site.database.writing() as session:
        service.mark(session, first, Eligibility.BASELINE, "ours", Act("organiser", site.clock()))
    marked = {row["submission_id"]: (row["rank"], row["score"]["value"]) for row in site.standings()["rows"]}
    assert marked == {first: (None, 6 / 4), second: (1, 7.5 / 4), third: (2, 10.5 / 4)}, "a baseline takes part"
    with site.database.writing() as session:
        service.mark(session, first, Eligibility.DISQUALIFIED, "cheating", Act("organiser", site.clock()))
    left = {row["submission_id"]: row["score"]["value"] for row in site.standings()["rows"]}
    assert left == {second: (1 + 1 + 1 + 1.5) / 4, third: (2 + 2 + 2 + 1.5) / 4}


FID = Task(id="fid", title="FID", protocol=Protocol.DATASET_METRICS, dataset="d", metric="fid")


def test_distances_rank_from_the_least_and_have_no_interval(site: Site) -> None:
    _plant(site, _ruled(site, _suite(site, {"kind": "mean"}, extra=(FID,), primary=("fid",))))
    entered = {
        _scored(site, _accuracies(site, *(0.5,) * 4) | {"fid": _bare(FID, value)}): value
        for value in (123.4, 7.25, 5000.0)
    }
    view = StandingsView.model_validate(site.standings())
    assert view.less_is_better
    assert [entered[row.submission_id] for row in view.rows] == [7.25, 123.4, 5000.0]
    assert [(row.rank, row.rank_low, row.rank_high) for row in view.rows] == [(n, None, None) for n in (1, 2, 3)]
    first = view.rows[0]
    assert first.score == first.tasks["fid"]
    assert first.score is not None
    assert (first.score.value, first.score.interval) == (7.25, None)
    column = {task.id: task.less_is_better for task in view.tasks}
    assert column == dict.fromkeys((task.id for task in view.tasks), False) | {"fid": True}
    shown = {each["task"]: each["score"] for each in site.view(first.submission_id)["results"]}
    assert shown["fid"] == {"value": 7.25, "interval": None}
    assert shown["digits-test"]["interval"] is not None
    board = site.http.get("/competitions/digits").text
    assert "fid, less is better" in board
    entry = site.http.get(f"/submissions/{first.submission_id}").text
    for part in ("7.250", "interval not known", "range not known", "fid (less is better)"):
        assert part in entry


def test_a_mean_with_a_task_without_an_interval_has_none(site: Site) -> None:
    iqa = FID.model_copy(update={"id": "iqa", "metric": "clip_iqa"})
    suite = _suite(site, {"kind": "mean"}, extra=(iqa,), primary=("digits-test", "iqa"))
    _plant(site, _ruled(site, suite))
    _scored(site, _accuracies(site, *(0.6,) * 4) | {"iqa": _bare(iqa, 0.4)})
    (row,) = StandingsView.model_validate(site.standings()).rows
    assert row.score is not None
    assert (row.score.value, row.score.interval) == (pytest.approx(0.5), None)
    assert (row.rank, row.rank_low) == (1, None)


def test_a_share_beyond_1_is_refused_and_a_distance_is_not(site: Site) -> None:
    _plant(site, _ruled(site, _suite(site, {"kind": "mean"}, extra=(FID,), primary=("fid",))))
    site.enter()
    site.verify(site.claim())
    grant = site.claim()
    task = site.competition.suite.tasks[0]
    refused = site.say(grant, "results", result=_bare(task, 1.5))
    assert refused.status_code == 422
    assert "is a share" in refused.json()["error"]["message"]
    site.must(grant, "results", result=_bare(FID, 1.5))


def test_a_migration_down_keeps_intervals_and_never_drops_what_has_none(site: Site) -> None:
    submission = site.scored(0.7)
    before = site.standings()["rows"]
    migration.downgrade(site.database, "0001")
    migration.upgrade(site.database)
    assert site.standings()["rows"] == before
    with site.database.writing() as session:
        changed = "low = NULL, high = NULL, confidence = NULL, method = NULL, replicates = NULL"
        session.execute(text(f"UPDATE task_results SET {changed} WHERE task = 'digits-test'"))
    with pytest.raises(ConflictError, match="1 accepted results have no interval"):
        migration.downgrade(site.database, "0001")
    migration.require_head(site.database)
    shown = {each["task"]: each["score"]["interval"] for each in site.view(submission)["results"]}
    assert shown.pop("digits-test") is None
    assert all(shown.values())
    assert np.isfinite([row["score"]["value"] for row in site.standings()["rows"]]).all()
