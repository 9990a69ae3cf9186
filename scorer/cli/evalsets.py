"""``datacup-scorer evalsets``: evaluation sets, by the commands that the kit has too."""

from __future__ import annotations

from competition.evalsets.cli.app import Place, build_app
from competition.evalsets.cli.output import PlainOutput
from scorer.settings import ScorerSettings


def _place() -> Place:
    settings = ScorerSettings.read()
    return Place(settings.evaluation_root, settings.hub_endpoint, "datacup-scorer")


app = build_app(_place, lambda as_json: PlainOutput(as_json=as_json))
