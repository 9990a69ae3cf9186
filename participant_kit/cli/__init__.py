"""``datacup``: the participant's command line."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from competition import command_line
from participant_kit.cli.plain_values import take_plain_values

COMMANDS = (
    "quickstart",
    "pool",
    "subset",
    "label",
    "dedup",
    "build",
    "describe",
    "metrics",
    "reshard",
    "recipe",
    "suites",
    "evalsets",
    "train",
    "evaluate",
    "compare",
    "fit",
    "check",
    "quota",
    "submit",
    "status",
    "logs",
    "withdraw",
    "standings",
)
"""In the order of the help. Each is a module here with a function ``command``, or an ``app`` of further commands."""


class LazyGroup(TyperGroup):
    """A command's module is imported when the command is asked for: choosing a subset shall not wait for the imports of
    training, evaluation and submission, which take longer than the choice."""

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """All commands by name."""
        return {name: self.get_command(None, name) for name in COMMANDS}

    @commands.setter
    def commands(self, declared: MutableMapping[str, Any]) -> None:
        self._loaded = dict(declared)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """The command of that name, or ``None``."""
        if cmd_name in COMMANDS and cmd_name not in self._loaded:
            self._loaded[cmd_name] = _load(cmd_name)
        return self._loaded.get(cmd_name)


def _load(name: str) -> Any:
    module = import_module(f"participant_kit.cli.{name}")
    parent = typer.Typer(rich_markup_mode=None, add_completion=False)
    if hasattr(module, "app"):
        parent.add_typer(module.app, name=name)
        group: Any = typer.main.get_command(parent)
        return group.commands[name]
    parent.command(name)(module.command)
    return typer.main.get_command(parent)


app = typer.Typer(
    cls=LazyGroup,
    name="datacup",
    help="Build a subset of a pool, train the fixed recipe on it, evaluate it, and enter the competition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def _global_options(_version: command_line.VersionOption = False) -> None:
    pass


def main() -> None:
    """Entry point of the ``datacup`` command."""
    take_plain_values()
    command_line.run(app, extra="kit")
