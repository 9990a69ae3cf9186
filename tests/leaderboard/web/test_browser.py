"""The site in a real browser: without JavaScript, with the keyboard only, on a phone; and it never complains."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, site):
    """Open a path of the site in a fresh context; when the test ends, the browser must have had no complaint."""
    contexts, complaints = [], []

    def open_path(path: str, **options) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.extend(failure(request)))
        page.goto(site.url + path)
        return page

    yield open_path
    for context in contexts:
        context.close()
    assert complaints == []


def failure(request: Request) -> list[str]:
    """What went wrong; nothing when the browser itself left off because another page was opened."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"{request.url}: {request.failure}"]


def paths(site) -> list[str]:
    names = ("Careful choice", "Forged", "Taken back", "Still running")
    return ["/", "/competitions/digits", "/competitions/digits?scale=micro", "/competitions/digits/take-part"] + [
        f"/submissions/{site.entries[name]}" for name in names
    ]


def methods(page: Page) -> list[str]:
    """The methods of the standings, in the order shown."""
    return page.locator("table.standings th.method > a").all_inner_texts()


def test_the_standings_can_be_read_without_javascript(open_page):
    page = open_page("/competitions/digits", java_script_enabled=False)
    assert methods(page) == ["Careful choice", "Half as careful", "Whole pool"]
    first = page.get_by_role("table").get_by_role("row").filter(has_text="Careful choice")
    assert "Re-evaluated" in first.inner_text()
    assert "1–2" in first.inner_text()
    assert first.get_by_role("img").first.is_visible()
    assert page.get_by_role("button").count() == 0


def test_columns_are_sorted_with_the_keyboard_and_say_how(open_page):
    page = open_page("/competitions/digits")
    headers = page.locator("table.standings thead th")
    assert headers.nth(0).get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Method").focus()
    page.keyboard.press("Enter")
    assert methods(page) == ["Careful choice", "Half as careful", "Whole pool"]
    assert headers.nth(1).get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert methods(page) == ["Whole pool", "Half as careful", "Careful choice"]
    assert headers.nth(1).get_attribute("aria-sort") == "descending"
    assert headers.nth(0).get_attribute("aria-sort") is None
    assert not page.get_by_text("are not separable: their").is_visible()
    page.get_by_role("button", name="Rank").press("Enter")
    assert methods(page) == ["Careful choice", "Half as careful", "Whole pool"]
    assert page.get_by_text("are not separable: their").is_visible()


def test_the_first_stop_of_the_keyboard_skips_to_the_content(open_page):
    page = open_page("/competitions/digits")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_no_page_is_wider_than_its_window(open_page, site):
    page = open_page("/")
    for path in paths(site):
        page.goto(site.url + path)
        for width in (360, 390, 800, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_on_a_phone_the_standings_are_sorted_with_a_menu_and_stay_a_table(open_page):
    page = open_page("/competitions/digits", viewport={"width": 390, "height": 844})
    page.get_by_label("Sort by").select_option(label="Score")
    assert methods(page)[0] == "Careful choice"
    page.get_by_label("Sort by").select_option(label="Method")
    assert methods(page) == ["Careful choice", "Half as careful", "Whole pool"]
    assert page.get_by_role("table").get_by_role("rowheader").count() >= 3


def test_times_are_shown_in_the_readers_zone_and_keep_utc_at_hand(open_page, site):
    page = open_page(f"/submissions/{site.entries['Forged']}", timezone_id="Asia/Tokyo", locale="en-GB")
    time = page.locator("aside time").first
    assert "GMT+9" in time.inner_text()
    assert (time.get_attribute("title") or "").endswith("UTC")


def test_a_command_is_copied(open_page, site):
    page = open_page("/competitions/digits/take-part", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert "datacup quickstart" in page.evaluate("navigator.clipboard.readText()")


def test_on_a_phone_no_button_covers_a_command(open_page):
    page = open_page("/competitions/digits/take-part", viewport={"width": 390, "height": 844})
    for block in page.locator(".command").all():
        text, button = block.locator("pre").bounding_box(), block.get_by_role("button", name="Copy").bounding_box()
        assert text is not None
        assert button is not None
        assert button["y"] >= text["y"] + text["height"]


def test_text_has_enough_contrast(open_page, site):
    """Every visible text against its background, light and dark: WCAG AA (4.5; 3 for large or bold large text)."""
    page = open_page("/", reduced_motion="reduce")
    for path in paths(site):
        page.goto(site.url + path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST) == [], (scheme, path)


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => {
      c /= 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    const stack = [];
    for (let at = element; at; at = at.parentElement) stack.push(rgba(getComputedStyle(at).backgroundColor));
    return stack.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const weak = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".unseen, .skip, [aria-hidden=true]")) continue;
    const style = getComputedStyle(element);
    const back = background(element);
    const colour = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [one, two] = [light(over(rgba(colour), back)), light(back)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < (large ? 3 : 4.5)) weak.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent.trim()}`);
  }
  return weak;
}"""
