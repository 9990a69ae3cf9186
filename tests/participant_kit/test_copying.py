"""Tars made by copying ranges are those of the writer, whichever code copies, and a source at fault is named."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.data import native
from competition.data.tar import BLOCK, TarWriter
from competition.errors import DataFormatError, StorageError
from participant_kit.reshard.copying import CHUNK, MemberCopies, write_tar

SIZES = st.one_of(st.integers(0, 3 * BLOCK), st.sampled_from([CHUNK - BLOCK, CHUNK - BLOCK + 1, CHUNK, 3 * CHUNK + 7]))


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


def members_of(names: list[bytes], sources: list[int], sizes: list[int], paths: list[Path]) -> MemberCopies:
    """Members that lie behind one another in each source, a header before each and zeros or worse behind it."""
    ends: dict[int, int] = {}
    offsets = []
    for source, size in zip(sources, sizes, strict=True):
        offsets.append(ends.get(source, 0) + BLOCK)
        ends[source] = offsets[-1] + size + -size % BLOCK
    padded = np.frombuffer(b"".join(name.ljust(100, b"\0") for name in names), np.uint8).reshape(-1, 100)
    return MemberCopies(
        padded, np.array(sources, np.int64), np.array(offsets, np.int64), np.array(sizes, np.int64), paths
    )


def write(folder: Path, members: MemberCopies, lanes: int = 1) -> bytes:
    path = folder / "out.tar"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        size = write_tar(path, descriptor, members, lanes)
    finally:
        os.close(descriptor)
    content = path.read_bytes()
    assert len(content) == size
    return content


@settings(deadline=None)
@given(st.lists(st.tuples(st.from_regex(r"[0-9a-z.]{1,100}", fullmatch=True), SIZES), max_size=12), st.data())
def test_what_is_copied_is_what_the_writer_writes(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    sources = data.draw(st.lists(st.integers(0, 2), min_size=len(files), max_size=len(files)))
    names, sizes = [name.encode() for name, _ in files], [size for _, size in files]
    paths = [folder / f"{source}.bin" for source in range(3)]
    noise = np.random.default_rng(len(files)).bytes(sum(sizes) + 2 * BLOCK * (len(files) + 1))
    for source, path in enumerate(paths):
        path.write_bytes(noise[source:])
    members = members_of(names, sources, sizes, paths)
    rows = np.array(data.draw(st.permutations(range(len(files)))), np.int64)[: data.draw(st.integers(0, len(files)))]
    chosen = MemberCopies(
        members.names[rows], members.sources[rows], members.offsets[rows], members.sizes[rows], members.paths
    )
    stream = io.BytesIO()
    writer = TarWriter(stream)
    for row in rows.tolist():
        start = members.offsets[row]
        writer.add(files[row][0], noise[sources[row] :][start : start + sizes[row]])
    writer.finish()
    assert write(folder, chosen, data.draw(st.integers(1, 3))) == stream.getvalue()


def test_more_sources_than_may_be_open_are_read(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.bin" for number in range(150)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(BLOCK) + b"%03d" % number * 100)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(150), 3)).tolist()
    rows = len(order)
    names = np.frombuffer(b"".join(b"%d" % n + bytes(100 - len(str(n))) for n in range(rows)), np.uint8).reshape(
        -1, 100
    )
    members = MemberCopies(names, np.array(order), np.full(rows, BLOCK), np.full(rows, 300), paths)
    content = write(tmp_path, members)
    payloads = [content[start + BLOCK :][:300] for start in range(0, 2 * BLOCK * rows, 2 * BLOCK)]
    assert payloads == [b"%03d" % number * 100 for number in order]


@pytest.mark.parametrize("size", [300, CHUNK + 1])
def test_a_source_that_ends_too_early_is_named(tmp_path: Path, size: int) -> None:
    path = tmp_path / "short.bin"
    path.write_bytes(bytes(BLOCK + size - 1))
    with pytest.raises(DataFormatError, match=r"short\.bin is damaged at byte \d+: the file ends where a payload was"):
        write(tmp_path, members_of([b"a"], [0], [size], [path]))


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"while reading .*folder"):
        write(tmp_path, members_of([b"a"], [0], [1], [tmp_path / "folder"]))


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source, target = tmp_path / "a.bin", tmp_path / "out.tar"
    source.write_bytes(bytes(2 * BLOCK))
    target.touch()
    descriptor = os.open(target, os.O_RDONLY)
    try:
        with pytest.raises(StorageError, match=r"while writing .*out\.tar"):
            write_tar(target, descriptor, members_of([b"a"], [0], [1], [source]))
    finally:
        os.close(descriptor)


def test_the_native_module_refuses_members_that_are_no_tar() -> None:
    module = native._find()
    if module is None:
        pytest.skip("the native module was not built (no C++ compiler)")
    one = np.zeros(1, np.int64)
    good: dict[str, object] = {
        "files": np.zeros(1, np.intc),
        "header": bytes(BLOCK),
        "names": bytes(100),
        "sources": one,
        "offsets": one,
        "sizes": one,
        "starts": one,
    }
    bad: dict[str, list[object]] = {
        "files": [b""],
        "header": [b"", bytes(511)],
        "names": [b"", bytes(99)],
        "sources": [one + 1, one - 1, np.zeros(2, np.int64)],
        "offsets": [one - 1, one + 2**62, b""],
        "sizes": [one - 1, one + 2**33],
        "starts": [one - 1, one + 2**62, b""],
    }
    for name, values in bad.items():
        for value in values:
            with pytest.raises(ValueError, match="do not make up a tar"):
                module.copy(-1, *{**good, name: value}.values())
    for starts, stops in ((one - 1, one), (one + 2**62, one), (one, np.zeros(2, np.int64))):
        with pytest.raises(ValueError, match="do not lie in a file"):
            module.scan(-1, 0, starts, stops)
    for starts, stops in ((one - 1, one), (one + 1, one), (one, one + 2), (one, np.zeros(2, np.int64))):
        with pytest.raises(ValueError, match="do not lie in their buffer"):
            module.uids(b"x", starts, stops, bytearray(16), bytearray(1))
