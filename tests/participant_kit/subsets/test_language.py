"""Language identification: the native module's answers are fastText's, and what it cannot read is refused or left."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.data.metadata import list_metadata
from competition.errors import DataFormatError, UsageError
from participant_kit.subsets import build_subset, language, native
from participant_kit.subsets.captions import Captions
from participant_kit.subsets.language import Predictor, captions, is_english, language_model, predictor
from tests.participant_kit.subsets.fasttext_files import SOFTMAX, ModelFile
from tests.participant_kit.subsets.synthetic import write_pool

needs_native = pytest.mark.skipif(native.module is None, reason="the native module was not built (no C++ compiler)")

BLANKS = " \t\n\v\f\r\0\x1c\x1f\x85\xa0\u1680\u2000\u200a\u200b\u2028\u202f\u205f\u3000\ufeff"
EDGES = [
    *(
        "",
        " ",
        "\n",
        "\0",
        "a",
        "é",
        "…",
        "🙂",
        "<",
        ">",
        "der\nHund",
        "der\u00a0Hund",
        "犬\u3000猫",
        "x" * 53,
        "x" * 54,
    ),
    *("</s>", "</s> und das", "the </s> und", "__label__en", "__label__xx __label__", "_label_"),
    *("a" * 300_000, "the " * 50_000, "слово" * 5_000),
]
SENTENCES = [
    *("A red bicycle leaning on a wall", "Ein rotes Fahrrad an der Mauer", "Un vélo rouge contre le mur"),
    *("Красный велосипед у стены", "赤い自転車が壁に寄りかかっている", "دراجة حمراء بجانب الحائط"),
    *("दीवार के पास लाल साइकिल", "จักรยานสีแดงพิงกำแพง", "Piros kerékpár a falnál", "벽에 기댄 빨간 자전거"),
    *("Κόκκινο ποδήλατο", "IMG_2041.JPG 1200x800"),
]


@pytest.fixture(autouse=True)
def _no_model_of_another_test() -> Iterator[None]:
    yield
    predictor.cache_clear()


def both(model: Path) -> tuple[Predictor, Predictor]:
    """The native predictor of a model, and fastText's."""
    chosen = predictor(model)
    assert chosen.name == "native"
    return chosen, language._load_fasttext(model)


@needs_native
def test_labels_of_every_golden_caption_equal_the_originals(golden: Path) -> None:
    for path in sorted((golden / "datacomp_filters").glob("diagnostics_lid_*.parquet")):
        table = pq.ParquetFile(path).read()
        expected = [f"__label__{label}" for label in table.column("fasttext_label").to_pylist()]
        texts = Captions.of_table(table, path)
        for tool in both(language_model(None)):
            assert tool.labels(texts) == expected


@needs_native
def test_labels_equal_fasttexts_on_mixed_languages_and_edges() -> None:
    tools = both(language_model(None))
    generator = random.Random(0)
    words = [word for sentence in SENTENCES for word in sentence.split()]
    mixed = [" ".join(generator.choices(words, k=generator.randint(1, 12))) for _ in range(3000)]
    cut = [text[generator.randint(0, 9) : generator.randint(10, 40)] for text in mixed]
    rare = ["".join(generator.choices("abcdeéжш", k=12)) for _ in range(60_000)]
    texts = Captions.of_strings(
        SENTENCES + EDGES + mixed + cut + [" ".join(rare[i : i + 12]) for i in range(0, 60_000, 12)]
    )
    assert tools[0].labels(texts) == tools[1].labels(texts)


@needs_native
@given(st.lists(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(BLANKS))), max_size=20))
def test_labels_equal_fasttexts_on_any_text(texts: list[str]) -> None:
    tools = both(language_model(None))
    assert tools[0].labels(Captions.of_strings(texts)) == tools[1].labels(Captions.of_strings(texts))


