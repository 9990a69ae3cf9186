"""Reading a page as a machine does: is it well-formed, and can somebody who does not see it use it?"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "link", "br", "img", "input", "hr"}
# SVG elements that are written self-closing.
SHAPES = {"path", "line", "circle", "rect"}


@dataclass
class Element:
    """An element with its attributes, its children's text, and what it stands in."""

    tag: str
    attributes: dict[str, str | None]
    inside: tuple[str, ...]
    text: str = ""
    children: list[Element] = field(default_factory=list)


class Page(HTMLParser):
    """A parsed page. Raises ``AssertionError`` when tags are not balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {[element.tag for element in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> says an attribute twice: {names}"
        element = Element(tag, dict(attrs), tuple(each.tag for each in self._open))
        if self._open:
            self._open[-1].children.append(element)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES, f"<{tag}/> is not closed in HTML"
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """Every element of that tag, in the order of the page."""
        return [element for element in self.elements if element.tag == tag]

    def one(self, tag: str) -> Element:
        """The only element of that tag."""
        found = self.all(tag)
        assert len(found) == 1, f"{len(found)} elements <{tag}>"
        return found[0]


def check(html: str) -> Page:
    """Parse a page and hold it to what every page of the site promises."""
    assert html.startswith("<!doctype html>")
    page = Page(html)
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("title").text.strip()
    assert page.one("h1").text.strip()
    for landmark in ("main", "footer"):
        page.one(landmark)
    meta = {element.attributes.get("name"): element.attributes.get("content") for element in page.all("meta")}
    assert meta["description"]
    assert meta["viewport"]
    _check_safe(page)
    _check_names(page)
    _check_tables(page)
    _check_headings(page)
    return page


def _check_safe(page: Page) -> None:
    for element in page.elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on"), f"<{element.tag} {name}> is inline script"
            assert name != "style", f"<{element.tag}> has an inline style"
            if name in {"href", "src"}:
                assert value is not None
                assert value.startswith(("/", "#", "http://", "https://")), f"<{element.tag} {name}={value!r}>"
    assert [script.attributes["src"] for script in page.all("script")], "the one script is a file"
    assert not any(script.text for script in page.all("script"))
    assert not page.all("style")


def _check_names(page: Page) -> None:
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(set(ids)) == len(ids), "an id is given twice"
    for element in page.elements:
        for reference in (element.attributes.get("aria-labelledby") or "").split():
            assert reference in ids, f"aria-labelledby={reference} refers to nothing"
        if element.tag == "svg" and "svg" not in element.inside:
            hidden = element.attributes.get("aria-hidden") == "true"
            named = element.attributes.get("role") == "img" and element.attributes.get("aria-label")
            assert hidden or named, "an SVG without a text alternative"
        if element.tag == "img":
            assert element.attributes.get("alt") is not None
        if element.tag in {"a", "button"}:
            assert element.text.strip(), f"<{element.tag} {element.attributes}> has no text"
        if element.tag == "nav":
            assert element.attributes.get("aria-label")


def _check_tables(page: Page) -> None:
    for table in page.all("table"):
        assert table.children[0].tag == "caption"
        assert table.children[0].text.strip()
        widths = {
            sum(int(cell.attributes.get("colspan") or 1) for cell in row.children)
            for section in table.children
            for row in section.children
            if section.tag in {"thead", "tbody"}
        }
        assert len(widths) == 1, f"rows of different widths: {widths}"
    for header in page.all("th"):
        assert header.attributes.get("scope") in {"col", "row", "rowgroup"}


def _check_headings(page: Page) -> None:
    levels = [int(element.tag[1]) for element in page.elements if element.tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    for before, after in pairwise(levels):
        assert after <= before + 1, f"a heading of level {after} follows one of level {before}"
