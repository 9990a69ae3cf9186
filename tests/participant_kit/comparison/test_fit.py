"""``datacup fit``: what it prints is what numpy says of the table or of the reports."""

from __future__ import annotations

import csv
import json
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, pearsonr, spearmanr

from tests.conftest import ROOT
from tests.participant_kit.cli.typed import refused, typed
from tests.participant_kit.comparison.made import report, result, right, write

TEXT = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
SKILLS = (0.1, 0.4, 0.7, 1.0, 1.3)


def table(path: Path, **columns: list[object]) -> Path:
    with path.open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(columns)
        lines.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    old = generator.uniform(55, 85, 12)
    new = 1.1 * old - 20 + generator.normal(0, 0.5, 12)
    return table(tmp_path / "models.csv", model=[f"m{i}" for i in range(12)], old=list(old), new=list(new))


def runs(folder: Path, images: int = 400) -> list[Path]:
    """Models of several skills on an old test set and on a harder new one."""
    return [
        write(
            folder / f"run-{i}",
            report(result("old", [right(s, images, 1, i)]), result("new", [right(s - 0.5, images, 2, i)], fid=9.0 - s)),
        )
        for i, s in enumerate(SKILLS)
    ]


def columns_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return tuple(np.array([float(row[name]) for row in rows]) for name in ("old", "new"))  # type: ignore[return-value]


def test_a_tables_fits_are_numpys(models: Path, tmp_path: Path) -> None:
    picture = tmp_path / "fit.svg"
    words = ("fit", models, "--x", "old", "--y", "new", "--percent", "--seed", 3, "--save-path", picture, "--json")
    found = json.loads(typed(*words).out)
    old, new = columns_of(models)
    for axes, x, y in (("linear", old, new), ("probit", norm.ppf(old / 100), norm.ppf(new / 100))):
        fit = found["fits"][axes]
        assert (fit["slope"], fit["intercept"]) == pytest.approx(tuple(np.polyfit(x, y, 1)))
        low, high = fit["over_models"]["slope_interval"]
        assert low < fit["slope"] < high
        assert fit["over_images"] is None
    assert (found["models"], found["seed"], found["unit"]) == (12, 3, "percent")
    first = picture.read_bytes()
    assert ET.fromstring(first).tag.endswith("svg")
    assert b"12 models" in first
    typed(*words)
    assert picture.read_bytes() == first


def test_reports_are_fitted_over_models_and_over_images(tmp_path: Path) -> None:
    found = json.loads(typed("fit", *runs(tmp_path), "--x", "old", "--y", "new", "--json").out)
    x = [right(s, 400, 1, i).mean() for i, s in enumerate(SKILLS)]
    y = [right(s - 0.5, 400, 2, i).mean() for i, s in enumerate(SKILLS)]
    fit = found["fits"]["linear"]
    assert (fit["slope"], fit["intercept"]) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    low, high = fit["over_images"]["slope_interval"]
    assert low < fit["slope"] < high
    assert fit["over_images"]["resamples"] == 2000
    shown = typed("fit", *runs(tmp_path), "--x", "old", "--y", "new").out
    assert shown.count("images") == 2


def test_reports_on_other_images_have_no_interval_over_images(tmp_path: Path) -> None:
    places = runs(tmp_path)
    results = [result("old", [right(0.5, 300, 1)]), result("new", [right(0.1, 400, 2)])]
    places.append(write(tmp_path / "other", report(*results)))
    shown = typed("fit", *places, "--x", "old", "--y", "new", "--json")
    assert json.loads(shown.out)["fits"]["probit"]["over_images"] is None
    assert "No interval over images: the reports hold no outcomes of the same images for old." in shown.err
    assert "No interval" not in typed("fit", *places[:-1], "--x", "old", "--y", "new").err


def test_the_worst_groups_of_several_runs_have_no_interval_over_images(tmp_path: Path) -> None:
    """As many images each, and other ones."""
    places = []
    for run in range(4):
        found = [result(name, [right(run / 3, 60, seed, run)]) for seed, name in enumerate(("old", "new"))]
        worst = found[0].model_copy(update={"units": f"region:{run % 2}"})
        places.append(write(tmp_path / str(run), report(worst, found[1])))
    shown = typed("fit", *places, "--x", "old", "--y", "new", "--json")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["fits"]["probit"]["over_images"] is None
    assert "the reports hold no outcomes of the same images for old." in shown.err


