"""Where two subsets differ: counts that add up, and a page that is safe to open whatever the shards hold."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.data.shards import Sample, write_shard
from competition.data.uids import parse_uids, save_subset, sort_uids, uids_to_hex
from competition.errors import DataFormatError, UsageError
from participant_kit.subsets.differences import EDGES, SIDES, compare_metadata
from participant_kit.subsets.gallery import MAX_CAPTION, THUMBNAIL_SIDE, find_examples, write_page
from participant_kit.subsets.info import compare_subsets
from tests.participant_kit.subsets.test_own_choices import NAN, write_rows

EVIL = "<script>alert(1)</script>\"'&<img src=https://example.org/x onerror=y>"


def save(path: Path, uids: list[str]) -> Path:
    save_subset(path, sort_uids(parse_uids(uids)))
    return path


def test_rows_are_counted_by_side_score_and_size(tmp_path: Path) -> None:
    rows = [
        [("1", "", 90, 0.2), ("2", "", 100, NAN), ("3", "", None, 0.09)],
        [("4", "", 5000, 0.4), ("5", "", 250, 0.199), ("6", "", 250, 0.5), ("1", "", 90, None)],
    ]
    write_rows(tmp_path / "m", rows)
    a, b = save(tmp_path / "a.npy", list("11236")), save(tmp_path / "b.npy", list("4616f"))
    found = compare_metadata(a, b, tmp_path / "m", workers=2)
    assert found.rows == {"only_a": 2, "only_b": 1, "both": 3, "neither": 1}
    by_name = {each.quantity: each for each in found.histograms}
    assert set(by_name) == set(EDGES)
    for each in found.histograms:
        for side in SIDES:
            assert len(each.counts[side]) == len(each.edges) + 1
            assert sum(each.counts[side]) + each.missing[side] == found.rows[side]
    scores = by_name["clip_l14_similarity_score"]
    assert scores.missing == {"only_a": 1, "only_b": 0, "both": 1}
    assert scores.counts["only_a"][0] == 1  # 0.09 is below the first edge
    assert scores.counts["both"][1 + scores.edges.index(0.2)] == 1  # float32(0.2) is in the bin from 0.2
    assert scores.counts["only_b"][-1] == 1  # 0.4 is at the last edge
    assert by_name["shorter_side"].missing["only_a"] == 1
    assert compare_metadata(a, b, tmp_path / "m").as_json() == found.as_json()
    json.dumps(found.as_json())


def jpeg(shade: int, side: int = 300) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (side, side // 2), (shade, shade, shade)).save(encoded, "JPEG")
    return encoded.getvalue()


def write_shards(folder: Path, shards: int = 6, samples: int = 20) -> list[str]:
    """Numbered uids; some samples lack an image, a caption or a uid, or have one that is none."""
    folder.mkdir()
    uids = []
    for shard in range(shards):
        content = []
        for position in range(samples):
            uid = np.random.default_rng([shard, position]).bytes(16).hex()
            uids.append(uid)
            members = {
                "jpg": b"no image" if position == 3 else jpeg(position * 12),
                "txt": (EVIL if position == 4 else f"caption {uid} " * (100 if position == 5 else 1)).encode(),
                "json": b"[]" if position == 6 else json.dumps({"uid": 5 if position == 7 else uid}).encode(),
            }
            if position == 8:
                del members["jpg"], members["txt"]
            if position == 9:
                del members["json"]
            content.append(Sample(f"{shard:08d}{position:04d}", members))
        write_shard(folder, shard, content)
    return uids


@pytest.fixture
def pool(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two subsets that share a third, and the shards."""
    uids = write_shards(tmp_path / "shards")
    return (
        save(tmp_path / "a.npy", [uid for number, uid in enumerate(uids) if number % 3 != 0]),
        save(tmp_path / "b.npy", [uid for number, uid in enumerate(uids) if number % 3 != 1]),
        tmp_path / "shards",
    )


def test_examples_are_of_their_side_and_of_the_seed(pool: tuple[Path, Path, Path]) -> None:
    found = find_examples(*pool, count=8, seed=3)
    sides = [set(uids_to_hex(np.load(path))) for path in pool[:2]]
    assert len(found.only_a) == len(found.only_b) == 8
    assert {each.uid for each in found.only_a} <= sides[0] - sides[1]
    assert {each.uid for each in found.only_b} <= sides[1] - sides[0]
    assert 4 <= found.shards_read <= found.shards == 6
    assert find_examples(*pool, count=8, seed=3) == found
    assert find_examples(*pool, count=8, seed=4) != found
    for each in found.only_a:
        if each.thumbnail is not None:
            assert max(Image.open(io.BytesIO(each.thumbnail)).size) <= THUMBNAIL_SIDE


def test_the_page_loads_nothing_and_runs_nothing(pool: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, shards = pool
    found = find_examples(a, b, shards, count=200)
    assert found.shards_read == 6
    page = tmp_path / "new" / "page.html"
    write_page(page, ("<a>.npy", "b.npy"), compare_subsets(a, b), found)
    text = page.read_text()
    assert "<script" not in text
    assert "onerror=y" in text  # as text
    assert "<img src=https" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;a&gt;.npy" in text
    assert set(re.findall(r'src="([^"]{0,11})', text)) == {"data:image/"}
    assert "default-src 'none'" in text
    assert "no picture" in text
    assert max(map(len, re.findall(r"<figcaption>(.*?)<br>", text))) < 2 * MAX_CAPTION
    write_page(tmp_path / "again.html", ("<a>.npy", "b.npy"), compare_subsets(a, b), found)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_damaged_shard_is_counted_and_read_up_to_the_damage(pool: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, shards = pool
    content = (shards / "00000002.tar").read_bytes()
    (shards / "00000002.tar").write_bytes(content[: len(content) // 2])
    found = find_examples(a, b, shards, count=200)
    assert (found.shards_read, found.shards_damaged) == (6, 1)
    write_page(tmp_path / "page.html", ("a", "b"), compare_subsets(a, b), found)
    assert "6 of 6 shards, 1 of them damaged" in (tmp_path / "page.html").read_text()


def test_equal_subsets_have_an_empty_page(pool: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, _, shards = pool
    write_page(tmp_path / "page.html", ("a", "a"), compare_subsets(a, a), find_examples(a, a, shards, count=3))
    assert (tmp_path / "page.html").read_text().count("No sample.") == 2


def test_bad_requests_are_refused(pool: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, shards = pool
    for count in (0, 201):
        with pytest.raises(UsageError, match=f"--examples {count} is not between 1 and 200"):
            find_examples(a, b, shards, count)
    with pytest.raises(UsageError, match="--seed -1 is negative"):
        find_examples(a, b, shards, 1, -1)
    with pytest.raises(DataFormatError, match="holds no shard"):
        find_examples(a, b, tmp_path, 1)
    with pytest.raises(UsageError, match=r"does not end in \.html"):
        write_page(tmp_path / "page.txt", ("a", "b"), compare_subsets(a, b), find_examples(a, b, shards, 1))


def test_json_nested_too_deeply_is_no_uid(pool: tuple[Path, Path, Path]) -> None:
    nested = Sample("000000990000", {"jpg": jpeg(0), "txt": b"deep", "json": b"[" * 100_000})
    write_shard(pool[2], 99, [nested])
    assert find_examples(*pool, count=200).shards_read == 7
