"""The page: safe whatever a caption says, the same bytes each time, and what is refused or lacking is said."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from participant_kit.describe.page import MAX_CAPTION, plain
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.describe.made import HOSTILE, write_pool, write_subset
from tests.participant_kit.describe.test_numbers import labelled


class Reader(HTMLParser):
    """Tags and attributes of a page, and tags that are left open."""

    VOID = {"meta", "img", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def made(*words: str | Path) -> None:
    result = typed("describe", *words)
    assert result.code == 0, result.err


def test_a_page_loads_runs_and_believes_nothing(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "<b>pool")
    page = tmp_path / "p.html"
    made(pool, "--save-path", page)
    text, reader = page.read_text(), read(page)
    assert {tag for tag, _ in reader.seen} & {"script", "link", "iframe", "object", "b"} == set()
    for tag, attributes in reader.seen:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)
    assert "A" * (MAX_CAPTION + 1) not in re.sub(r'src="[^"]*"', "", text)
    assert "&lt;script&gt;" in text


def test_a_strangers_text_is_cut_and_on_one_line() -> None:
    assert plain("a\nb\tc\x07<", 100) == "a b c�&lt;"
    assert len(plain(HOSTILE, 10)) < 60


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(tmp_path: Path, workers: int) -> None:
    found = []
    for place in ("one", "two/deeper"):
        (tmp_path / place).mkdir(parents=True)
        pool = write_pool(tmp_path / place / "pool")
        subset = write_subset(tmp_path / place / "a.npy", [0, 1, 1, 2, 4])
        page = tmp_path / place / "p.html"
        made(pool, "--subset", subset, "--save-path", page, "-j", str(workers), "--seed", "3")
        found.append((page.read_bytes(), page.with_name("p.html.json").read_bytes()))
        assert str(tmp_path).encode() not in b"".join(found[-1])
        assert sorted(each.name for each in page.parent.iterdir()) == ["a.npy", "p.html", "p.html.json", "pool"]
    assert found[0] == found[1]


def test_what_is_not_there_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", features=False, shards=False)
    page = tmp_path / "p.html"
    made(pool, "--save-path", page)
    text, found = page.read_text(), json.loads(page.with_name("p.html.json").read_text())
    absent = [name for name, part in found.items() if isinstance(part, dict) and part.get("available") is False]
    assert absent == ["classes", "contamination", "coverage", "look_alikes", "perceptual_duplicates", "pictures"]
    assert text.count('class="missing"') == len(absent)
    for name in absent:
        assert found[name]["why"]
        assert found[name]["do"].endswith(".")
    assert "<code>datacup pool annotate</code>" in text


def test_the_pictures_of_a_page_are_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from participant_kit.describe import pictures

    monkeypatch.setattr(pictures, "MOST_BYTES", 6000)
    page = tmp_path / "p.html"
    made(write_pool(tmp_path / "pool"), "--save-path", page)
    found = json.loads(page.with_name("p.html.json").read_text())["pictures"]
    assert found["left_out"] > 0
    assert found["undecodable"] == 1
    images = re.findall(r"base64,([^\"]*)", page.read_text())
    assert 0 < sum(map(len, images)) * 3 / 4 <= 6000


def test_what_is_no_dataset_or_does_not_fit_it_is_refused(tmp_path: Path) -> None:
    table = labelled(tmp_path)
    pool, subset = tmp_path / "pool", write_subset(tmp_path / "a.npy", [1])
    (tmp_path / "empty").mkdir()
    save: list[str | Path] = ["--save-path", tmp_path / "p.html"]
    cases: list[tuple[list[str | Path], str]] = [
        ([tmp_path / "absent", *save], "There is no dataset"),
        ([tmp_path / "empty", *save], "is neither a pool, nor a folder of shards"),
        ([pool / "metadata", *save], "is neither a pool, nor a folder of shards"),
        ([subset, *save], "is a subset"),
        ([pool / "metadata" / f"{0:032x}.parquet", *save], "is no labelled dataset"),
        ([pool, "--pool", pool, *save], "is a pool itself"),
        ([pool / "shards", "--subset", subset, *save], "of which there is no --subset"),
        ([pool / "shards", "--reference", subset, *save], "--reference needs features"),
        ([table, "--pool", tmp_path / "empty", *save], "has no folder `metadata`"),
        ([pool, "--features", "b32_img", *save], "has no features 'b32_img'"),
        ([pool, "--per-class-accuracy", table, *save], "is for labelled datasets"),
        ([pool, "--coverage-cosine", "1.5", *save], "--coverage-cosine 1.5 is not"),
        ([pool, "--save-path", tmp_path / "p.txt"], "does not end in .html"),
        ([pool, "--shards", tmp_path / "empty", *save], "holds no shard"),
        ([pool, "--evaluation", tmp_path / "no.npy", *save], "No such file"),
    ]
    for words, said in cases:
        assert said in refused("describe", *words).err, words
    record = table.with_name("labels.parquet.json")
    record.write_text("[]")
    assert "is not the record of a labelled dataset" in refused("describe", table, *save).err
    assert not (tmp_path / "p.html").exists()
