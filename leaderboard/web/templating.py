"""The templates: how pages are made of values.

Autoescape is on for every template and a variable that is not given is an error, so that neither a hostile name nor
a forgotten field reaches a reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from competition import story
from leaderboard.web import assets, charts, formatting

_TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Place:
    """Where a page lives: the site's public address without a slash at its end, and the page's own path."""

    site: str
    path: str

    @property
    def url(self) -> str:
        """The page's full address."""
        return self.site + self.path


@cache
def environment() -> Environment:
    """The templates, with the filters of ``formatting``."""
    jinja = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    jinja.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    for function in (
        formatting.score, formatting.half_width, formatting.bounds, formatting.count, formatting.seconds,
        formatting.size, formatting.instant, formatting.exact, formatting.iso, formatting.short, formatting.code_spans,
        story.day, story.notice, story.withdrawn, story.words,
    ):  # fmt: skip
        jinja.filters[function.__name__] = function
    jinja.globals["share"] = formatting.share
    jinja.globals["static"] = assets.url
    jinja.globals["unit_axis"] = charts.UNIT
    return jinja


def render(template: str, place: Place, **values: object) -> str:
    """A page made of a template; pages of a competition give it as ``competition``."""
    return environment().get_template(template).render(place=place, **values)