MODELS = st.builds(
    ModelFile,
    labels=st.lists(st.integers(0, 60), min_size=1, max_size=40).map(
        lambda counts: tuple((f"__label__{i}", count) for i, count in enumerate(sorted(counts, reverse=True)))
    ),
    buckets=st.sampled_from([1, 7, 32, 997]),
    n_grams=st.sampled_from([(2, 4), (1, 3), (0, 2), (3, 3), (0, 0), (5, 2)]),
    kept=st.sampled_from([None, 0, 1]),
    quantized=st.booleans(),
    with_norms=st.booleans(),
    scale=st.sampled_from([0.0, 0.1, 1.0, 5.0, 1e4]),
    seed=st.integers(0, 9),
).filter(lambda model: model.quantized or model.kept is None)


@needs_native
@settings(max_examples=60, deadline=None)
@given(MODELS)
def test_labels_of_any_such_model_equal_fasttexts(tmp_path_factory: pytest.TempPathFactory, model: ModelFile) -> None:
    """Ties too: with scale 0 every label is as likely as its depth in the tree says."""
    path = tmp_path_factory.mktemp("model") / "model.bin"
    path.write_bytes(model.content())
    native_tool, fasttext_tool = both(path)
    texts = Captions.of_strings([*SENTENCES, *(edge for edge in EDGES if len(edge) < 99), "the und of кот", "und the"])
    assert native_tool.labels(texts) == fasttext_tool.labels(texts)
    predictor.cache_clear()


@needs_native
@pytest.mark.parametrize("kind", [ModelFile(kept=300, quantized=True), ModelFile()], ids=["compressed", "full"])
def test_a_damaged_model_is_refused_and_never_read_beyond_its_end(kind: ModelFile) -> None:
    content = kind.content()
    generator = random.Random(0)
    for size in [*range(200), *(generator.randrange(len(content)) for _ in range(300)), len(content) - 1]:
        with pytest.raises((ValueError, NotImplementedError)):
            native.module.load(content[:size])
    texts = Captions.of_strings(SENTENCES)
    for _ in range(3000):
        damaged = bytearray(content)
        position = generator.randrange(0, 700) if generator.random() < 0.7 else generator.randrange(len(content))
        damaged[position : position + 4] = struct.pack(
            "<i", generator.choice([-1, 0, 1, 2**31 - 1, generator.getrandbits(31)])
        )
        try:
            model = native.module.load(bytes(damaged))
        except (ValueError, NotImplementedError):
            continue
        native.module.predict(model, texts.text, *texts.bounds(), np.empty(len(texts), np.int32))


@needs_native
def test_a_model_that_ends_too_early_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cut.ftz"
    path.write_bytes(ModelFile().content()[:-5])
    with pytest.raises(DataFormatError, match=r"cut.ftz is not a fastText model: it ends inside a table\."):
        is_english(["x"], path)
    path.write_bytes(b"")
    with pytest.raises(DataFormatError, match="not a fastText model: it ends too early"):
        is_english(["x"], path)


@pytest.mark.parametrize("kind", [ModelFile(dimensions=10), ModelFile(loss=SOFTMAX)], ids=["dimensions", "loss"])
def test_another_kind_of_model_is_left_to_fasttext(tmp_path: Path, kind: ModelFile) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(kind.content())
    assert predictor(path).name == "fasttext"
    assert is_english(SENTENCES, path).shape == (len(SENTENCES),)


@needs_native
def test_buffers_that_do_not_fit_are_refused() -> None:
    model = native.module.load(ModelFile().content())
    out = np.empty(1, np.int32)
    for start, end in [(-1, 1), (0, 5), (3, 2), (2**62, 2**62)]:
        with pytest.raises(ValueError, match="do not lie in their buffer"):
            native.module.predict(model, b"text", np.array([start]), np.array([end]), out)
    for answers in (np.empty(2, np.int32), np.empty(0, np.int32)):
        with pytest.raises(ValueError, match="do not lie"):
            native.module.predict(model, b"text", np.array([0]), np.array([4]), answers)
    with pytest.raises(ValueError, match="PyCapsule"):
        native.module.predict("no model", b"text", np.array([0]), np.array([4]), out)


