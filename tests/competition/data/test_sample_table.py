"""The quick scans say what the careful one says, or leave it to it; uids are what json.loads finds."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.data import native
from competition.data.sample_table import NO_TEXTS, SampleTable, scan_ranges, scan_table
from competition.data.sample_uids import MALFORMED, NO_JSON, read_uids, well_formed
from competition.data.shards import Sample, scan_samples, write_shard
from competition.data.tar import BLOCK, TarWriter, header, open_tar
from competition.data.tar_headers import headers_of, read_plain_tar
from competition.data.uids import parse_uid
from competition.errors import DataFormatError

UID = "0123456789abcdef" * 2
COLUMNS = ("starts", "stops", "firsts", "offsets", "sizes", "kinds")


@pytest.fixture(scope="module", params=["native", "python"], autouse=True)
def _twin(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything here is proven of the native module and of the Python that stands in for it."""
    if request.param == "native":
        if native.module is None:
            pytest.skip("the native module was not built (no C++ compiler)")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "module", None)
        yield


def assert_same(table: SampleTable, path: Path) -> None:
    """Whatever way it was found, the table is that of the careful scan, up to the numbering of extensions."""
    with open_tar(path) as buffer:
        expected = SampleTable.of(scan_samples(buffer, path))
    for column in COLUMNS[:-1]:
        assert getattr(table, column).tolist() == getattr(expected, column).tolist()
    names = [table.extensions[kind] for kind in table.kinds]
    assert names == [expected.extensions[kind] for kind in expected.kinds]


