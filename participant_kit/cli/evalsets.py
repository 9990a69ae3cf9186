"""``datacup evalsets``: evaluation sets, by the commands that the scorer has too."""

from __future__ import annotations

from competition.evalsets.cli.app import Place, build_app
from participant_kit.cli.console import Console
from participant_kit.settings import KitSettings


def _place() -> Place:
    settings = KitSettings()
    return Place(settings.evaluation_root, settings.hub_endpoint)


app = build_app(_place, lambda as_json: Console(as_json=as_json))
