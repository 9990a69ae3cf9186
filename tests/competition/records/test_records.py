"""Records survive a round trip, refuse what they do not know, and old files load for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from competition.canonical import canonical_json
from competition.records.audit import AuditReport
from competition.records.base import HttpUrl, Line, Prose, Record
from competition.records.evaluation import EvaluationReport, Interval, Outcomes, TaskResult
from competition.records.lifecycle import GENESIS_HASH, Event, chain_is_intact
from competition.records.lineage import DatasetLineage
from competition.records.manifest import FileRole, ManifestFile, SubmissionManifest
from competition.records.training import TrainingReport

KEPT = Path(__file__).resolve().parents[2] / "data" / "records"
KINDS: dict[str, type[Record]] = {
    "submission.json": SubmissionManifest,
    "training_report.json": TrainingReport,
    "evaluation_report.json": EvaluationReport,
    "dataset.json": DatasetLineage,
    "audit_report.json": AuditReport,
    "submission_of_predictions.json": SubmissionManifest,
    "evaluation_report_of_predictions.json": EvaluationReport,
}


@pytest.mark.parametrize("path", sorted(KEPT.glob("v*/*.json")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_records_of_every_past_version_load(path: Path) -> None:
    kind = KINDS[path.name]
    record = kind.model_validate_json(path.read_bytes())
    assert kind.model_validate_json(record.model_dump_json()) == record


def test_a_kept_file_of_every_kind_exists() -> None:
    assert {path.name for path in KEPT.glob("v1/*.json")} == set(KINDS)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=500))
def test_outcomes_survive_a_round_trip(values: list[float]) -> None:
    outcomes = Outcomes.encode(np.asarray(values))
    assert outcomes.decode().tolist() == values
    assert Outcomes.model_validate_json(outcomes.model_dump_json()) == outcomes


@pytest.mark.parametrize("value", [65_520.0, -1e9, float("nan"), float("inf")])
def test_outcomes_that_half_a_word_cannot_hold_are_refused_and_never_become_infinite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Outcomes.encode(np.array([1.0, value]))
    assert Outcomes.encode(np.array([-65_504.0, 31.25])).decode().tolist() == [-65_504.0, 31.25]


def _distance(**changes: object) -> dict[str, object]:
    fields = {"task": "fid", "metric": "fid", "value": 123.4, "interval": None, "metrics": {"fid": 123.4}}
    return fields | {"samples": 10, "seconds": 1.0} | changes


def test_a_result_may_be_any_finite_number_with_or_without_an_interval() -> None:
    bare = TaskResult.model_validate(_distance())
    assert bare.interval is None
    assert TaskResult.model_validate_json(bare.model_dump_json()) == bare
    bounded = _distance(value=-0.5, interval={"low": -2.0, "high": 7.5, "method": "bootstrap"})
    assert TaskResult.model_validate(bounded).interval == Interval(low=-2.0, high=7.5, method="bootstrap")
    without = _distance()
    del without["interval"]
    for wrong in (_distance(value=float("inf")), _distance(value=float("nan")), without):
        with pytest.raises(ValidationError):
            TaskResult.model_validate(wrong)


def test_what_only_a_scorer_says_of_a_result_changes_no_other_results_bytes() -> None:
    """Digests are over the JSON: results from before there was a device must keep theirs."""
    bare = TaskResult.model_validate(_distance())
    assert not {"device", "device_seconds"} & set(bare.model_dump())
    assert "device" not in bare.model_dump_json()
    measured = bare.model_copy(update={"device": "a GPU", "device_seconds": 0.0})
    assert measured.model_dump_json().startswith(bare.model_dump_json()[:20])
    assert (measured.model_dump()["device"], measured.model_dump()["device_seconds"]) == ("a GPU", 0.0)
    assert TaskResult.model_validate_json(measured.model_dump_json()) == measured


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.4), (float("-inf"), 0.0), (0.0, float("nan"))])
def test_an_interval_is_finite_and_in_order(low: float, high: float) -> None:
    with pytest.raises(ValidationError):
        Interval(low=low, high=high, method="bootstrap")


def test_outcomes_that_expand_beyond_their_count_are_refused() -> None:
    bomb = Outcomes.encode(np.zeros(1_000_000))
    with pytest.raises(ValueError, match="instead of 20"):
        Outcomes(count=10, data=bomb.data).decode()


@pytest.mark.parametrize(
    "path", ["../up", "/etc/passwd", "a/../b", "a//b", "a\\b", "", ".", "..", "a\nb", "a/./b", "ü" * 600]
)
def test_a_manifest_path_stays_inside_the_folder(path: str) -> None:
    with pytest.raises(ValidationError):
        ManifestFile(path=path, role=FileRole.CARD, size=1, sha256="0" * 64)


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x07", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066"])
def test_texts_that_obey_no_reader_are_refused(character: str) -> None:
    for kind in (Line, Prose, HttpUrl):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(f"https://example.org/{character}")


def test_texts_of_every_language_are_taken() -> None:
    for text in ("Größe", "手書き数字", "שלום", "naïve — 100 %", "e\u0301\u200d"):
        assert TypeAdapter(Line).validate_python(text) == text
    prose = "First.\r\n\n\tSecond."
    assert TypeAdapter(Prose).validate_python(prose) == prose
    address = "http://user@[::1]:8000/a;b?c=%C3%BC&d#e"
    assert TypeAdapter(HttpUrl).validate_python(address) == address


def _chain(kinds: list[str]) -> list[Event]:
    events: list[Event] = []
    previous = GENESIS_HASH
    for sequence, kind in enumerate(kinds, start=1):
        draft = Event(
            submission_id="s-1",
            sequence=sequence,
            at=datetime(2026, 1, 1, second=sequence % 60, tzinfo=UTC),
            actor="test",
            kind=kind,
            previous_hash=previous,
            hash=GENESIS_HASH,
        )
        events.append(draft.model_copy(update={"hash": draft.expected_hash()}))
        previous = events[-1].hash
    return events


@given(st.lists(st.sampled_from(["processing", "task_result", "lease_expired"]), min_size=1, max_size=8), st.data())
def test_any_change_of_the_event_log_breaks_its_chain(kinds: list[str], data: st.DataObject) -> None:
    events = _chain(kinds)
    assert chain_is_intact(events)
    position = data.draw(st.integers(0, len(events) - 1))
    changed = events[position].model_copy(update={"actor": "somebody else"})
    assert not chain_is_intact([*events[:position], changed, *events[position + 1 :]])
    if position < len(events) - 1:
        assert not chain_is_intact([*events[:position], *events[position + 1 :]])


@given(st.integers(2, 8), st.sets(st.integers(0, 7)), st.data())
def test_what_is_withheld_keeps_its_place_in_the_chain(length: int, withheld: set[int], data: st.DataObject) -> None:
    taken = {"actor": "withheld", "kind": "withheld", "detail": {}, "withheld": True}
    events = [
        event.model_copy(update=taken) if position in withheld else event
        for position, event in enumerate(_chain(["processing"] * length))
    ]
    assert chain_is_intact(events)
    position = data.draw(st.integers(0, length - 1))
    one, rest = events[position], events[position + 1 :]
    other_hash = one.model_copy(update={"hash": "1" * 64})
    # Only the head of a log may be withheld and changed unseen: nothing follows that holds it.
    assert chain_is_intact([*events[:position], other_hash, *rest]) == (one.withheld and not rest)
    if rest:
        assert not chain_is_intact([*events[:position], *rest])
    assert chain_is_intact([*events[:position], one.model_copy(update={"actor": "x"}), *rest]) == one.withheld


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1.0, "ü"]}) == canonical_json({"a": [1, "ü"], "b": 1.0})
