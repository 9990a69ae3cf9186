"""What people get wrong about classes, mappings, features and sizes is one sentence that says where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from competition.errors import DataCupError
from participant_kit.labelled.classes import ClassEntry, ClassList, load_classes
from participant_kit.labelled.features import load_features
from participant_kit.labelled.mapping import load_mapping
from participant_kit.labelled.table import read_labels
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.labelled.made import NAMES, rows, unit, write_classes, write_features, write_pool

CLASSES = ClassList((ClassEntry("c0", ("tench",)), ClassEntry("c1", ("crane",))))


def said(function: object, *arguments: object) -> str:
    with pytest.raises(DataCupError) as caught:
        function(*arguments)  # type: ignore[operator]
    assert caught.value.message.endswith(".")
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.json", "[\n{", "Line 2 of .* is not JSON"),
        ("c.json", "{}", "not a list of classes"),
        ("c.json", "[]", "has no class"),
        ("c.json", '[{"id": "a", "id": "b"}]', "key 'id' twice"),
        ("c.json", '[{"id": "a", "names": []}]', "Entry 1 of .*, class 'a', has no name"),
        ("c.json", '[{"id": "a", "names": [" "]}]', "class 'a', has no name"),
        ("c.json", '[{"names": ["x"]}]', "Entry 1 of .* is not a class with an id"),
        ("c.json", '[{"id": "a", "names": ["x"], "prompts": "no"}]', "not texts"),
        ("c.json", '[{"id": "a", "names": ["x"], "lemma": "no"}]', "not a class"),
        ("c.json", '[{"id": "a", "names": [3]}]', "names that are not a list"),
        ("c.json", '[{"id": "a", "names": ["x\\u0000"]}]', "control character"),
        ("c.json", '[{"id": 1, "names": ["x"]}, {"id": "1", "names": ["y"]}]', "Entry 2 .*'1', which Entry 1 has"),
        ("c.yaml", "- id: a\n  names: [x\n", "Line 3 of .* is not YAML"),
        ("c.tsv", "a\tx\nb\n", "Line 2 of .* has 1 tab-separated fields"),
        ("c.tsv", "id\tlemmas\na\tx\n", "Line 1 of .* names the columns"),
        ("c.tsv", "# none\n", "has no class"),
        ("c.tsv", b"a\t\xff\n", "not UTF-8 text: see byte 2"),
    ],
)
def test_class_lists(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataCupError, match=message):
        load_classes(path)


def test_class_lists_of_all_formats_say_the_same(tmp_path: Path) -> None:
    document = [
        {"id": "n1", "names": ["tench", "Tinca tinca"], "definition": "a fish", "prompts": ["a {}"]},
        {"id": 2, "names": ["crane"]},
    ]
    (tmp_path / "c.json").write_text(json.dumps({"classes": document}))
    (tmp_path / "c.yaml").write_text(json.dumps(document))
    (tmp_path / "c.tsv").write_text("n1\ttench, Tinca tinca\ta fish\ta {}\n# a comment\n\n2\tcrane\n")
    (tmp_path / "d.tsv").write_text(
        "id\tprompts\tnames\tdefinition\nn1\ta {}\ttench, Tinca tinca\ta fish\n2\t\tcrane\n"
    )
    first = load_classes(tmp_path / "c.json")
    assert first.entries[0].text == "tench: a fish"
    assert first.entries[0].filled_prompts() == ("a tench",)
    assert first.entries[1].filled_prompts(("photo of {}",)) == ("photo of crane",)
    assert all(load_classes(tmp_path / name) == first for name in ("c.yaml", "c.tsv", "d.tsv"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.tsv", "Dog\tc0\nCat\n", "Line 2 of .* is not a label and a class id"),
        ("m.tsv", "Dog\tc0\nCat\tc9\nCow\tc8\n", r"ids of no class: 'c9' \(line 2\), 'c8' \(line 3\)\."),
        ("m.tsv", "Dog\tc0\nCat\tc1\nDog\tc1\n", "line 3 of .* maps 'Dog' to 'c1', but line 1 maps it to 'c0'"),
        ("m.tsv", "", "is empty"),
        ("m.json", '{"Dog": "c0",\n"Cat"}', "Line 2 of .* is not JSON"),
        ("m.json", '{"Dog": "c0", "Dog": "c1"}', "key 'Dog' twice"),
        ("m.json", '{"Dog": ["c0"]}', "Entry 1 of .*'Dog', has no class id"),
        ("m.json", "[]", "not a mapping"),
        ("m.yaml", "Dog: c0\nCat: [", "Line 2 of .* is not YAML"),
    ],
)
def test_mappings(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataCupError, match=message):
        load_mapping(tmp_path / name, CLASSES)


def test_a_mapping_is_many_to_one(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("Dog: c0\nPuppy: c0\nCat: c1\n")
    assert load_mapping(tmp_path / "m.yaml", CLASSES) == {"Dog": 0, "Puppy": 0, "Cat": 1}


def test_features_of_files(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.npy", 3)
    assert "has 3 rows of features for 4 classes" in said(load_features, path, 4, "class")
    features = np.load(path)
    np.save(path, np.where(np.arange(3)[:, None] == 1, np.nan, features))
    assert "Row 1 of" in said(load_features, path, 3, "class")
    np.save(path, features * np.array([[1], [1], [2]]))
    assert "Row 2 of" in said(load_features, path, 3, "class")
    assert "length 2, not 1" in said(load_features, path, 3, "class")
    path.write_bytes(b"no array")
    assert "not a plain .npy" in said(load_features, path, 3, "class")


def test_tables_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("uid,label\n1,a\n2,b,c\n")
    assert "malformed: CSV parse error: Row #3" in said(read_labels, path)
    path.write_text("id,label\n1,a\n")
    assert "uid" in said(read_labels, path)
    path.write_text("uid,label\nxyz,a\n")
    assert "xyz' at position 0 is not 1 to 32 hex digits" in said(read_labels, path)
    path.write_text("uid,label,sure\n1,a,high\n")
    assert "'sure' of type string, which is no number" in said(read_labels, path, "sure")


def test_commands_refuse_what_does_not_fit(tmp_path: Path) -> None:
    classes = write_classes(tmp_path / "classes.json")
    pool = write_pool(tmp_path / "m", rows(40))
    good = write_features(tmp_path / "class.npy", len(NAMES))
    other = write_features(tmp_path / "other.npy", len(NAMES), dimensions=8)
    shared = ("--classes", classes, "--metadata-dir", pool, "--save-path")
    out = tmp_path / "t.parquet"
    captions = ("label", "retrieve-captions", *shared, out)
    assert "16 dimensions" in refused(*captions, "--class-features", other).err, "features of two models"
    assert "exactly one of --class-features and --model" in refused(*captions).err
    assert "--threshold 1.5" in refused(*captions, "--class-features", good, "--threshold", "1.5").err
    assert "--arch b16 is unknown" in refused(*captions, "--class-features", good, "--arch", "b16").err
    assert "does not end in .parquet" in refused("label", "substring", *shared, tmp_path / "t.npy").err
    assert "--size 0 is not above 0" in refused("label", "substring", *shared, out, "--size", 0).err
    assert "--neighbours 0" in refused("label", "retrieve-prompts", *shared, out, "--prompt-features",
                                       write_features(tmp_path / "p.npy", 8), "-k", 0).err  # fmt: skip
    mapped = ("label", "schema-map", "--labels", pool, "--mapping", classes, "--classes", classes, "--save-path", out)
    assert "--best needs --confidence" in refused(*mapped, "--best").err
    assert "--min-confidence needs --confidence" in refused(*mapped, "--min-confidence", 1).err
    assert "is not a mapping" in refused(*mapped).err
    images = ("label", "retrieve-images", *shared, out)
    assert "Name the references" in refused(*images, "--reference", good, "--reference-features", good).err
    (tmp_path / "l.txt").write_text("c0\nc1\nc7\nc0\n")
    files = ("--reference-features", good, "--reference-labels", tmp_path / "l.txt")
    assert "Line 3 of" in refused(*images, *files).err
    assert not out.exists()
    prompts = ("label", "retrieve-prompts", *shared, out, "--prompt-features", tmp_path / "p.npy", "-k", 1000)
    assert "Warning: --neighbours 1,000 is more than the pool has samples with features." in typed(*prompts).err


def test_metadata_with_rows_that_are_not_normalised_are_refused_and_nan_rows_counted(tmp_path: Path) -> None:
    classes, made = write_classes(tmp_path / "classes.json"), rows(40)
    made["b32_txt"][:] = unit(np.ones((40, 16)))
    made["b32_txt"][7] = np.nan
    made["text"] = ["tench"] * 40
    features = np.tile(unit(np.ones((1, 16))), (len(NAMES), 1)).astype(np.float32)
    np.save(tmp_path / "class.npy", features)
    words = ("--class-features", tmp_path / "class.npy", "--classes", classes, "--save-path", tmp_path / "t.parquet")
    pool = write_pool(tmp_path / "m", made)
    assert typed("label", "retrieve-captions", *words, "--metadata-dir", pool).code == 0
    assert json.loads((tmp_path / "t.parquet.json").read_text())["dropped"]["features_missing"] == 1
    made["b32_txt"][9] *= 3
    write_pool(tmp_path / "m2", made)
    assert "Row 9 of 'b32_txt'" in refused("label", "retrieve-captions", *words, "--metadata-dir", tmp_path / "m2").err


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    classes = write_classes(tmp_path / "classes.json", [*NAMES, ["crane"], ["jack-o'-lantern"]])
    pool = write_pool(tmp_path / "m", rows(40))
    words = ("label", "substring", "--classes", classes, "--metadata-dir", pool, "--save-path", tmp_path / "t.parquet")
    result = typed(*words, "--size", 1000, "--per-class", 900)
    assert result.code == 0
    assert "Warning: 1,000 samples were asked for; " in result.err
    assert "Warning: classes that share all their names with others (1): c4." in result.err
    assert "Warning: names with punctuation, which captions lose before they are compared (1): jack-o'" in result.err
    assert "Warning: classes with fewer than 900 samples" in result.err
    write_classes(classes, [["zebra"], ["okapi"]])
    nothing = refused(*words).err
    assert "substring finds none of the 2 classes in 40 rows (caption names no class 40)." in nothing
    write_classes(classes, [["zebra"], ["zebra"]])
    assert "None of the 2 classes has a name that no other class has." in refused(*words).err
