"""``datacup subset``: choose samples of a pool with a filter strategy, and combine what was chosen.

Every registered strategy is a command of its own, made from what the strategy says about itself: a new strategy or
option needs no line here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from competition.data.engine import Workers
from competition.errors import UsageError
from participant_kit.cli import subset_algebra, subset_compare, subset_own
from participant_kit.cli.console import Console, JsonOption
from participant_kit.cli.options import MetadataDirOption, SavePathOption, spread
from participant_kit.cli.subset_report import show_report

if TYPE_CHECKING:
    from participant_kit.subsets import Strategy

STRATEGIES_TITLE = "Strategies (each from a pool's metadata to a subset)"
ALGEBRA_TITLE = "Subset algebra (from subsets to subsets)"


class SubsetGroup(TyperGroup):
    """The commands declared for ``app``, and one for each strategy, made when first asked for: strategies are heavy."""

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """All commands by name, strategies first."""
        return {**self._strategies, **self._declared}

    @commands.setter
    def commands(self, declared: MutableMapping[str, Any]) -> None:
        self._declared = declared

    @cached_property
    def _strategies(self) -> dict[str, Any]:
        from participant_kit.subsets import STRATEGIES

        return {name: _strategy_command(strategy) for name, strategy in STRATEGIES.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """The command of that name, or ``None``."""
        from participant_kit.subsets import STRATEGIES

        if cmd_name in self._declared or cmd_name not in STRATEGIES:
            return self._declared.get(cmd_name)
        return _strategy_command(STRATEGIES[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Typer's, but an unknown name is answered in one sentence that lists the known ones.

        Raises:
            UsageError: there is no such command.
        """
        if self.get_command(ctx, args[0]) is None:
            strategies, algebra = (", ".join(self._panel(title)) for title in (STRATEGIES_TITLE, ALGEBRA_TITLE))
            raise UsageError(
                f"There is no strategy {args[0]!r}.",
                hint=f"Choose one of: {strategies}; or work on subsets with one of: {algebra}.",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Two lists: strategies, and what works on subsets."""
        for title in (STRATEGIES_TITLE, ALGEBRA_TITLE):
            with formatter.section(title):
                formatter.write_dl(
                    [(name, command.get_short_help_str(200)) for name, command in self._panel(title).items()]
                )

    def _panel(self, title: str) -> dict[str, Any]:
        """The commands under one title."""
        return {name: command for name, command in self.commands.items() if command.rich_help_panel == title}


app = typer.Typer(cls=SubsetGroup, no_args_is_help=True, help="Choose samples of a pool, and combine subsets.")


@app.callback()
def _group() -> None:
    pass


def _strategy_command(strategy: Strategy) -> Any:
    """A command with the strategy's options. Those of other strategies are understood too, so that
    ``StrategyOptions.check`` can say whose they are; help does not show them."""
    from participant_kit.subsets.strategy import declared_options

    @spread
    def run(
        metadata_dir: MetadataDirOption,
        save_path: SavePathOption,
        workers: Workers = 2,
        as_json: JsonOption = False,
        **given: Any,
    ) -> None:
        _choose(strategy.name, metadata_dir, save_path, given, workers=workers, as_json=as_json)

    own = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                option.kind, typer.Option(option.flag, help=option.help, hidden=name not in strategy.accepts)
            ],
        )
        for name, option in declared_options().items()
    ]
    signature = inspect.signature(run, eval_str=True)
    shared = [parameter for parameter in signature.parameters.values() if parameter.name != "given"]
    # Typer reads the signature, as it does that of any command.
    run.__signature__ = signature.replace(parameters=[*shared, *own])  # type: ignore[attr-defined]
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(
        strategy.name,
        rich_help_panel=STRATEGIES_TITLE,
        help=f"{strategy.description} Prints how many samples were dropped, and why.",
    )(run)
    return typer.main.get_command(alone)


def _choose(
    name: str, metadata_dir: Path, save_path: Path, given: Mapping[str, Any], *, workers: Workers, as_json: bool
) -> None:
    from participant_kit.subsets import StrategyOptions, build_subset

    console = Console(as_json=as_json)
    with console.progress(f"Choosing with {name}") as progress:
        report = build_subset(
            name, metadata_dir, save_path, StrategyOptions(**given), workers=workers, progress=progress
        )
    show_report(console, report, save_path, "pool", metadata_dir.parent / "shards")


app.command("where", rich_help_panel=STRATEGIES_TITLE)(subset_own.where)
app.command("function", rich_help_panel=STRATEGIES_TITLE)(subset_own.function)
app.command("and", rich_help_panel=ALGEBRA_TITLE)(subset_algebra.both)
app.command("or", rich_help_panel=ALGEBRA_TITLE)(subset_algebra.either)
app.command("minus", rich_help_panel=ALGEBRA_TITLE)(subset_algebra.minus)
app.command("weights", rich_help_panel=ALGEBRA_TITLE)(subset_algebra.weights)
app.command("sample", rich_help_panel=ALGEBRA_TITLE)(subset_algebra.sample)
app.command("top", rich_help_panel=ALGEBRA_TITLE)(subset_algebra.top)
app.command("info", rich_help_panel=ALGEBRA_TITLE)(subset_compare.info)
app.command("diff", rich_help_panel=ALGEBRA_TITLE)(subset_compare.diff)
