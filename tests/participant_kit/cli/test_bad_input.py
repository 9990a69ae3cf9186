"""Bad input as people meet it at the command line: refused in one sentence that names it, and nothing is lost."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from competition.data.uids import UID_DTYPE, load_subset
from tests.participant_kit import test_reshard
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.pools import small
from tests.participant_kit.pools.web import picture, url_table
from tests.participant_kit.subsets import synthetic

ROWS = 20
SCORE = "clip_l14_similarity_score"


@pytest.fixture
def metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The second of two metadata files, which a test damages."""
    monkeypatch.chdir(tmp_path)
    synthetic.write_pool(Path("metadata"), files=2, rows=ROWS)
    return sorted(Path("metadata").glob("*.parquet"))[1]


def column(name: str, values: Callable[[list[Any]], Any]) -> Callable[[Path], None]:
    """Damage: another content of one column."""

    def change(path: Path) -> None:
        table = pq.read_table(path)
        place = table.schema.get_field_index(name)
        pq.write_table(table.set_column(place, name, pa.array(values(table.column(place).to_pylist()))), path)

    return change


def without(name: str) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pq.read_table(path).drop_columns([name]), path)


def shorter_features(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), l14_img=np.zeros((ROWS - 1, 8), np.float16))


CLIP = ["subset", "clip_score", "--arch", "l14", "--threshold", "0.1"]
CLUSTER = ["pool", "cluster", "--num-clusters", "2", "--no-caption-filter"]
TEXT = ["subset", "basic_filter"]
ANY = ["subset", "no_filter"]
FILES: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "no score": (without(SCORE), CLIP, f"has no column '{SCORE}'"),
    "no text": (without("text"), TEXT, "has no column 'text'"),
    "no uid": (without("uid"), ANY, "has no column 'uid'"),
    "score is text": (column(SCORE, lambda values: list(map(str, values))), CLIP, "of type string instead of float"),
    "text is numbers": (column("text", lambda values: [1] * len(values)), TEXT, "of type int64 instead of string"),
    "uid is numbers": (column("uid", lambda values: [1] * len(values)), ANY, "of type int64 instead of string"),
    "uid not hex": (column("uid", lambda values: ["x" * 32, *values[1:]]), ANY, "xxx' at position 0 is not"),
    "uid too long": (column("uid", lambda values: [*values[:-1], "0" * 33]), ANY, f"at position {ROWS - 1} is not"),
    "uid missing": (column("uid", lambda values: [None, *values[1:]]), ANY, "has 1 rows without a uid"),
    "features": (shorter_features, CLUSTER, f"'l14_img' of shape ({ROWS - 1}, 8) for {ROWS} rows"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:500]) and None, ANY, "is damaged or is not parquet"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_metadata_file_is_named_with_what_is_wrong(name: str, metadata: Path) -> None:
    damage, words, sentence = FILES[name]
    damage(metadata)
    result = refused(*words, "--metadata-dir", "metadata", "--save-path", "out.npy")
    assert result.code == 3
    assert sentence in result.err
    assert metadata.stem in result.err
    assert not list(Path().glob("out*"))


@pytest.mark.parametrize("fraction", ["0", "-0.1", "1.01", "nan"])
@pytest.mark.parametrize(
    "words",
    [
        ["clip_score", "--arch", "l14"],
        ["clip_score_english", "--arch", "l14"],
        ["image_based_intersect_clip_score", "--arch", "l14", "--centroids", "c.npy", "--target-features", "t.npy"],
        ["random"],
        ["top", "a.npy", "--by", SCORE],
    ],
    ids=lambda words: words[0],
)
def test_a_fraction_out_of_range_is_refused(words: list[str], fraction: str, metadata: Path) -> None:
    uids(Path("a.npy"), [1, 2])
    result = refused("subset", *words, "--fraction", fraction, "--metadata-dir", "metadata", "--save-path", "out.npy")
    assert f"--fraction {float(fraction)} is not above 0 and at most 1" in result.err