def test_more_images_make_the_line_surer(tmp_path: Path) -> None:
    widths = []
    for images in (200, 3200):
        places = runs(tmp_path / str(images), images)
        fit = json.loads(typed("fit", *places, "--x", "old", "--y", "new", "--json").out)["fits"]["linear"]
        low, high = fit["over_images"]["slope_interval"]
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.4)


def test_metrics_of_datasets_are_correlated(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    probe = generator.random(9)
    cler, fid = probe + generator.normal(0, 0.05, 9), 30 - 10 * probe + generator.normal(0, 3, 9)
    path = table(tmp_path / "d.csv", cler=list(cler), fid=list(fid), probe=list(probe))
    found = json.loads(typed("fit", path, "--metrics", "cler, fid", "--y", "probe", "--json").out)
    assert [row["metric"] for row in found["metrics"]] == ["cler", "fid"]
    for row, values in zip(found["metrics"], (cler, fid), strict=True):
        theirs = pearsonr(values, probe)
        assert row["pearson"]["value"] == pytest.approx(theirs.statistic)
        assert row["pearson"]["low"] == pytest.approx(theirs.confidence_interval().low)
        assert row["spearman"]["value"] == pytest.approx(spearmanr(values, probe).statistic)
        assert row["spearman"]["points"] == 9


def test_metrics_are_drawn_run_by_run(tmp_path: Path) -> None:
    path = table(tmp_path / "d.csv", cler=[4, 2, 3, 1], fid=[1, 2, 3, 5], probe=[9, 6, 7, 5])
    picture = tmp_path / "metrics.svg"
    words = ("fit", path, "--metrics", "cler,fid", "--y", "probe", "--save-path", picture)
    assert typed(*words).code == 0
    first = picture.read_bytes()
    assert ET.fromstring(first).tag.endswith("svg")
    assert first.count(b"Spearman") == 2
    assert first.count(b"<use ") >= 8  # a mark for each run in each panel
    typed(*words)
    assert picture.read_bytes() == first


def test_metrics_of_reports_are_correlated(tmp_path: Path) -> None:
    found = json.loads(typed("fit", *runs(tmp_path), "--metrics", "new:fid", "--y", "new", "--json").out)
    assert found["metrics"][0]["pearson"]["value"] < -0.9
    assert found["runs"] == 5


def test_rows_without_a_number_are_left_out_and_named(tmp_path: Path) -> None:
    path = table(tmp_path / "m.csv", old=[0.5, 0.6, "", 0.8, 0.9], new=[0.4, 0.5, 0.6, 0.7, 0.85])
    shown = typed("fit", path, "--x", "old", "--y", "new", "--json")
    assert json.loads(shown.out)["left_out"] == ["line 4"]
    assert json.loads(shown.out)["models"] == 4
    assert "Left out for want of a number: line 4." in shown.err
    places = runs(tmp_path)
    places.append(
        write(tmp_path / "bare", report(result("old", [right(0, 9, 1)]), result("new", [right(0, 9, 2)], fid=None)))
    )
    found = json.loads(typed("fit", *places, "--metrics", "new:fid", "--y", "old", "--json").out)
    assert found["left_out"] == [str(tmp_path / "bare")]


def test_a_distance_has_no_probit_and_correlates_all_the_same(tmp_path: Path) -> None:
    places = [
        write(
            tmp_path / f"run-{i}",
            report(
                result("acc", [right(skill, 100, 1, i)], fid=80.0 - i),
                result("far", [right(skill, 9, 2)], "fid").model_copy(
                    update={"value": 90.0 - 7 * i, "interval": None, "outcomes": ()}
                ),
            ),
        )
        for i, skill in enumerate(SKILLS)
    ]
    shown = refused("fit", *places, "--x", "far", "--y", "acc").err
    assert "far (fid) is no share, so it has no probit." in shown
    assert "--metrics TASK" in shown
    assert "acc:fid (fid) is no share" in refused("fit", *places, "--x", "acc", "--y", "acc:fid").err
    found = json.loads(typed("fit", *places, "--metrics", "far,acc:fid", "--y", "acc", "--json").out)
    assert all(row["pearson"]["value"] < -0.9 for row in found["metrics"])


def test_bad_input_is_refused_by_name(models: Path, tmp_path: Path) -> None:
    fit = ("fit", models, "--x", "old", "--y", "new")
    assert "old is" in refused(*fit).err
    assert "add --percent" in refused(*fit).err
    assert "either --x or --metrics" in refused("fit", models, "--y", "new").err
    assert "either --x or --metrics" in refused(*fit, "--metrics", "old").err
    assert "no column 'older'" in refused("fit", models, "--x", "older", "--y", "new").err
    assert "named twice" in refused("fit", models, "--x", "old", "--y", "old").err
    assert "'m0' is not a finite number" in refused("fit", models, "--x", "model", "--y", "new", "--percent").err
    assert "does not end in .svg" in refused(*fit, "--save-path", tmp_path / "fit.png").err
    assert "no table" in refused("fit", tmp_path / "none.csv", "--x", "a", "--y", "b").err
    places = runs(tmp_path / "runs")
    assert "read alone" in refused("fit", models, *places, "--x", "old", "--y", "new").err
    assert "no task 'older'" in refused("fit", *places, "--x", "older", "--y", "new").err
    assert "no metric 'kid'" in refused("fit", *places, "--x", "old:kid", "--y", "new").err
    assert "--percent" in refused("fit", *places, "--x", "old", "--y", "new", "--percent").err
    assert "at least 3 models" in refused("fit", *places[:2], "--x", "old", "--y", "new").err
    assert "at least 4 runs" in refused("fit", *places[:3], "--metrics", "old", "--y", "new").err
    other = write(
        tmp_path / "other", report(result("old", [right(0, 9, 1)]), result("new", [right(0, 9, 2)]), suite="d")
    )
    assert "2 different suites" in refused("fit", *places, other, "--x", "old", "--y", "new").err
    assert "belongs to a fit" in refused("fit", *places, "--metrics", "old", "--y", "new", "--percent").err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"old,new\n0.5\n", "line 2: it has 1 cells, the header 2"),
        (b"old,new\n0.5,nan\n", "'nan' is not a finite number"),
        (b"old,new\n0.5,1e999\n", "not a finite number"),
        (b"old,new,old\n0.5,0.4,0.3\n", "several columns 'old'"),
        (b"", "no column 'old'"),
        (b"old,new\n\xff,1\n", "not a CSV in UTF-8"),
        (b'old,new\n"0.5,1\n', "not a CSV"),
        (b"old,new\n0.5,0.4\n0.5,0.3\n0.5,0.2\n", "There is no fit: a fit needs different values of x"),
        (b"old,new\n0.5,0.4\n0.6,0.0\n0.7,0.2\n", "line 3: new is 0; the probit"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert says in refused("fit", tmp_path / "t.csv", "--x", "old", "--y", "new").err


def test_names_with_control_characters_give_xml_all_the_same(tmp_path: Path) -> None:
    old, new = "o\x01ld\x1b[31m", "n\x0cew\ufffe"
    path = table(tmp_path / "m.csv", **{old: [0.5, 0.6, 0.7, 0.8], new: [0.4, 0.5, 0.55, 0.7]})
    for words in (("--x", old), ("--metrics", old)):
        assert typed("fit", path, *words, "--y", new, "--save-path", tmp_path / "fit.svg").code == 0
        said = "".join(ET.parse(tmp_path / "fit.svg").getroot().itertext())
        assert "o�ld�[31m" in said
        assert "n�ew�" in said


def test_tables_of_more_rows_than_can_be_fitted_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"0.{number:05},0.{number:05}\n" for number in range(1, 25_002))
    (tmp_path / "t.csv").write_text("old,new\n" + rows)
    assert "has more than 25,000 rows" in refused("fit", tmp_path / "t.csv", "--x", "old", "--y", "new").err
    assert "has more than 25,000 rows" in refused("fit", tmp_path / "t.csv", "--metrics", "old", "--y", "new").err


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, skill in (("clip_score", 0.9), ("no_filter", 0.5)):
        write(tmp_path / "runs" / name, report(result("t", [right(skill, 300, 1)])))
    for name, skill in zip("abcd", SKILLS, strict=False):
        results = [result("digits-test", [right(skill, 300, 1)]), result("digits-shift", [right(skill - 0.4, 300, 2)])]
        write(tmp_path / "runs" / name, report(*results))
    table(tmp_path / "accuracies.csv", original=[56.5, 71.6, 76.1, 77.2], new=[44.0, 58.8, 63.3, 65.4])
    table(
        tmp_path / "datasets.csv",
        cler=[4, 2, 3, 1],
        fid=[1, 2, 3, 5],
        clip_score=[1, 3, 2, 4],
        linear_probe=[9, 6, 7, 5],
    )
    commands = re.findall(r"^\$ datacup (.*)$", TEXT, flags=re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        done = typed(*shlex.split(command))
        assert done.code == 0, (command, done.err)
        assert done.out
    assert (tmp_path / "fit.svg").is_file()
