"""``datacup pool search``: nearest samples by uid, with a record; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from competition.data.digests import file_sha256
from competition.data.metadata import list_metadata, read_feature, read_uids
from competition.data.uids import uids_to_hex
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.subsets.synthetic import unit, write_pool


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    """The command on a pool of 600 and seven queries."""
    write_pool(tmp_path / "metadata")
    np.save(tmp_path / "queries.npy", unit(np.random.default_rng(4).standard_normal((7, 64))).astype(np.float32))
    paths = ["--queries", tmp_path / "queries.npy", "--save-path", tmp_path / "near.parquet"]
    return ["pool", "search", "--metadata-dir", tmp_path / "metadata", *paths]


def test_neighbours_come_with_uids_and_a_record(tmp_path: Path, words: list[str | Path]) -> None:
    report = json.loads(typed(*words, "-k", 5, "--json", "-j", 1).out)
    files = list_metadata(tmp_path / "metadata")
    vectors = np.concatenate([read_feature(path, "l14_img") for path in files]).astype(np.float32)
    uids = uids_to_hex(np.concatenate([read_uids(path) for path in files]))
    products = np.load(tmp_path / "queries.npy") @ vectors.T
    table = pq.read_table(tmp_path / "near.parquet").to_pydict()
    for query in range(7):
        expected = np.argsort(-products[query], kind="stable")[:5]
        here = [row for row, each in enumerate(table["query"]) if each == query]
        assert [table["rank"][row] for row in here] == list(range(5))
        assert [table["uid"][row] for row in here] == [uids[row] for row in expected]
        found = [table["similarity"][row] for row in here]
        assert found == pytest.approx(products[query][expected].tolist(), abs=1e-6)
    assert report == json.loads((tmp_path / "near.parquet.json").read_text())
    assert report["neighbours_sha256"] == file_sha256(tmp_path / "near.parquet")
    assert (report["recall"], report["index"]) == (1.0, {"kind": "flat"})


def test_an_approximate_index_is_kept_and_its_recall_is_shown(tmp_path: Path, words: list[str | Path]) -> None:
    shown = typed(*words, "--index", "hnsw", "--index-dir", tmp_path / "index", "-j", 1)
    assert shown.code == 0, shown.err
    assert "recall@10" in shown.out
    assert "(on 7 queries)" in shown.out
    assert len(list((tmp_path / "index").glob("*.faiss"))) == 3
    assert json.loads((tmp_path / "near.parquet.json").read_text())["recall"] >= 0.95


def test_a_folder_with_the_index_of_another_pool_or_kind_is_refused_and_left_as_it_is(
    tmp_path: Path, words: list[str | Path]
) -> None:
    folder = tmp_path / "index"
    search = [*words, "--index-dir", folder, "-j", 1, "--index"]

    def held() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert typed(*search, "hnsw").code == 0
    before = held()
    assert typed(*search, "hnsw").code == 0
    assert typed(*search, "flat").code == 0
    assert held() == before
    write_pool(tmp_path / "other", files=1, rows=100)
    for more in (["ivf-pq"], ["hnsw", "--seed", 1], ["hnsw", "--metadata-dir", tmp_path / "other"]):
        said = refused(*search, *more).err
        assert "has the index of other vectors, another kind or another version (3 files, 000000." in said
        assert "--index-dir" in said
        assert held() == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["-k", "601"], "-k 601 is not between 1 and the pool's 600 rows"),
        (["--index", "annoy"], "There is no index 'annoy'"),
        (["--index", "ivf-pq"], "600 vectors are too few to train"),
        (["--features", "b32_img"], "has no 'b32_img'"),
        (["--save-path", "near.npy"], "does not end in .parquet"),
    ],
)
def test_what_it_cannot_do_is_answered_in_one_sentence(words: list[str | Path], more: list[str], sentence: str) -> None:
    assert sentence in refused(*words, *more, "-j", 1).err


def test_queries_that_cannot_be_compared_are_refused(tmp_path: Path, words: list[str | Path]) -> None:
    good = np.load(tmp_path / "queries.npy")
    spoilt = good.copy()
    spoilt[2, 5] = np.inf
    for queries, sentence in (
        (good[:, :32], "has vectors of 32 dimensions"),
        (2 * good, "Row 0 of queries.npy has length 2, not 1"),
        (spoilt, "Row 2 of queries.npy is not finite"),
        (good[:0], "have no rows"),
    ):
        np.save(tmp_path / "queries.npy", queries)
        assert sentence in refused(*words, "-j", 1).err
