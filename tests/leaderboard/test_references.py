"""Reference results: read from a CSV all or nothing, imported once, shown in place and never ranked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import event
from typer.testing import CliRunner

from competition.client import LeaderboardClient
from competition.errors import DataCupError
from competition.rules import find_competition
from leaderboard.organizer.cli import app as organizer
from leaderboard.references import shipped
from leaderboard.references.reading import Description, read_results
from tests.leaderboard.site import Site
from tests.serving import serve

DIGITS = find_competition("digits")
TASKS = DIGITS.suite.tasks
SOURCE = {
    "title": "A paper",
    "url": "https://example.org/paper",
    "section": "Table 1",
    "retrieved": "2026-05-01",
    "licence": "CC BY 4.0",
}
ALL = {"name": "Model"} | {f"{task.metric}:{task.id}": task.title for task in TASKS}
HEADER = ",".join(["Model", *(f'"{task.title}"' for task in TASKS)])
HOSTILE = "=HYPERLINK(1)<script>alert(1)</script>"


def described(**changes: object) -> Description:
    fields = {"name": "paper", "competition": "digits", "scale": DIGITS.scales[0].id, "source": SOURCE, "map": ALL}
    return Description.model_validate(fields | {"suite": DIGITS.suite.reference} | changes)


def written(folder: Path, *rows: str, header: str = HEADER, start: bytes = b"") -> Path:
    path = folder / "results.csv"
    path.write_bytes(start + "\r\n".join([header, *rows]).encode())
    return path


def cells(name: str, value: object) -> str:
    return ",".join([name, *[str(value)] * len(TASKS)])


def test_a_file_is_read_as_it_is_with_percentages_divided_exactly(tmp_path: Path) -> None:
    path = written(tmp_path, cells('"a, ""quoted"""', "56.52"), cells("b", " 7 "), start=b"\xef\xbb\xbf")
    found = read_results(path, described(percent=True), DIGITS)
    assert [row.name for row in found.rows] == ['a, "quoted"', "b"]
    assert {value.value for value in found.rows[0].tasks.values()} == {0.5652}
    assert set(found.rows[1].tasks) == {task.id for task in TASKS}
    assert found.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    by_title = read_results(path, described(percent=True, match_tasks=True, map={"name": "Model"}), DIGITS)
    assert by_title.rows == found.rows


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (cells("m", "nan"), ["row 2 ('m')", TASKS[0].title, "'nan' is not a number"]),
        (cells("m", "inf"), ["'inf' is not a number"]),
        (cells("m", "1.01"), ["row 2 ('m')", "no share between 0 and 1", "--percent"]),
        (cells("m", "-0.1"), ["no share between 0 and 1"]),
        (cells("m", "n/a"), ["'n/a' is not a number"]),
        (cells("m", "1e999999999"), ["is not a number"]),
        (cells("first", "0.1"), ["Rows 1 and 2 are both called 'first'"]),
        (cells("", "0.1"), ["column 'Model'"]),
        (cells("a\u202eb", "0.1"), ["column 'Model'"]),
        (cells("m", ""), ["no number at all"]),
        ("m,0.1", ["row 2", "2 cells"]),
        ('"m', ["not valid CSV"]),
    ],
)
def test_one_bad_cell_is_named_and_nothing_is_read(tmp_path: Path, row: str, said: list[str]) -> None:
    with pytest.raises(DataCupError) as refused:
        read_results(written(tmp_path, cells("first", 0.5), row), described(), DIGITS)
    for words in said:
        assert words in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({f"{TASKS[0].metric}:digit-test": "Model"}, "digits-test"),
        ({f"fid:{TASKS[0].id}": "Model"}, "and not by fid"),
        ({"aggregate:none": "Model"}, DIGITS.suite.primary),
        ({"accuracy": "Model"}, "is no field of a map"),
        ({f"low:{TASKS[0].metric}:{TASKS[0].id}": "Model"}, "has a note or a bound and no value"),
        ({"other:Size": "Nothing"}, "no column 'Nothing'"),
    ],
)
def test_a_map_that_does_not_fit_the_suite_is_told_what_does(tmp_path: Path, fields: dict[str, str], said: str) -> None:
    with pytest.raises(DataCupError) as refused:
        read_results(written(tmp_path, cells("m", 0.5)), described(map={"name": "Model"} | fields), DIGITS)
    assert said in str(refused.value)


def test_what_ships_is_read_and_its_means_are_those_of_its_numbers() -> None:
    for name in shipped.shipped():
        rules = find_competition(shipped.competition_of(name))
        upload = shipped.read_shipped(name, rules)
        assert upload.suite == rules.suite.reference
        for row in upload.rows:
            for aggregate in rules.suite.aggregates:
                values = [row.tasks[task].value for task in aggregate.tasks if task in row.tasks]
                if aggregate.id in row.aggregates and len(values) == len(aggregate.tasks):
                    assert row.aggregates[aggregate.id].value == pytest.approx(sum(values) / len(values), abs=6e-5)
    table = shipped.read_shipped("datacomp-table3", find_competition("datacomp"))
    best = table.rows[-1]
    assert (best.scale, best.samples, best.aggregates["average"].value) == ("xlarge", 1_400_000_000, 0.663)
    disputed = [row for row in table.rows if row.aggregates["average"].note]
    assert [(row.scale, row.method) for row in disputed] == [("small", "none"), ("large", "text"), ("large", "image")]


