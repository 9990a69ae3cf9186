"""Reports of a few kilobytes that hold millions of outcomes keep nobody's machine busy, and NaN reaches no output."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from competition.errors import UsageError
from competition.records.evaluation import MAX_COMPONENTS, MAX_OUTCOMES, Outcomes, TaskResult
from competition.statistics import REPLICATES, bootstrap_replicates, percentile_interval
from participant_kit.comparison import cost
from participant_kit.comparison.cost import LEAST_REPLICATES, MOST_DRAWS, affordable_replicates
from participant_kit.comparison.paired import compare_reports
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.comparison.made import report, result, right, write

PLACES = (Path("a"), Path("b"))
MILLIONS = {"count": MAX_OUTCOMES, "data": base64.b64encode(zlib.compress(bytes(2 * MAX_OUTCOMES), 9)).decode()}


def with_outcomes(name: str, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    return result(name, [np.zeros(3)]).model_dump(mode="json") | {"outcomes": outcomes}


def of(*counts: int) -> TaskResult:
    """A result of components of these sizes, whose data nobody reads."""
    bare = result("t", [np.zeros(3)])
    return bare.model_copy(update={"outcomes": tuple(Outcomes(count=count, data="") for count in counts)})


def stored(path: Path, *results: dict[str, Any]) -> Path:
    path.write_text(json.dumps(report().model_dump(mode="json") | {"results": results}))
    return path


def test_the_outcomes_of_a_result_are_bounded_together(tmp_path: Path) -> None:
    assert TaskResult.model_validate(with_outcomes("t", [MILLIONS])).outcomes[0].count == MAX_OUTCOMES
    one = {"count": 1, "data": Outcomes.encode(np.ones(1)).data}
    with pytest.raises(ValidationError, match="10000001 outcomes are more than 10000000"):
        TaskResult.model_validate(with_outcomes("t", [MILLIONS, one]))
    with pytest.raises(ValidationError, match="at most 100000 items"):
        TaskResult.model_validate(with_outcomes("t", [one] * (MAX_COMPONENTS + 1)))
    bomb = stored(tmp_path / "bomb.json", with_outcomes("t", [MILLIONS] * 40))
    assert bomb.stat().st_size < 2_000_000
    assert "bomb.json is not an evaluation report" in refused("compare", bomb, bomb).err


def test_more_outcomes_than_can_be_resampled_are_refused(tmp_path: Path) -> None:
    """Two tasks of ten million: minutes, were they resampled."""
    large = stored(tmp_path / "large.json", with_outcomes("t", [MILLIONS]), with_outcomes("u", [MILLIONS]))
    assert large.stat().st_size < 100_000
    assert "have 20,000,000 outcomes, too many to resample them" in refused("compare", large, large).err
    columns = ("--x", "t", "--y", "u")
    assert "have 20,000,000 outcomes, too many to resample them" in refused("fit", large, large, large, *columns).err


def test_fewer_replicates_are_the_first_ones_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = right(0.4, 100, 1), right(0.2, 100, 1, noise=1)
    reports = report(result("t", [one])), report(result("t", [other]))
    places = [write(tmp_path / name, found) for name, found in zip("ab", reports, strict=True)]
    whole = typed("compare", *places)
    assert "resamples are drawn" not in whole.err
    assert json.loads(typed("compare", *places, "--json").out)["replicates"] == REPLICATES
    monkeypatch.setattr(cost, "MOST_DRAWS", 500 * 110)  # a component costs as much as ten units
    found = compare_reports(*reports, PLACES)
    assert found.replicates == 500
    digest = reports[0].suite_digest
    first, second = (bootstrap_replicates([part], seed_text=digest)[:500] for part in (one, other))
    assert found.tasks[0].interval == percentile_interval(first - second)
    assert "500 resamples are drawn instead of 2,000" in typed("compare", *places).err


def test_what_is_affordable() -> None:
    assert affordable_replicates([]) == REPLICATES
    assert affordable_replicates([(of(50_000), of(50_000))] * 36) == REPLICATES
    assert affordable_replicates([(of(4_000_000 - 10), of(1))]) == 1000
    assert affordable_replicates([(of(*[10] * 100_000),)]) == REPLICATES  # as dear as two million units
    assert affordable_replicates([(of(*[1] * 100_000),)] * 2) == MOST_DRAWS // (2 * 1_100_000)
    with pytest.raises(UsageError, match="too many to resample"):
        affordable_replicates([(of(*[1] * 100_000),)] * (MOST_DRAWS // LEAST_REPLICATES // 1_100_000 + 1))
    assert affordable_replicates([[of(5_000_000)] * 10]) == 799
    with pytest.raises(UsageError, match="55,000,000 outcomes of one task"):
        affordable_replicates([[of(5_000_000)] * 11])


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf])
def test_outcomes_that_are_not_finite_are_refused(tmp_path: Path, wild: float) -> None:
    raw = np.array([1.0, wild, 0.0], dtype="<f2").tobytes()
    outcomes = Outcomes(count=3, data=base64.b64encode(zlib.compress(raw)).decode())
    with pytest.raises(ValueError, match="outcomes are not finite"):
        outcomes.decode()
    sound = write(tmp_path / "sound", report(result("t", [np.ones(3)])))
    bad = stored(tmp_path / "bad.json", with_outcomes("t", [outcomes.model_dump()]))
    assert "task 't': outcomes are not finite" in refused("compare", sound, bad).err
    shown = typed("compare", sound, bad, "--json")
    assert shown.code not in {0, 1}
    assert json.loads(shown.out, parse_constant=pytest.fail)["error"]
