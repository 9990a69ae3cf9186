"""``datacup suites``: what the official evaluations consist of, and what is made of their tasks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from competition.rules import Aggregate, Suite, Task, all_suites, built_in, find_competition, find_suite
from participant_kit.cli.console import Console, JsonOption

SuiteArgument = Annotated[
    str,
    typer.Argument(help="A suite (see datacup suites list), or a competition's YAML file.", metavar="SUITE"),
]

app = typer.Typer(
    help="List and show the official evaluations.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List all suites with the competitions that use them."""
    users: dict[str, list[str]] = {}
    for name in built_in():
        users.setdefault(find_competition(name).suite.reference, []).append(name)
    summaries = [_summary(suite, users.get(suite.reference, [])) for suite in all_suites().values()]
    Console(as_json=as_json).table(
        summaries,
        "",
        ["suite", "tasks", "ranked by", "competition", "digest"],
        [
            [
                entry["suite"],
                str(entry["tasks"]),
                entry["primary"],
                ", ".join(entry["competitions"]) or "-",
                entry["digest"][:12],
            ]
            for entry in summaries
        ],
    )


@app.command()
def show(suite: SuiteArgument, as_json: JsonOption = False) -> None:
    """Show the tasks and aggregates of a suite."""
    console = Console(as_json=as_json)
    is_file = suite.endswith((".yaml", ".yml"))
    found = find_competition(suite).suite if is_file else find_suite(suite)
    payload = {**found.model_dump(mode="json"), "digest": found.digest}
    rows = [_row(task) for task in found.tasks]
    columns = ["task", "group", "protocol", "metric", "images", "chance", "seconds"]
    console.table(payload, f"{found.reference}  {found.digest}", columns, rows)
    if as_json:
        return
    for text in (found.title or "", found.description):
        if text:
            typer.echo(text)
    console.table(
        {},
        "Aggregates",
        ["aggregate", "title", "rule", "tasks"],
        [_aggregate_row(aggregate, found) for aggregate in found.aggregates],
    )


def _summary(suite: Suite, competitions: list[str]) -> dict[str, Any]:
    return {
        "suite": suite.reference,
        "title": suite.title,
        "tasks": len(suite.tasks),
        "primary": suite.primary,
        "competitions": competitions,
        "digest": suite.digest,
    }


def _row(task: Task) -> list[str]:
    settings = "".join(f" {name}={value}" for name, value in task.settings.items())
    return [
        task.id,
        task.group,
        task.protocol.value + settings,
        task.metric + (" (less is better)" if task.less_is_better else ""),
        "-" if task.samples is None else f"{task.samples:,}",
        "-" if task.chance is None else f"{task.chance:g}",
        "-" if task.reference_seconds is None else f"{task.reference_seconds:g}",
    ]


def _aggregate_row(aggregate: Aggregate, suite: Suite) -> list[str]:
    name = aggregate.id + (" (ranks entries)" if aggregate.id == suite.primary else "")
    return [name, aggregate.title, aggregate.rule.kind.replace("_", " "), str(len(aggregate.tasks))]
