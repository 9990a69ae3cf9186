"""Rows of whole numbers beside an image: those that a float does not have exactly are refused by the sample's name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from competition.data.shards import Sample
from competition.errors import EvaluationError
from competition.evaluation.set_columns import ColumnsError, row
from competition.evaluation.sets import load_columns
from tests.competition.evaluation.test_sets import write_set


def npy(values: object, dtype: str) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(values, dtype=dtype))
    return stream.getvalue()


@given(st.lists(st.integers(-(2**53), 2**53), max_size=64))
def test_whole_numbers_come_back(values: list[int]) -> None:
    assert row(npy(values, "<i8")) == tuple(values)
    assert row(npy(values, ">i8")) == tuple(values)


def test_other_types_and_a_single_number() -> None:
    assert row(npy([1.0, -0.0, 2.0**53], "<f8")) == (1, 0, 2**53)
    assert row(npy([True, False], "?")) == (1, 0)
    assert row(npy([2**53], "<u8")) == (2**53,)
    assert row(npy(7, "u1")) == (7,)


OUTSIDE = [
    ([np.inf], "<f8"), ([-np.inf, 1], "<f4"), ([2.0**53 + 2], "<f8"), ([2**53 + 1], "<i8"),
    ([1e300], "<f8"), ([-1e300], "<f8"),
    ([2.0**63], "<f8"), ([-(2.0**63)], "<f8"), ([2**63], "<u8"), ([2**64 - 1, 0], "<u8"), ([-(2**63)], "<i8"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "dtype"), OUTSIDE)
def test_numbers_that_are_too_large(values: list[object], dtype: str) -> None:
    with pytest.raises(ColumnsError, match="a number that is too large"):
        row(npy(values, dtype))


WORDS = [([0.5], "<f8"), ([np.nan, 1], "<f8"), ([1 + 1j], "<c16"), (["1"], "<U1")]


@pytest.mark.parametrize(("values", "dtype"), WORDS)
def test_what_is_no_whole_number(values: list[object], dtype: str) -> None:
    with pytest.raises(ColumnsError, match="something else than whole numbers"):
        row(npy(values, dtype))


def test_too_many_axes_or_numbers_are_no_row() -> None:
    for values in ([[1, 2]], list(range(65))):
        with pytest.raises(ColumnsError, match="no row of numbers"):
            row(npy(values, "u1"))
    with pytest.raises(ColumnsError, match="cannot be read"):
        row(npy([1, 2], "<i8")[:-1])


@pytest.mark.parametrize(("values", "dtype"), OUTSIDE)
def test_a_set_with_such_a_row_names_the_sample(tmp_path: Path, values: list[object], dtype: str) -> None:
    samples = [Sample("sound", {"npy": npy([1, 2], "<i8")}), Sample("wild", {"npy": npy(values, dtype)})]
    with pytest.raises(EvaluationError, match=r"'wild' .* a number that is too large"):
        load_columns(write_set(tmp_path / "set", samples), ["a", "b"][: len(values)])
