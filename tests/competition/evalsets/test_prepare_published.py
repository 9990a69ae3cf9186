"""Sets that are read as published: linked or copied into place, recorded, verified, however many files there are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from competition.errors import DataCupError, DataFormatError, NotFoundError, UsageError
from competition.evalsets import lock as lock_module
from competition.evalsets.lock import compare, lock_path, read_lock, record_set
from competition.evalsets.preparing.prepare import PrepareOptions, PrepareReport, prepare_set
from competition.evalsets.preparing.published import CORRUPTIONS, OBJECTNET_MAPPINGS, SEVERITIES
from competition.evalsets.sources import EvaluationSet, Origin
from competition.evalsets.verify import Finding, verify_sets
from competition.evaluation.image_folder import list_image_folder
from competition.evaluation.robustness import ALEXNET_ERRORS
from tests.competition.evalsets.digits_folders import Pen
from tests.participant_kit.cli.typed import refused, typed

GROUPS = {"noise": CORRUPTIONS[:3], "blur": CORRUPTIONS[3:7], "weather": CORRUPTIONS[7:11], "digital": CORRUPTIONS[11:]}


def prepare(name: str, source: Path, root: Path, *, copy: bool = False, any_size: bool = True) -> PrepareReport:
    return prepare_set(name, root, PrepareOptions(source, any_size=any_size, copy=copy))


def finding(name: str, root: Path) -> Finding:
    (found,) = verify_sets([EvaluationSet(name, Origin.ELSEWHERE, tasks=(name,))], root)
    return found.finding


def imagenet_c(folder: Path, *, grouped: bool) -> Path:
    image = Pen().write(folder.parent / "made" / "ILSVRC2012_val_00000001.JPEG").read_bytes()
    for group, corruptions in GROUPS.items():
        base = folder / group if grouped else folder
        for number, corruption in enumerate(corruptions):
            for severity in SEVERITIES:
                for wordnet_id in ("n01440764", "n02129604"):
                    path = base / corruption / severity / wordnet_id / "ILSVRC2012_val_00000001.JPEG"
                    path.parent.mkdir(parents=True)
                    path.write_bytes(image + bytes([number]))
    (folder / "speckle_noise" / "1").mkdir(parents=True)  # one of the archive `extra`
    return folder


def objectnet(folder: Path) -> Path:
    for name in ("alarm_clock", "banana"):
        Pen().write(folder / "objectnet-1.0" / "images" / name / "1.png")
    content = {
        "folder_to_objectnet_label.json": {"alarm_clock": "Alarm clock", "banana": "Banana"},
        "objectnet_to_imagenet_1k.json": {"Banana": "banana"},
        "pytorch_to_imagenet_2012_id.json": {"0": 0},
    }
    (folder / "objectnet-1.0" / "mappings").mkdir()
    for name, mapping in content.items():
        (folder / "objectnet-1.0" / "mappings" / name).write_text(json.dumps(mapping))
    (folder / "objectnet-1.0" / "mappings" / "imagenet_to_label_2012_v2").write_text("banana\n")
    return folder


def stylized(folder: Path) -> Path:
    pen = Pen()
    for wordnet_id in ("n02129604", "n01440764"):
        pen.write(folder / "val" / wordnet_id / "a.png")
        pen.write(folder / "train" / wordnet_id / "b.png")
    return folder


def test_the_corruptions_are_those_of_the_score() -> None:
    assert sorted(CORRUPTIONS) == sorted(ALEXNET_ERRORS)
    assert len(set(CORRUPTIONS)) == 15


@pytest.mark.parametrize("grouped", [False, True], ids=["beside each other", "in the archives' folders"])
@pytest.mark.parametrize("copy", [False, True], ids=["linked", "copied"])
def test_imagenet_c_lies_under_its_corruptions_whichever_way_it_was_unpacked(
    tmp_path: Path, grouped: bool, copy: bool
) -> None:
    source, root = imagenet_c(tmp_path / "source", grouped=grouped), tmp_path / "sets"
    report = prepare("imagenet-c", source, root, copy=copy)
    assert (dict(report.images), report.linked) == ({"test": 150}, not copy)
    assert sorted(path.name for path in (root / "imagenet-c").iterdir()) == sorted(CORRUPTIONS)
    assert [file.path for file in report.lock.files] == sorted(
        f"{corruption}/{severity}/{wordnet_id}/ILSVRC2012_val_00000001.JPEG"
        for corruption in CORRUPTIONS
        for severity in SEVERITIES
        for wordnet_id in ("n01440764", "n02129604")
    )
    assert finding("imagenet-c", root) is Finding.SOUND
    shutil.rmtree(source)
    assert finding("imagenet-c", root) is (Finding.SOUND if copy else Finding.MALFORMED)


def test_stylized_imagenet_is_its_validation_images(tmp_path: Path) -> None:
    prepare("stylized-imagenet", stylized(tmp_path / "source"), tmp_path / "sets")
    listed = list_image_folder(tmp_path / "sets" / "stylized-imagenet")
    assert listed.class_names == ("n01440764", "n02129604")
    assert [path.name for path in listed.images] == ["a.png", "a.png"]
    assert np.array_equal(listed.labels, [0, 1])


def test_objectnet_keeps_its_mappings(tmp_path: Path) -> None:
    source = objectnet(tmp_path / "source")
    for given in (source, source / "objectnet-1.0"):
        root = tmp_path / f"sets-{given.name}"
        prepare("objectnet", given, root)
        assert sorted(path.name for path in (root / "objectnet").iterdir()) == ["images", "mappings"]
        assert (root / "objectnet" / "mappings" / OBJECTNET_MAPPINGS[0]).exists()
        assert finding("objectnet", root) is Finding.SOUND


def _remove(*inside: str) -> Callable[[Path], None]:
    return lambda source: shutil.rmtree(source.joinpath(*inside))


def _empty(*inside: str) -> Callable[[Path], None]:
    return lambda source: source.joinpath(*inside).write_bytes(b"")


IMAGE = "ILSVRC2012_val_00000001.JPEG"
MAPPINGS = ("objectnet-1.0", "mappings")


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("imagenet-c", _remove("fog"), "has no folder fog"),
        ("imagenet-c", _remove("snow", "3"), "snow/3 is not there"),
        ("imagenet-c", _remove("snow", "3", "n01440764"), "has 1 folders of classes instead of 1,000"),
        ("imagenet-c", _empty("snow", "3", "n01440764", IMAGE), f"{IMAGE} is empty"),
        (
            "imagenet-c",
            lambda source: (source / "snow" / "3" / "n01440764" / IMAGE).unlink(),
            "n01440764 holds no image of its class",
        ),
        (
            "imagenet-c",
            lambda source: (source / "snow" / "3" / "n01440764").rename(source / "snow" / "3" / "n99999999"),
            "has other classes than the other folders",
        ),
        ("objectnet", _remove("objectnet-1.0", "images"), "has no folder images"),
        ("objectnet", _remove(*MAPPINGS), "folder_to_objectnet_label.json is not there"),
        ("objectnet", _empty(*MAPPINGS, OBJECTNET_MAPPINGS[1]), "is no JSON, or not whole"),
        (
            "objectnet",
            lambda source: source.joinpath(*MAPPINGS, OBJECTNET_MAPPINGS[0]).write_text('{"banana": "Banana"}'),
            "alarm_clock is no class of folder_to_objectnet_label.json",
        ),
        ("objectnet", lambda source: source.joinpath(*MAPPINGS, OBJECTNET_MAPPINGS[2]).write_text("[1]"), "no mapping"),
        ("stylized-imagenet", _remove("val", "n01440764"), "has 1 folders of classes instead of 1,000"),
    ],
)
def test_what_is_wrong_with_a_published_folder_is_said_and_nothing_is_left(
    tmp_path: Path, name: str, damage: Callable[[Path], None], words: str
) -> None:
    source = tmp_path / "source"
    if name == "imagenet-c":
        imagenet_c(source, grouped=False)
    else:
        {"objectnet": objectnet, "stylized-imagenet": stylized}[name](source)
    damage(source)
    with pytest.raises(DataCupError) as failed:
        prepare(name, source, tmp_path / "sets")
    assert isinstance(failed.value, DataFormatError | NotFoundError)
    assert words in failed.value.message
    assert not (tmp_path / "sets").exists()


def test_a_published_folder_of_another_size_is_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    source = stylized(tmp_path / "source")
    words = ("evalsets", "prepare", "stylized-imagenet", "--source", source, "--data-dir", tmp_path / "sets")
    assert "has 2 folders of classes instead of 1,000" in refused(*words).err
    made = typed(*words, "--any-size", "--json")
    assert json.loads(made.out)["linked"] is True
    assert "linked, not copied" in made.err
    select = ("evalsets", "verify", "select", "--only", "stylized-imagenet", "--data-dir", tmp_path / "sets")
    assert typed(*select).code == 0
    assert (
        "--copy is for sets that are read as published"
        in refused(
            *("evalsets", "prepare", "select-dtd", "--source", source, "--data-dir", tmp_path / "sets", "--copy")
        ).err
    )


def test_a_set_of_very_many_files_is_recorded_by_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, root = imagenet_c(tmp_path / "source", grouped=False), tmp_path / "sets"
    by_file = record_set(source, "imagenet-c", Origin.ELSEWHERE)
    monkeypatch.setattr(lock_module, "MAX_LISTED", 149)
    lock = prepare("imagenet-c", source, root).lock
    assert (lock.files, len(lock.folders), lock.count, lock.bytes) == ((), 150, 150, by_file.bytes)
    assert read_lock(root, "imagenet-c") == lock
    assert finding("imagenet-c", root) is Finding.SOUND

    image = source / "fog" / "2" / "n01440764" / IMAGE
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    assert compare(root / "imagenet-c", lock).changed == ("fog/2/n01440764/",)
    content[-1] ^= 1
    image.write_bytes(content)
    assert not compare(root / "imagenet-c", lock)
    image.rename(image.with_name("other.JPEG"))
    assert compare(root / "imagenet-c", lock).changed == ("fog/2/n01440764/",)
    shutil.copytree(image.parent, source / "fog" / "2" / "n00000001")
    shutil.rmtree(image.parent)
    difference = compare(root / "imagenet-c", lock)
    assert (difference.missing, difference.added) == (("fog/2/n01440764/",), ("fog/2/n00000001/",))
    assert finding("imagenet-c", root) is Finding.DIFFERENT


def test_links_that_lead_in_a_circle_make_a_set_malformed(tmp_path: Path) -> None:
    source = stylized(tmp_path / "source")
    prepare("stylized-imagenet", source, tmp_path / "sets")
    (source / "val" / "n01440764" / "again").symlink_to(source / "val", target_is_directory=True)
    (found,) = verify_sets([EvaluationSet("stylized-imagenet", Origin.ELSEWHERE)], tmp_path / "sets")
    assert found.finding is Finding.MALFORMED
    assert "in more than 12 levels" in found.detail


def test_a_lock_that_was_copied_here_is_kept_and_other_bytes_are_refused(tmp_path: Path) -> None:
    first = prepare("objectnet", objectnet(tmp_path / "a"), tmp_path / "sets").lock
    (tmp_path / "other").mkdir()
    shutil.copy(lock_path(tmp_path / "sets", "objectnet"), lock_path(tmp_path / "other", "objectnet"))
    source = objectnet(tmp_path / "b")
    assert prepare("objectnet", source, tmp_path / "other").lock == first
    shutil.rmtree(tmp_path / "other" / "objectnet")
    shutil.copy(source / "objectnet-1.0/images/banana/1.png", source / "objectnet-1.0/images/banana/2.png")
    with pytest.raises(DataFormatError, match="has other bytes than"):
        prepare("objectnet", source, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["objectnet.lock.json"]
    assert read_lock(tmp_path / "other", "objectnet") == first


def test_a_file_as_source_and_a_set_that_is_there_are_one_sentence(tmp_path: Path) -> None:
    archive = tmp_path / "objectnet-1.0.zip"
    archive.write_bytes(b"zip")
    words = ("evalsets", "prepare", "objectnet", "--data-dir", tmp_path / "sets", "--source")
    assert "is a file; --source is the folder" in refused(*words, archive).err
    assert "There is no folder" in refused(*words, tmp_path / "absent").err
    prepare("objectnet", objectnet(tmp_path / "source"), tmp_path / "sets")
    with pytest.raises(UsageError, match="is there already"):
        prepare("objectnet", tmp_path / "source", tmp_path / "sets")