def uids(path: Path, values: list[int]) -> Path:
    array = np.zeros(len(values), UID_DTYPE)
    array["f1"] = values
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["subset", "and", "a.npy", "unsorted.npy"],
        ["subset", "or", "unsorted.npy", "a.npy"],
        ["subset", "minus", "a.npy", "unsorted.npy"],
        ["subset", "weights", "unsorted.npy=2"],
        ["subset", "sample", "unsorted.npy", "-n", "1"],
        ["subset", "top", "unsorted.npy", "--by", SCORE, "-n", "1", "--metadata-dir", "metadata"],
        ["subset", "info", "unsorted.npy"],
        ["subset", "diff", "a.npy", "unsorted.npy"],
        ["reshard", "-i", "metadata", "-o", "out", "-s", "unsorted.npy"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_unsorted_subset_is_refused(words: list[str], metadata: Path) -> None:
    uids(Path("a.npy"), [1, 2])
    uids(Path("unsorted.npy"), [1, 3, 2])
    saved = [] if words[1] in {"info", "diff", "-i"} else ["--save-path", "out.npy"]
    result = refused(*words, *saved)
    assert result.code == 3
    assert "unsorted.npy is not sorted" in result.err
    assert "at position 2" in result.err
    assert not list(Path().glob("out*"))


OWN = ["pool", "download", "--urls", "own.parquet", "--url-col", "link", "--caption-col", "alt"]
ANNOTATE = ["pool", "annotate", "--model", "m.json", "--pretrained", "w.safetensors"]
OUTPUTS: dict[str, list[str]] = {
    "reshard": ["reshard", "-i", "pool/shards", "-s", "all.npy", "-o", "taken/shards"],
    "reshard --overwrite": ["reshard", "-i", "pool/shards", "-s", "all.npy", "-o", "taken/shards", "--overwrite"],
    "build": ["pool", "build", "digits", "-o", "taken"],
    "import": ["pool", "import", "pictures", "-o", "taken"],
    "download": [*OWN, "-o", "taken"],
    "annotate": [*ANNOTATE, "-i", "pool/shards", "-o", "taken"],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_folder_with_something_else_in_it_is_left_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in models.iterdir():
        Path(path.name).symlink_to(path)
    small.write_pool(Path("pool"))
    small.write_pool(Path("taken"))
    typed("subset", "no_filter", "--metadata-dir", "pool/metadata", "--save-path", "all.npy")
    Path("pictures").mkdir()
    Path("pictures", "a.jpg").write_bytes(picture(1))
    url_table(Path("own.parquet"), ["http://127.0.0.1:9/1"], ["a dog"])
    before = test_reshard.tree(Path("taken"))
    result = refused(*OUTPUTS[name])
    assert result.code == 2
    assert "taken" in result.err
    after = test_reshard.tree(Path("taken"))
    assert {file: data for file, data in after.items() if not Path(file).name.startswith(".")} == before


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and weights that are there, as far as anybody looks before the output folder."""
    folder = tmp_path_factory.mktemp("models")
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16}
    (folder / "m.json").write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": {"width": 16}}))
    (folder / "w.safetensors").write_bytes(b"weights")
    return folder


@contextmanager
def no_space_left(room: int) -> Iterator[None]:
    """No file can be longer than ``room`` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


FULL: dict[str, tuple[int, list[str]]] = {
    "choosing": (300, ["subset", "no_filter", "--metadata-dir", "pool/metadata", "--save-path", "out.npy"]),
    "combining": (300, ["subset", "or", "all.npy", "all.npy", "--save-path", "out.npy"]),
    "index": (2000, ["pool", "index", "-i", "pool/shards", "-j", "1"]),
    "reshard": (100_000, ["reshard", "-i", "pool/shards", "-o", "out", "-s", "all.npy", "-j", "1"]),
    "import": (2000, ["pool", "import", "pictures", "-o", "out", "-j", "1"]),
    "urls": (2000, [*OWN, "-o", "out", "--metadata-only"]),
}


@pytest.mark.parametrize("name", FULL)
def test_without_space_left_the_sentence_says_so_and_with_space_the_command_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small.write_pool(Path("pool"))
    typed("subset", "no_filter", "--metadata-dir", "pool/metadata", "--save-path", "all.npy")
    Path("pictures").mkdir()
    Path("pictures", "a.jpg").write_bytes(picture(1))
    url_table(Path("own.parquet"), [f"http://127.0.0.1:9/{number}" for number in range(200)], ["a dog"] * 200)
    room, words = FULL[name]
    with no_space_left(room):
        result = refused(*words)
    assert result.code == 4
    assert "The file would exceed the largest size allowed here while writing" in result.err
    assert not list(tmp_path.rglob("*.partial"))
    assert not Path("out.npy").exists()
    again = typed(*words)
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    "words",
    [
        ["subset", "no_filter", "--metadata-dir", "metadata", "--save-path", "out.npy"],
        ["pool", "info", "--metadata-dir", "metadata"],
    ],
    ids=lambda words: words[1],
)
def test_a_cluster_that_does_not_answer_is_one_sentence(words: list[str], metadata: Path) -> None:
    pytest.importorskip("ray")
    for address, code, sentence in (
        ("127.0.0.1:1", 5, "No Ray cluster can be reached at 127.0.0.1:1: Connection refused"),
        ("ray://127.0.0.1:1", 2, "The Ray address 'ray://127.0.0.1:1' is not HOST:PORT"),
    ):
        result = refused(*words, "--engine", "ray", "--ray-address", address)
        assert result.code == code
        assert sentence in result.err
    assert "without --engine ray" in refused(*words, "--ray-address", "127.0.0.1:1").err


def test_what_is_odd_and_not_wrong_is_counted(metadata: Path) -> None:
    def repeated(values: list[Any]) -> list[Any]:
        return [values[1], *values[1:]]

    column("uid", repeated)(metadata)
    column("text", lambda values: ["", *values[1:]])(metadata)
    column(SCORE, lambda values: pa.array([float("nan"), None, *values[2:]], pa.float32()))(metadata)
    folder = ["--metadata-dir", "metadata", "--save-path", "out.npy", "--json"]
    scores = json.loads(typed(*CLIP, *folder).out)
    assert scores["dropped"]["score_missing"] == 2
    assert scores["kept"] + sum(scores["dropped"].values()) == scores["total"] == 2 * ROWS
    words = json.loads(typed(*TEXT, *folder).out)
    assert words["kept"] + sum(words["dropped"].values()) == 2 * ROWS
    everything = json.loads(typed(*ANY, *folder).out)
    assert everything["kept"] == len(load_subset(Path("out.npy"))) == 2 * ROWS
    assert everything["shared_uids"] == 1
    assert "  with the uid of another  1" in typed(*ANY, *folder[:-1]).out
    assert json.loads(typed("subset", "info", "out.npy", "--json").out)["max_multiplicity"] == 2
