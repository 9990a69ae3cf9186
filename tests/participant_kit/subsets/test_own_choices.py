"""A participant's own condition, function or ranking: exact, counted, recorded, and refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import resource
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competition.data.metadata import list_metadata, write_metadata
from competition.data.uids import UID_DTYPE, load_subset, parse_uids, save_subset, sort_uids, uids_to_hex
from competition.errors import DataFormatError, UsageError
from participant_kit.subsets import StrategyOptions, build_subset, stream
from participant_kit.subsets.function import function_subset
from participant_kit.subsets.ranking import Share
from participant_kit.subsets.top import top_subset
from participant_kit.subsets.where import where_subset
from tests.participant_kit.subsets.synthetic import write_pool

NAN = float("nan")


def write_rows(folder: Path, files: list[list[tuple[str, str | None, int | None, float | None]]]) -> None:
    """Files of rows (uid, text, width, l14 score)."""
    for number, rows in enumerate(files):
        columns = {
            "uid": [uid.rjust(32, "0") for uid, *_ in rows],
            "url": [""] * len(rows),
            "text": [text for _, text, _, _ in rows],
            "original_width": [width for _, _, width, _ in rows],
            "original_height": [100] * len(rows),
            "clip_b32_similarity_score": [0.1] * len(rows),
            "clip_l14_similarity_score": [score for *_, score in rows],
            "face_bboxes": [[]] * len(rows),
            "sha256": ["0" * 64] * len(rows),
        }
        write_metadata(folder, f"{number:032x}", columns)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    write_rows(
        tmp_path / "metadata",
        [
            [("1", "a cat", 100, 0.281), ("2", None, 300, NAN), ("3", "O'Hara's dog", None, 0.3)],
            [("4", "CAT", 500, None), ("5", "über", 200, 0.2), ("1", "again", 200, 0.5)],
        ],
    )
    return tmp_path / "metadata"


CONDITIONS = [
    ("clip_l14_similarity_score >= 0.281", "1 1 3", 2),
    ("clip_l14_similarity_score > 0.281", "1 3", 2),
    ("not clip_l14_similarity_score < 0.281", "1 1 3", 2),
    ("clip_l14_similarity_score > 0.25 and original_width >= 200", "1", 3),
    ("clip_l14_similarity_score is null", "2 4", 0),
    ("clip_l14_similarity_score is not null or original_width > 0", "1 1 2 3 4 5", 0),
    ("original_width between 200 and 300", "1 2 5", 1),
    ("original_width in (100, 500)", "1 4", 1),
    ("greatest(original_width, 150) > 160", "1 2 4 5", 0),
    ("lower(text) like '%cat%'", "1 4", 1),
    ("text = 'O''Hara''s dog' or text = 'avg(x) over select'", "3", 1),
    ("length(text) = 4 and octet_length(text) = 5", "5", 1),
    ("case when original_width > 250 then true else false end", "2 4", 0),
    ("(original_width > 250)", "2 4", 1),
    ("\"text\" = 'again'", "1", 1),
    ("uid = '00000000000000000000000000000005'", "5", 0),
]


@pytest.mark.parametrize(("condition", "kept", "null"), CONDITIONS)
def test_conditions_keep_the_rows_where_they_are_true(
    pool: Path, tmp_path: Path, condition: str, kept: str, null: int
) -> None:
    report = where_subset(condition, pool, tmp_path / "s.npy", workers=2)
    assert [uid.lstrip("0") for uid in uids_to_hex(load_subset(tmp_path / "s.npy"))] == kept.split()
    assert report.dropped == {"condition_null": null, "condition_false": 6 - null - len(kept.split())}
    record = json.loads((tmp_path / "s.npy.json").read_text())
    assert (record["strategy"], record["options"], record["total"]) == ("where", {"condition": condition}, 6)


def test_a_condition_on_the_score_is_the_clip_score_filter(golden: Path, tmp_path: Path) -> None:
    folder = golden / "datacomp_filters"
    for arch, threshold in (("b32", "0.281"), ("b32", "0.25"), ("l14", "0.243")):
        where_subset(f"clip_{arch}_similarity_score >= {threshold}", folder / "metadata", tmp_path / "s.npy")
        expected = folder / "expected" / f"clip_score_{arch}_threshold{threshold}.npy"
        assert (tmp_path / "s.npy").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("clip_l14 > 0.2", "names 'clip_l14', which .* does not have"),
        ('text = "cat"', "names 'cat', which .* does not have"),
        ("original_width", "yields Int64, not true or false"),
        ("original_width + 1", "not true or false"),
        ("1 = 1", "names no column"),
        ("", "cannot be evaluated"),
        ("original_width >", "cannot be evaluated"),
        ("original_width > 1; select 1", "says 'select'"),
        ("original_width > avg(original_width)", r"calls avg\(\), which is not a function of single rows"),
        ("original_width > MAX (original_width)", r"calls MAX\(\)"),
        ('original_width > "max"(original_width)', r"calls quoted_name\(\)"),
        ("original_width > max/**/(original_width)", "has a comment"),
        ("row_number() over (order by original_width) < 3", "says 'over'"),
        ("count(*) > 1", r"calls count\(\)"),
        ("original_width > (select 1)", "says 'select'"),
        ("columns('.*') > 1", r"calls columns\(\)"),
        ("unnest(face_bboxes) > 1", r"calls unnest\(\)"),
        ("read_csv('/etc/passwd')", r"calls read_csv\(\)"),
        ("text > 3", "cannot be evaluated"),
    ],
)
def test_conditions_that_are_no_condition_on_a_row_are_refused(
    pool: Path, tmp_path: Path, condition: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        where_subset(condition, pool, tmp_path / "s.npy")
    assert "\n" not in caught.value.message
    assert not (tmp_path / "s.npy").exists()


def test_a_column_of_one_file_only_is_said_with_the_other_file(pool: Path, tmp_path: Path) -> None:
    path = list_metadata(pool)[1]
    table = pq.ParquetFile(path).read()
    pq.write_table(table.drop_columns(["text"]), path)
    with pytest.raises(UsageError, match=f"names 'text', which .*{path.name} does not have"):
        where_subset("length(text) > 2", pool, tmp_path / "s.npy")


FUNCTIONS = """
import polars as pl
from words import WORD

