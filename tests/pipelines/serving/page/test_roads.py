"""Other ways by which images and settings come to the page, and go: addresses, links, HEIC."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from deepsic.image_io.decoders import known_formats
from tests.image_io.strange import stored
from tests.pipelines.serving.fakes import made_image
from tests.pipelines.serving.page.tools import EMPTY, MARKS, PATIENCE_MS, READY, give, photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = MARKS
ADDRESS = "https://pictures.example/holiday/cat%20one.png"
PASTE = """text => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


def page_at(
    browser: Browser, site: str, permissions: tuple[str, ...] = (), script: str = ""
) -> Page:
    context = browser.new_context(permissions=list(permissions))
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    if script:
        page.add_init_script(script)
    page.goto(site + EMPTY)
    page.wait_for_selector(READY)
    return page


def test_an_address_is_fetched_by_the_browser(browser: Browser, site: str) -> None:
    page = page_at(browser, site)
    asked: list[dict[str, str]] = []

    def answer(route: Route) -> None:
        asked.append(route.request.headers)
        route.fulfill(
            body=photo(), content_type="image/png", headers={"Access-Control-Allow-Origin": "*"}
        )

    page.route("https://pictures.example/**", answer)
    page.evaluate(PASTE, ADDRESS)
    page.locator("#kilobytes", has_text="B").wait_for()
    page.wait_for_selector(READY)
    assert not page.get_by_role("alert").is_visible(), page.get_by_role("alert").inner_text()
    with page.expect_download() as download:
        page.locator("#save-sic").click()
    assert download.value.suggested_filename == "cat one.sic"
    (headers,) = asked
    assert "cookie" not in headers
    assert "referer" not in headers
    page.context.close()


def test_an_address_that_may_not_be_fetched_is_said(browser: Browser, site: str) -> None:
    page = page_at(browser, site)
    page.route("https://pictures.example/**", lambda route: route.abort("accessdenied"))
    page.evaluate(PASTE, ADDRESS)
    page.get_by_role("alert").wait_for()
    assert "drop it here" in page.get_by_role("alert").inner_text()
    page.evaluate(PASTE, "just some words")
    give(page, photo())
    page.locator("#save-sic:not([disabled])").wait_for()
    page.context.close()


@pytest.mark.skipif("HEIF" not in known_formats(), reason="needs the extra 'formats'")
def test_heic_that_the_browser_cannot_show(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    give(page, stored(made_image(360, 240, seed=5), "HEIF"), "phone.heic")
    page.locator("#save-sic:not([disabled])").wait_for()
    page.wait_for_selector(READY)
    assert not page.get_by_role("alert").is_visible(), page.get_by_role("alert").inner_text()
    assert "B" in page.locator("#kilobytes").inner_text()


@pytest.mark.parametrize(
    ("given", "mode", "number"),
    [("mode=bpp&value=99", "bpp", "24"), ("mode=bpp&value=-1", "bpp", "0.01"),
     ("mode=bpp&value=nonsense", "bpp", "0.25"), ("mode=size&value=1e9", "size", "20000")],
)  # fmt: skip
def test_a_link_beyond_the_bounds(
    open_page: Callable[..., Page], given: str, mode: str, number: str
) -> None:
    page = open_page(path=f"/?sample=&{given}")
    page.wait_for_selector(READY)
    assert page.locator("#mode").input_value() == mode
    assert page.locator("#number").input_value() == number
    give(page, photo())
    if number == "0.01":  # no file is that small
        page.get_by_role("alert").wait_for()
    else:
        page.locator("#save-sic:not([disabled])").wait_for()


@pytest.mark.parametrize("allowed", [True, False])
def test_the_link_is_copied(browser: Browser, site: str, allowed: bool) -> None:
    clipboard = ("clipboard-read", "clipboard-write") if allowed else ()
    hidden = (
        "" if allowed else "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
    )
    page = page_at(browser, site, clipboard, hidden)
    page.locator("#mode").select_option("bpp")
    page.locator("#number").fill("0.5")
    page.locator("#number").blur()
    page.locator("#link-button").click()
    page.locator("#link-button", has_text="Copied" if allowed else "address bar").wait_for()
    link = page.evaluate("navigator.clipboard.readText()") if allowed else page.url
    assert link == f"{site}/?mode=bpp&value=0.5&against=original"
    page.goto(link)
    assert page.locator("#number").input_value() == "0.5"
    page.context.close()
