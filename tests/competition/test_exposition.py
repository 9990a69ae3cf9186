"""The page of metrics is the format that Prometheus reads, whatever the labels are called."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.exposition import Family, exposition

LINE = re.compile(r'datacup_things\{name="((?:[^"\\\n]|\\[\\n"])*)"\} (\S+)')


def test_families_have_help_type_and_sorted_samples() -> None:
    jobs = Family("datacup_jobs_total", "counter", "Jobs\nby kind \\ state.", ("kind", "state"))
    jobs.add(1, "scoring", "done")
    jobs.add(2, "intake", "dead")
    jobs.add(1, "scoring", "done")
    age = Family("datacup_age", "gauge", "Age.")
    age.set(0.25)
    assert exposition([jobs, age]) == (
        "# HELP datacup_jobs_total Jobs\\nby kind \\\\ state.\n"
        "# TYPE datacup_jobs_total counter\n"
        'datacup_jobs_total{kind="intake",state="dead"} 2\n'
        'datacup_jobs_total{kind="scoring",state="done"} 2\n'
        "# HELP datacup_age Age.\n"
        "# TYPE datacup_age gauge\n"
        "datacup_age 0.25\n"
    )


@given(st.text(), st.floats())
def test_no_label_breaks_out_of_its_line_and_numbers_come_back(label: str, value: float) -> None:
    family = Family("datacup_things", "gauge", "Things.", ("name",))
    family.set(value, label)
    line = exposition([family]).split("\n", 2)[2].removesuffix("\n")
    matched = LINE.fullmatch(line)
    assert matched is not None
    unescaped = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], matched[1])
    assert unescaped == label
    read = float(matched[2])
    assert read == value or (math.isnan(read) and math.isnan(value))


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("a-b", "gauge", ()),
        ("9a", "gauge", ()),
        ("jobs", "counter", ()),
        ("a_total", "gauge", ()),
        ("a", "gauge", ("x-y",)),
    ],
)
def test_names_that_the_format_does_not_know_are_refused(name: str, kind: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        Family(name, kind, "Something.", labels)  # type: ignore[arg-type]


def test_a_sample_needs_all_labels() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        Family("a", "gauge", "A.", ("x", "y")).set(1, "one")
