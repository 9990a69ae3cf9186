"""Local folders and webdatasets as pools: every image with a caption and a uid, every other file counted."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from competition.data.shards import Sample, expected_samples, list_shards, read_samples, write_shard
from competition.errors import DataFormatError, UsageError
from participant_kit.pools import importing
from participant_kit.pools.captions_table import CaptionTable
from participant_kit.pools.importing import import_pool
from tests.participant_kit.pools.web import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images in two folders, one of them with no caption, and files that are none."""
    source = tmp_path / "source"
    (source / "dogs").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.jpeg", "dogs/c.JPG", "dogs/d.jpg", "dogs/e.jpg")):
        (source / name).write_bytes(picture(number))
    (source / "a.txt").write_text("caption of a\n")
    (source / "b.json").write_text('{"text": "caption of b"}')
    (source / "dogs" / "c.txt").write_text("caption of c")
    (source / "dogs" / "d.txt").write_text("caption of d")
    (source / "torn.png").write_bytes(b"not an image")
    (source / ".hidden.jpg").write_bytes(picture(9))
    (source / "notes.md").write_text("not an image either")
    return source


def _samples(pool: Path) -> list[Sample]:
    return [sample for shard in list_shards(pool / "shards").shards for sample in read_samples(shard.path)]


def test_a_folder_of_images_becomes_shards(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "SHARD_SAMPLES", 4)
    report = import_pool(folder, tmp_path / "pool", workers=1)
    assert (report.found, report.samples, report.shards, report.without_caption) == (6, 5, 2, 1)
    assert report.dropped == {"not a JPEG, PNG or WebP image": 1}
    samples = _samples(tmp_path / "pool")
    assert [s.key for s in samples] == [f"0000000{key}" for key in ("00000", "00001", "00002", "00003", "10000")]
    assert [s.members["txt"].decode() for s in samples] == [*(f"caption of {name}" for name in "abcd"), ""]
    assert [s.members["jpg"] for s in samples] == [picture(number) for number in range(5)]
    described = json.loads(samples[2].members["json"])
    assert described["source"] == "dogs/c.JPG"
    assert (described["original_width"], described["original_height"], len(described["uid"])) == (80, 60, 32)
    shards = list_shards(tmp_path / "pool" / "shards").shards
    assert [expected_samples(shard) for shard in shards] == [4, 1]
    log = pq.read_table(shards[1].path.with_suffix(".parquet")).to_pylist()
    assert [(row["source"], row["status"]) for row in log] == [("dogs/e.jpg", "success"), ("torn.png", "failed")]


def test_an_image_has_the_same_uid_wherever_it_is_imported(folder: Path, tmp_path: Path) -> None:
    import_pool(folder, tmp_path / "one", workers=1)
    (folder / "dogs" / "d.jpg").rename(folder / "0.jpg")
    (folder / "dogs" / "d.txt").rename(folder / "0.txt")
    import_pool(folder, tmp_path / "two", workers=2)
    uids = [
        {json.loads(s.members["json"])["uid"] for s in _samples(pool)} for pool in (tmp_path / "one", tmp_path / "two")
    ]
    assert uids[0] == uids[1]


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_captions_may_come_from_a_table(kind: str, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / f"captions.{kind}"
    rows = [("a.jpg", 'one, "quoted"'), ("c.JPG", "three"), ("dogs/d.jpg", "four")]
    if kind == "parquet":
        pq.write_table(pa.table({"name": [r[0] for r in rows], "words": [r[1] for r in rows]}), table)
    else:
        mark = "," if kind == "csv" else "\t"
        lines = [mark.join(('"' + cell.replace('"', '""') + '"') for cell in row) for row in rows]
        table.write_text("\n".join([mark.join(("name", "words")), *lines]))
    report = import_pool(folder, tmp_path / "pool", captions=CaptionTable(table, "name", "words"), workers=1)
    captions = [sample.members["txt"].decode() for sample in _samples(tmp_path / "pool")]
    assert captions == ['one, "quoted"', "", "three", "four", ""]
    assert report.without_caption == 2
    with pytest.raises(DataFormatError, match="no column 'file'"):
        import_pool(folder, tmp_path / "other", captions=CaptionTable(table), workers=1)


def test_a_webdataset_keeps_its_members_and_the_uids_it_has(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    own = json.dumps({"uid": "a" * 32, "original_width": 900, "idx": 7}).encode()
    samples = [
        Sample("n01/1", {"jpg": picture(1), "json": b'{"idx": 3, "caption": "told \\ud800"}'}),
        Sample("n01/2", {"png": picture(2), "cls": b"4", "txt": b"a cat"}),
        Sample("n01/3", {"jpg": picture(3), "json": own}),
        Sample("n01/4", {"cls": b"5"}),
        Sample("n01/5", {"jpg": picture(5), "json": b"[[[", "txt": b"\xff"}),
    ]
    write_shard(source, 7, samples)
    report = import_pool(source, tmp_path / "pool", workers=1)
    assert (report.found, report.samples, report.kept_uids) == (5, 4, 1)
    assert report.dropped == {"no image, or one that is too large": 1}
    made = _samples(tmp_path / "pool")
    described = [json.loads(sample.members["json"]) for sample in made]
    assert [d.get("idx") for d in described] == [3, None, 7, None]
    assert (described[2]["uid"], described[2]["original_width"], described[2]["width"]) == ("a" * 32, 900, 80)
    assert made[1].members["cls"] == b"4"
    assert made[1].members["jpg"] == picture(2)
    assert made[0].members["txt"] == b"told ?"


def test_an_import_goes_on_and_knows_its_source(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "SHARD_SAMPLES", 2)
    first = import_pool(folder, tmp_path / "pool", workers=1)
    tars = sorted((tmp_path / "pool" / "shards").glob("*.tar"))
    before = [tar.read_bytes() for tar in tars]
    times = [tar.stat().st_mtime_ns for tar in tars]
    tars[1].unlink()
    (tars[1].parent / ".00000001.tar.0123.partial").write_bytes(b"left by a kill")
    assert import_pool(folder, tmp_path / "pool", workers=1) == first
    assert [tar.read_bytes() for tar in tars] == before
    assert not list(tars[1].parent.glob(".*"))
    assert [tar.stat().st_mtime_ns for tar in (tars[0], tars[2])] == [times[0], times[2]]
    (folder / "new.jpg").write_bytes(picture(20))
    with pytest.raises(UsageError, match="changed since its import"):
        import_pool(folder, tmp_path / "pool", workers=1)


def test_what_cannot_be_imported_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        import_pool(tmp_path / "absent", tmp_path / "pool")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFormatError, match="neither tars nor images"):
        import_pool(tmp_path / "empty", tmp_path / "pool")
    with pytest.raises(UsageError, match="into itself"):
        import_pool(folder, folder)
    write_shard(folder, 0, [Sample("a", {"jpg": picture(1)})])
    tar = folder / "00000000.tar"
    tar.write_bytes(tar.read_bytes()[:-9000])
    with pytest.raises(DataFormatError, match="is damaged at byte"):
        import_pool(folder, tmp_path / "damaged", workers=1)