def test_without_the_native_module_the_same_subset_is_made_and_the_record_says_so(
    tmp_path: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = golden / "datacomp_filters" / "metadata"
    with_native = build_subset("basic_filter", folder, tmp_path / "a.npy")
    predictor.cache_clear()
    monkeypatch.setattr(native, "module", None)
    without = build_subset("basic_filter", folder, tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert without.dropped == with_native.dropped
    assert json.loads((tmp_path / "b.npy.json").read_text())["tools"] == {"language": "fasttext"}


TEXTS = st.lists(st.text(st.sampled_from("abж犬🙂" + BLANKS)), max_size=30)


@given(TEXTS, st.integers(0, 8), st.integers(0, 5))
def test_sizes_are_those_of_len_and_split(texts: list[str], characters: int, words: int) -> None:
    expected = [0 if len(text) < characters else 1 if len(text.split()) < words else 2 for text in texts]
    assert Captions.of_strings(texts).sizes(characters, words).tolist() == expected


@needs_native
def test_every_character_is_a_blank_where_python_says_so() -> None:
    texts = [f"a{chr(code)}b" for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    sizes = Captions.of_strings(texts).sizes(0, 2)
    assert [text[1] for text, size in zip(texts, sizes.tolist(), strict=True) if size == 2] == [
        text[1] for text in texts if text[1].isspace()
    ]


@given(TEXTS, st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 3))
def test_captions_are_read_where_arrow_keeps_them(texts: list[str], kind: pa.DataType, offset: int) -> None:
    values = [*texts, None]
    chunks = [pa.array(values, kind).slice(offset), pa.array([], kind), pa.array(values, kind)]
    captions = Captions.of_table(pa.table({"text": pa.chunked_array(chunks)}), Path("x.parquet"))
    assert captions.strings() == [text or "" for text in [*values[offset:], *values]]
    rows = np.arange(len(captions))[::2]
    assert captions.take(rows).strings() == captions.strings()[::2]


def test_a_caption_that_is_not_utf8_is_refused_with_its_row(tmp_path: Path) -> None:
    write_pool(tmp_path, files=1, rows=4)
    path = list_metadata(tmp_path)[0]
    table = pq.ParquetFile(path).read()
    broken = pa.array([b"fine", b"\xed\xa0\x80", b"", b"x"], pa.binary()).cast(pa.string(), safe=False)
    for text in (broken, pa.chunked_array([broken.slice(0, 2), broken.slice(2)])):
        pq.write_table(table.set_column(table.schema.get_field_index("text"), "text", text), path)
        with pytest.raises(DataFormatError, match=r"damaged caption: .*index 1"):
            build_subset("basic_filter", tmp_path, tmp_path / "out.npy")
        with pytest.raises(DataFormatError, match="damaged caption"):
            captions(pq.ParquetFile(path).read(), np.arange(4))


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32()])
@pytest.mark.parametrize("rows", [0, 3])
def test_files_without_rows_and_narrow_sizes_are_read(tmp_path: Path, kind: pa.DataType, rows: int) -> None:
    write_pool(tmp_path, files=1, rows=4)
    path = list_metadata(tmp_path)[0]
    table = pq.ParquetFile(path).read().slice(0, rows)
    for name in ("original_width", "original_height"):
        table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(kind))
    pq.write_table(table, path)
    if rows:
        assert build_subset("basic_filter", tmp_path, tmp_path / "out.npy").total == rows
    else:
        with pytest.raises(UsageError, match="the pool is empty"):
            build_subset("basic_filter", tmp_path, tmp_path / "out.npy")


@needs_native
def test_the_basic_filter_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    """Each of these takes longer to import than a hundred thousand captions to filter."""
    write_pool(tmp_path / "metadata", files=1, rows=4)
    code = (
        "import sys; from pathlib import Path; from participant_kit.subsets import build_subset; "
        f"build_subset('basic_filter', Path({str(tmp_path / 'metadata')!r}), Path({str(tmp_path / 'out.npy')!r})); "
        "print(sorted({'pandas', 'torch', 'fasttext', 'polars', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