NAMES = st.one_of(
    st.builds("{}.{}".format, st.sampled_from(["a", "b", "ab", "0001", "10"]), st.sampled_from(["jpg", "json", "txt"])),
    st.sampled_from(["a.JPG", "README", ".hidden", "d.e/c.txt", "é.jpg", "a..b", "a.", "x" * 90 + ".json"]),
    st.from_regex(r"[a-c]{1,3}(\.[a-c]{1,3}){1,2}", fullmatch=True),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=1600)), max_size=12),
    st.sampled_from([None, tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.data(),
)
def test_the_table_is_that_of_the_careful_scan(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], kind: int | None, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("tars") / "x.tar"
    if kind is None:
        with path.open("wb") as stream:
            writer = TarWriter(stream)
            for name, content in files:
                writer.add(name, content)
            writer.finish()
    else:
        with tarfile.open(path, "w", format=kind) as archive:
            for name, content in files:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    with open_tar(path) as buffer:
        table, texts = scan_table(buffer, path)
        assert len(texts.ends) in {0, len(table.kinds)}
        for member, (first, last) in enumerate(pairwise([0, *texts.ends.tolist()])):
            if last - first == table.sizes[member]:
                assert (
                    texts.content[first:last]
                    == buffer[table.offsets[member] : table.offsets[member] + table.sizes[member]]
                )
        rows = np.array(
            data.draw(st.lists(st.integers(0, len(table) - 1), unique=True)) if len(table) else [], np.int64
        )
        rows.sort()
        (part, _), expected = scan_ranges(buffer, path, table.starts[rows], table.stops[rows]), table.take(rows)
    assert_same(table, path)
    assert [getattr(part, c).tolist() for c in COLUMNS[:-1]] == [getattr(expected, c).tolist() for c in COLUMNS[:-1]]


def test_plain_shards_take_the_quick_way(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, [Sample(f"{i:04d}", {"jpg": bytes(5000), "json": b"{}"}) for i in range(5000)])
    path = tmp_path / "00000000.tar"
    with open_tar(path) as buffer:
        members = read_plain_tar(buffer, path)
        assert members is not None
        assert len(members.starts) == 10_000
        table, texts = scan_table(buffer, path)
        assert texts.content.count(b"{}") == 5000
    assert table.extensions == ("jpg", "json")
    assert_same(table, path)


@given(st.integers(0, 10 * 2560 - 1), st.integers(0, 255))
def test_a_changed_byte_is_damage_or_changes_no_place(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    write_shard(folder, 0, [Sample(f"{i:04d}", {"jpg": bytes([i + 1]) * 700, "json": b"{}"}) for i in range(10)])
    path = folder / "00000000.tar"
    content = bytearray(path.read_bytes())
    content[position] = value
    path.write_bytes(content)
    with open_tar(path) as buffer:
        try:
            expected: list[str] | str = [span.key for span in scan_samples(buffer, path)]
        except DataFormatError as error:
            expected = error.message
        if isinstance(expected, str):
            with pytest.raises(DataFormatError, match=re.escape(expected)):
                scan_table(buffer, path)
        else:
            assert len(scan_table(buffer, path)[0]) == len(expected)


def outcome(path: Path) -> tuple[dict[str, list[int]], tuple[str, ...]] | str:
    """What the scan in use says of a tar: the table, or why there is none."""
    with open_tar(path) as buffer:
        try:
            table, _ = scan_table(buffer, path)
        except DataFormatError as error:
            return error.message
    return {column: getattr(table, column).tolist() for column in COLUMNS}, table.extensions


def careful(path: Path) -> tuple[dict[str, list[int]], tuple[str, ...]] | str:
    """What the scan that looks at every member says."""
    with open_tar(path) as buffer:
        try:
            table = SampleTable.of(scan_samples(buffer, path))
        except DataFormatError as error:
            return error.message
    return {column: getattr(table, column).tolist() for column in COLUMNS}, table.extensions


FIELDS = st.sampled_from(
    [0, 1, 99, 100, 124, 125, 134, 135, 148, 153, 154, 155, 156, 157, 257, 262, 263, 345, 346, 511]
)


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 11),
    st.lists(st.tuples(FIELDS, st.integers(0, 255)), max_size=3),
    st.one_of(st.none(), st.integers(0, 30 * BLOCK)),
    st.booleans(),
)
def test_hostile_headers_and_truncated_tars_are_judged_as_by_the_careful_scan(
    tmp_path_factory: pytest.TempPathFactory,
    member: int,
    changes: list[tuple[int, int]],
    length: int | None,
    right_checksum: bool,
) -> None:
    stream = io.BytesIO()
    writer = TarWriter(stream)
    for index in range(4):
        for extension, size in (("jpg", 1000), ("json", 40), ("txt", 0)):
            writer.add(f"{index:04d}.{extension}", b"x" * size)
    writer.finish()
    content = bytearray(stream.getvalue())
    start = [start for start in range(0, len(content), BLOCK) if content[start : start + 4] == b"%04d" % (member // 3)]
    block = content[start[member % 3] : start[member % 3] + BLOCK]
    for position, value in changes:
        block[position] = value
    if right_checksum:
        block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    content[start[member % 3] : start[member % 3] + BLOCK] = block
    path = tmp_path_factory.mktemp("hostile") / "x.tar"
    path.write_bytes(content[:length])
    assert outcome(path) == careful(path)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=4 * BLOCK), st.integers(0, 6))
def test_no_bytes_bring_the_scan_down(tmp_path_factory: pytest.TempPathFactory, noise: bytes, zeros: int) -> None:
    path = tmp_path_factory.mktemp("noise") / "x.tar"
    path.write_bytes(noise + bytes(zeros * BLOCK))
    assert outcome(path) == careful(path)


def test_many_extensions_and_long_json_are_found_too(tmp_path: Path) -> None:
    samples = [Sample("a", {f"e{i}": b"" for i in range(80)}), Sample("b", {"json": b'{"uid": "%s"}' % (b"0" * 32)})]
    samples += [
        Sample("c", {"json": json.dumps({"uid": UID, "exif": "x" * size}).encode()}) for size in (5000, 1 << 17)
    ]
    for number, part in enumerate((samples, samples[1:])):
        write_shard(tmp_path, number, part)
        path = tmp_path / f"{number:08d}.tar"
        assert outcome(path) == careful(path)
        with open_tar(path) as buffer:
            table, texts = scan_table(buffer, path)
            assert len(read_uids(buffer, table, texts).rows) == 3


def test_the_shards_of_the_golden_pool_are_read_alike(golden: Path) -> None:
    paths = sorted(golden.rglob("*.tar"))
    assert paths
    for path in paths:
        assert outcome(path) == careful(path), path