def test_import_is_idempotent_versioned_and_removable(site: Site, tmp_path: Path) -> None:
    first = read_results(written(tmp_path, cells("m", 0.5)), described(), DIGITS).model_dump(mode="json")
    assert site.request("POST", "/references", None, first).status_code == 401
    assert site.request("POST", "/references", "alice", first).status_code == 403
    made = site.request("POST", "/references", "organiser", first).json()
    assert (made["version"], made["changed"]) == (1, True)
    assert site.request("POST", "/references", "organiser", first).json() == {**made, "changed": False}
    second = read_results(written(tmp_path, cells("m", 0.6)), described(), DIGITS).model_dump(mode="json")
    newer = site.request("POST", "/references", "organiser", second).json()
    assert newer["version"] == 2
    assert [head["id"] for head in site.get("/competitions/digits/references")] == [newer["id"]]
    older = site.get(f"/references/{made['id']}")
    assert older["replaced_at"]
    assert older["rows"][0]["tasks"][TASKS[0].id]["value"] == 0.5
    assert (older["importer"], older["source"]["retrieved"]) == ("organiser", "2026-05-01")
    broken = second | {"suite": "other@1"}
    assert site.request("POST", "/references", "organiser", broken).status_code == 422
    assert site.request("DELETE", f"/references/{newer['id']}", "alice").status_code == 403
    assert site.request("DELETE", f"/references/{newer['id']}", "organiser").status_code == 200
    assert site.get("/competitions/digits/references") == []
    assert site.get(f"/references/{made['id']}")["rows"] == []
    assert site.request("POST", "/references", "organiser", second).json()["version"] == 3


def test_references_stand_in_place_unranked_and_cost_one_query(site: Site, tmp_path: Path) -> None:
    best, worst = site.scored(0.9), site.scored(0.3)
    page = "/competitions/digits"
    before = _queries(site, page)
    rows = [cells(HOSTILE, 0.6), cells("above", 0.95), cells("below", 0.1)]
    rows += [cells(f"model {number}", 0.2) for number in range(300)]
    upload = read_results(written(tmp_path, *rows), described(), DIGITS).model_dump(mode="json")
    made = site.request("POST", "/references", "organiser", upload)
    assert made.status_code == 200, made.text
    assert _queries(site, page) <= before + 1
    assert _queries(site, page) <= before + 1
    text = site.http.get(page).text
    order = [text.index(words) for words in (">above<", f"entry-{best}", ">=HYPERLINK", f"entry-{worst}", ">below<")]
    assert order == sorted(order)
    assert "<script>alert" not in text
    assert "not verified by us" in text
    assert [row["rank"] for row in site.standings()["rows"]] == [1, 2]
    hidden = site.http.get(f"{page}?references=hidden").text
    assert ">above<" not in hidden
    assert "are hidden" in hidden
    assert f"scale={DIGITS.scales[1].id}&amp;references=hidden" in hidden
    own = site.http.get(f"/references/{made.json()['id']}").text
    assert "https://example.org/paper" in own
    assert "<script>alert" not in own
    assert site.http.get("/references/ref-none").status_code == 404


def _queries(site: Site, path: str) -> int:
    seen: list[str] = []

    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    event.listen(site.database.engine, "before_cursor_execute", count)
    try:
        assert site.http.get(path).status_code == 200
    finally:
        event.remove(site.database.engine, "before_cursor_execute", count)
    return sum("SELECT" in statement for statement in seen)


def test_shipped_sets_come_with_their_competition_once(sqlite_site: Site) -> None:
    site = sqlite_site
    for name in ("datacomp", "generalization"):
        site.publish(find_competition(name))
    with site.database.writing() as session:
        assert shipped.publish(session, ["digits"], site.clock) == []
        expected = ["datacomp-table3", "imagenetv2-models"]
        assert shipped.publish(session, ["datacomp", "generalization"], site.clock) == expected
    (head,) = site.get("/competitions/datacomp/references")
    assert site.request("DELETE", f"/references/{head['id']}", "organiser").status_code == 200
    with site.database.writing() as session:
        assert shipped.publish(session, ["datacomp", "generalization"], site.clock) == []
    text = site.http.get("/competitions/generalization").text
    order = [text.index(f">{name}<") for name in ("nasnetalarge", "pnasnet_large_tf", "resnet50", "alexnet")]
    assert order == sorted(order)


def test_the_command_imports_over_the_api(sqlite_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, cells("m", 56.52))
    options = ["--name", "paper", "--competition", "digits", "--scale", DIGITS.scales[0].id, "--percent"]
    options += ["--match-tasks", "--map", "name=Model", "--suite", DIGITS.suite.reference, "--retrieved", "2026-05-01"]
    options += ["--source-title", "A paper", "--source-url", "https://example.org", "--source-section", "Table 1"]
    with serve(sqlite_site.http.app) as url:
        monkeypatch.setenv("DATACUP_ENDPOINT", url)
        monkeypatch.setenv("DATACUP_TOKEN", sqlite_site.tokens["organiser"])
        run = CliRunner().invoke
        lacking = run(organizer, ["import-results", str(path), *options])
        assert "--licence is missing" in str(lacking.exception)
        dry = run(organizer, ["import-results", str(path), *options, "--licence", "unknown", "--dry-run"])
        assert "0.5652" in dry.stdout
        with LeaderboardClient(url) as client:
            assert client.rules("digits") == DIGITS
        assert sqlite_site.get("/competitions/digits/references") == []
        done = run(organizer, ["import-results", str(path), *options, "--licence", "unknown"])
        assert done.exit_code == 0, done.exception
        set_id = done.stdout.strip().splitlines()[0]
        assert sqlite_site.get(f"/references/{set_id}")["rows"][0]["name"] == "m"
        assert run(organizer, ["remove-results", set_id]).exit_code == 0
        assert sqlite_site.get("/competitions/digits/references") == []