def keep(frame):
    assert frame.columns[0] == "uid"
    return frame["text"].str.contains(WORD)

def fails(frame):
    return frame["original_width"] / len([]) > missing

def numbers(frame):
    return frame["original_width"]

def short(frame):
    return frame["original_width"].head(1) > 0

def plain(frame):
    return [True] * len(frame)

value = 3
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "words.py").write_text("WORD = '(?i)cat'\n")
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "broken.py").write_text("import nothing_like_this\n")
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_chooses_rows_and_is_recorded_by_digest(
    pool: Path, tmp_path: Path, functions: Path, workers: int
) -> None:
    path = functions / "functions.py"
    report = function_subset(f"{path}:keep", pool, tmp_path / "s.npy", workers)
    assert [uid.lstrip("0") for uid in uids_to_hex(load_subset(tmp_path / "s.npy"))] == ["1", "4"]
    assert report.dropped == {"function_null": 1, "function_false": 3}
    assert report.options == {"function": "keep"}
    assert report.assets == {
        "function": {"file": "functions.py", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    }


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("functions.py:fails", r"function fails failed on 0.*\.parquet: line 10: NameError: name 'missing'"),
        ("functions.py:numbers", r"returned a Series of 3 Int64 for the 3 rows of 0.*parquet"),
        ("functions.py:short", "returned a Series of 1 Boolean for the 3 rows"),
        ("functions.py:plain", "returned <class 'list'>"),
        ("functions.py:value", "has no function value"),
        ("functions.py:other", "has no function other"),
        ("broken.py:keep", "cannot be run: line 1: ModuleNotFoundError"),
        ("absent.py:keep", "There is no file"),
        ("functions.py", "not of the form"),
        ("functions.py:", "not of the form"),
    ],
)
def test_functions_that_do_not_answer_are_refused(
    pool: Path, tmp_path: Path, functions: Path, name: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        function_subset(str(functions / name), pool, tmp_path / "s.npy")
    assert "\n" not in caught.value.message


def top(pool: Path, tmp_path: Path, subset: list[str], share: Share, column: str) -> tuple[str, dict[str, int]]:
    save_subset(tmp_path / "in.npy", sort_uids(parse_uids(subset)))
    report = top_subset(tmp_path / "in.npy", column, pool, tmp_path / "out.npy", share)
    kept = [uid.lstrip("0") for uid in uids_to_hex(load_subset(tmp_path / "out.npy"))]
    assert report.total == len(subset)
    return " ".join(kept), report.dropped


def test_top_keeps_the_best_rows_of_the_subset_with_all_that_tie(pool: Path, tmp_path: Path) -> None:
    score, width = "clip_l14_similarity_score", "original_width"
    none = {"not_in_metadata": 0, "value_missing": 0, "value_too_low": 0}
    # Values by score: 1 -> 0.5 (the greater of two rows), 3 -> 0.3, 5 -> 0.2, 2 NaN, 4 null; by width 1 and 5 tie.
    assert top(pool, tmp_path, list("12345"), Share(count=1), score)[0] == "1"
    assert top(pool, tmp_path, list("12345"), Share(count=2), score) == (
        "1 3",
        none | {"value_missing": 2, "value_too_low": 1},
    )
    assert top(pool, tmp_path, list("12345"), Share(count=5), score)[0] == "1 3 5"
    assert top(pool, tmp_path, list("12345"), Share(fraction=0.2), score)[0] == "1 3"  # n = 1, so the 2nd best
    assert top(pool, tmp_path, list("12345"), Share(fraction=1.0), score)[0] == "1 3 5"
    assert top(pool, tmp_path, list("335"), Share(count=1), score)[0] == "3 3"  # copies stay together
    assert top(pool, tmp_path, list("335"), Share(count=3), score)[0] == "3 3 5"
    assert top(pool, tmp_path, list("15"), Share(count=1), width) == ("1 5", none)  # tie at 200
    assert top(pool, tmp_path, ["1", "77"], Share(count=2), width) == ("1", none | {"not_in_metadata": 1})


@pytest.mark.parametrize(("arch", "fraction"), [("l14", 0.3), ("b32", 0.1)])
def test_top_of_a_pool_is_the_clip_score_filter(golden: Path, tmp_path: Path, arch: str, fraction: float) -> None:
    metadata = golden / "datacomp_filters" / "metadata"
    rows = pl.concat([pl.read_parquet(path) for path in list_metadata(metadata)])
    column = f"clip_{arch}_similarity_score"
    once = rows.filter(pl.len().over("uid") == 1)["uid"].to_list()
    save_subset(tmp_path / "in.npy", sort_uids(parse_uids(once)))
    (tmp_path / "unique").mkdir()
    unique = rows.filter(pl.col("uid").is_in(once))
    pq.write_table(unique.to_arrow(), tmp_path / "unique" / f"{0:032x}.parquet")
    options = StrategyOptions(arch=arch, fraction=fraction)
    build_subset("clip_score", tmp_path / "unique", tmp_path / "expected.npy", options)
    report = top_subset(tmp_path / "in.npy", column, metadata, tmp_path / "out.npy", Share(fraction=fraction), 2)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    assert report.options == {"by": column, "fraction": fraction}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(-3, 3))), min_size=1), st.data())