def test_sizes_that_lead_backwards_end_the_quick_way(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    block = bytearray(header(b"a.jpg", 0))
    block[124:135] = b"-0000002000"
    path.write_bytes(header(b"b.jpg", 0) + bytes(block) + bytes(10240))
    with open_tar(path) as buffer, pytest.raises(DataFormatError, match=r"checksum is wrong|not a number"):
        scan_table(buffer, path)


@given(st.lists(st.tuples(st.from_regex(r"[0-9a-z.]{1,100}", fullmatch=True), st.integers(0, 8**11 - 1)), min_size=1))
def test_headers_are_those_of_the_writer(files: list[tuple[str, int]]) -> None:
    names = np.frombuffer(b"".join(name.encode().ljust(100, b"\0") for name, _ in files), np.uint8).reshape(-1, 100)
    made = headers_of(names, np.array([size for _, size in files]))
    assert made.tobytes() == b"".join(header(name.encode(), size) for name, size in files)


# --- uids -----------------------------------------------------------------------------------------------------------

CONTENTS = st.one_of(
    st.builds(
        lambda rest: json.dumps({"uid": UID, **rest}).encode(),
        st.dictionaries(st.text(max_size=5), st.text(), max_size=3),
    ),
    st.builds(
        lambda rest: json.dumps({"uid": UID, **rest}, indent=2).encode(),
        st.dictionaries(st.text(), st.none(), max_size=2),
    ),
    st.sampled_from(
        [
            b'{"uid": "' + UID.encode() + b'", "uid": "1"}',
            b'{"uid": "' + UID.encode() + b'", "\\u0075id": "2"}',
            b'{"uid": "' + UID.encode() + b'", "a": {"uid": "3"}}',
            b'{"uid": "' + UID.encode() + b'", "a": "\\"uid\\""}',
            b'{"uid": "' + UID.upper().encode() + b'"}',
            b'{"uid": "12"}',
            b'{"a": 1, "uid": "' + UID.encode() + b'"}',
            b'[{"uid": "1"}]',
            b"\xff",
            b"",
            json.dumps({"uid": UID, "exif": "x" * 5000}).encode(),
        ]
    ),
)


def uid_by_parsing(content: bytes) -> tuple[int, int] | None:
    """All contents above are json, or have no uid first."""
    try:
        return parse_uid(json.loads(content)["uid"])
    except (ValueError, TypeError, KeyError, DataFormatError):
        return None


@settings(deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=6))
def test_uids_are_those_of_parsed_json(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("uids")
    write_shard(folder, 0, [Sample(f"{i}", {"jpg": b"", "json": content}) for i, content in enumerate(contents)])
    path = folder / "00000000.tar"
    with open_tar(path) as buffer:
        table, texts = scan_table(buffer, path)
        for given_texts in (texts, NO_TEXTS):
            found = read_uids(buffer, table, given_texts)
            expected = {row: uid for row, content in enumerate(contents) if (uid := uid_by_parsing(content))}
            assert dict(zip(found.rows.tolist(), found.uids.tolist(), strict=True)) == expected
            assert sorted([*found.rows.tolist(), *found.unread.tolist()]) == list(range(len(contents)))
            assert sum(found.skipped.values()) == len(found.unread)


def test_json_that_breaks_behind_the_uid_is_noticed_when_it_matters(tmp_path: Path) -> None:
    contents = [b'{"uid": "%s", "a": %s}' % (UID.encode(), rest) for rest in (b"1", b"", b'"\xff"', b"NaN", b"1} ")]
    write_shard(
        tmp_path, 0, [*(Sample(f"{i}", {"json": c}) for i, c in enumerate(contents)), Sample("x", {"jpg": b""})]
    )
    path = tmp_path / "00000000.tar"
    with open_tar(path) as buffer:
        table, texts = scan_table(buffer, path)
        found = read_uids(buffer, table, texts)
        assert found.skipped[NO_JSON] == 1
        assert well_formed(buffer, table, np.arange(5), texts).tolist() == [True, False, False, True, False]
    assert MALFORMED not in found.skipped
