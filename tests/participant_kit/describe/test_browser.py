"""The page in a real browser: it fits a phone and a desk, asks for nothing, and can be read light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.leaderboard.web.test_browser import ARGUMENTS, CONTRAST
from tests.participant_kit.cli.typed import typed
from tests.participant_kit.describe.made import write_vectors
from tests.participant_kit.describe.test_numbers import labelled

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a labelled dataset with everything that a page can have, hostile captions among it."""
    folder = tmp_path_factory.mktemp("page")
    table = labelled(folder)
    reference = write_vectors(folder / "r.npy", [[1, 0, 0], [0, 0.6, 0.8], [-1, 0, 0]])
    (folder / "scores.csv").write_text("label,accuracy\na,0.9\nb,0.3\n")
    words: list[str | Path] = ["--pool", folder / "pool", "--reference", reference, "--evaluation", reference]
    words += ["--per-class-accuracy", folder / "scores.csv", "--save-path", folder / "page.html"]
    result = typed("describe", table, *words)
    assert result.code == 0, result.err
    pool = typed("describe", folder / "pool", "--save-path", folder / "pool.html")
    assert pool.code == 0, pool.err
    return folder / "page.html"


@pytest.mark.parametrize("name", ["page.html", "pool.html"])
def test_nothing_overflows_and_no_request_leaves_the_page(browser: Browser, page: Path, name: str) -> None:
    address = page.with_name(name).as_uri()
    context = browser.new_context(java_script_enabled=True)
    opened, requests, complaints = context.new_page(), [], []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.goto(address)
    opened.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    for width in (390, 1280):
        opened.set_viewport_size({"width": width, "height": 844})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        wide = opened.evaluate(
            "(w) => [...document.querySelectorAll('main *')].filter((e) => !e.closest('svg') && "
            "e.getBoundingClientRect().right > w + 0.5).map((e) => e.outerHTML.slice(0, 80))",
            width,
        )
        assert wide == []
    for picture in opened.locator("img").all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("(e) => e.decode().then(() => e.naturalWidth)") > 0
    assert [url for url in requests if not url.startswith(("data:image/jpeg", "file://"))] == []
    assert [url for url in requests if url.startswith("file://")] == [address]
    assert complaints == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Browser, page: Path, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    opened = context.new_page()
    opened.goto(page.as_uri())
    assert opened.evaluate(CONTRAST) == []
    context.close()