def test_top_equals_its_definition_whatever_is_in_memory(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int | None]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("top")
    cut = data.draw(st.integers(1, len(rows)))
    files = [part for part in (rows[:cut], rows[cut:]) if part]
    write_rows(folder / "m", [[(f"{uid:x}", "", value, 0.0) for uid, value in part] for part in files])
    subset = data.draw(st.lists(st.integers(0, 10), min_size=1).map(Counter))
    share = Share(count=data.draw(st.integers(1, subset.total())))
    save_subset(folder / "in.npy", np.array(sorted((0, uid) for uid in subset.elements()), dtype=UID_DTYPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream.steps, "__defaults__", (data.draw(st.integers(1, 6)),))
        refused = None
        try:
            top_subset(folder / "in.npy", "original_width", folder / "m", folder / "out.npy", share)
        except UsageError as error:
            refused = error.message
    values: dict[int, int] = {}
    for uid, value in rows:
        if value is not None:
            values[uid] = max(value, values.get(uid, value))
    ranked = sorted((values[uid] for uid in subset.elements() if uid in values), reverse=True)
    least = ranked[min(share.count or 0, len(ranked)) - 1] if ranked else 0
    expected = sorted(uid for uid in subset.elements() if uid in values and values[uid] >= least)
    if expected:
        assert load_subset(folder / "out.npy")["f1"].tolist() == expected
    else:
        assert "top keeps none" in (refused or "")


def test_bad_rankings_are_refused(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is String, which is no number"):
        top(pool, tmp_path, ["1"], Share(count=1), "text")
    with pytest.raises(DataFormatError, match="has no column 'score'"):
        top(pool, tmp_path, ["1"], Share(count=1), "score")
    with pytest.raises(UsageError, match="--count 2 is not between 1 and the subset's 1 rows"):
        top(pool, tmp_path, ["1"], Share(count=2), "original_width")


def test_an_interrupted_ranking_goes_on(tmp_path: Path) -> None:
    write_pool(tmp_path / "m")
    build_subset("no_filter", tmp_path / "m", tmp_path / "in.npy")
    damaged = tmp_path / "m" / f"{1:032x}.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:100])
    arguments = tmp_path / "in.npy", "clip_l14_similarity_score", tmp_path / "m", tmp_path / "out.npy", Share(count=50)
    with pytest.raises(DataFormatError, match="is damaged"):
        top_subset(*arguments)
    assert len(list((tmp_path / ".out.npy.parts").glob("*.npy"))) == 2
    damaged.write_bytes(content)
    assert top_subset(*arguments).kept == 50
    assert not (tmp_path / ".out.npy.parts").exists()


def test_a_column_that_is_there_twice_is_a_fault_of_the_file(pool: Path, tmp_path: Path) -> None:
    path = list_metadata(pool)[0]
    table = pq.ParquetFile(path).read()
    pq.write_table(table.append_column("text", table.column("text")), path)
    with pytest.raises(DataFormatError, match=rf"{path.name} has several columns 'text'"):
        where_subset("text = 'x'", pool, tmp_path / "out.npy")


def test_a_ranking_reads_more_metadata_files_than_may_be_open(tmp_path: Path) -> None:
    write_rows(tmp_path / "m", [[(f"{uid:x}", "", uid, 0.0)] for uid in range(150)])
    save_subset(tmp_path / "in.npy", np.array([(0, uid) for uid in range(150)], dtype=UID_DTYPE))
    most = len(list(Path("/proc/self/fd").iterdir())) + 60
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        top_subset(tmp_path / "in.npy", "original_width", tmp_path / "m", tmp_path / "out.npy", Share(count=7))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert load_subset(tmp_path / "out.npy")["f1"].tolist() == list(range(143, 150))
