"""Every size, light and dark, for everybody; and the search."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.pipelines.serving.conftest import SMALL, running
from tests.pipelines.serving.page.tools import (
    EMPTY,
    MARKS,
    PATIENCE_MS,
    PHONE,
    READY,
    give,
    photo,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = MARKS


AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`)"""


@pytest.mark.parametrize("shape", [(1, 1), (6000, 10)])
def test_odd_shapes_are_shown(open_page: Callable[..., Page], shape: tuple[int, int]) -> None:
    page = open_page()
    out = io.BytesIO()
    Image.new("RGB", shape, "#c03020").save(out, "PNG")
    give(page, out.getvalue())
    page.wait_for_selector(READY)
    page.locator("#tag-right", has_text="DeepSIC").wait_for()  # the page was ready before as well
    box = page.locator("#stage").bounding_box()
    assert box is not None
    assert box["height"] > 100


def test_the_page_says_within_three_seconds_that_the_service_is_away(
    browser: Browser,
) -> None:
    with running(replace(SMALL, max_queued=9)) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address + EMPTY)
        page.wait_for_selector(READY, timeout=PATIENCE_MS)
    page.locator("#away").wait_for(timeout=3_000)
    context.close()


def test_the_search_reads_first_bytes_only(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None]
) -> None:
    page = open_page(path="/#search")
    page.locator("#search-result", has_text="images").wait_for()
    page.get_by_label("Word").fill("dog")
    held: list[Route] = []
    page.route("**/gallery?word=dog", lambda route: held.append(route))
    with page.expect_request("**/gallery?word=dog"):
        page.get_by_role("button", name="Search", exact=True).click()
    assert page.locator("#search-images figure").count() == 0, "an earlier word's images"
    held[0].continue_()
    page.locator("figcaption b", has_text="golden retriever").wait_for()
    assert not page.locator("figcaption b", has_text="elephant").count()
    assert re.search(r"^\d\.\d kB read in [\d.]+ ms$", page.locator("#search-read").inner_text())
    assert "MB to move" in page.locator("#search-jpeg").inner_text()
    keep(page, "search")


@pytest.mark.parametrize("width", [390, 1024, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark", "forced"])
def test_axe_finds_nothing(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None], width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    options = {"forced_colors": "active"} if scheme == "forced" else {"color_scheme": scheme}
    page = open_page((width, 900), bypass_csp=True, **options)
    give(page, photo())
    page.wait_for_selector(READY)
    page.add_script_tag(path=Path(axe.__file__).with_name("axe.min.js"))
    assert page.evaluate(AXE) == []
    keep(page, f"image-{scheme}-{width}")
    page.goto(page.url.partition("?")[0] + "?sample=#search")
    page.locator("#search-result", has_text="images").wait_for()
    page.add_script_tag(path=Path(axe.__file__).with_name("axe.min.js"))
    assert page.evaluate(AXE) == []


def test_targets_are_large_enough_for_a_thumb(open_page: Callable[..., Page]) -> None:
    page = open_page(PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    give(page, photo())
    page.wait_for_selector(READY)
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input:not([type=file]), nav a")]
          .filter((e) => e.checkVisibility())
          .map((e) => [e.id || e.textContent, (e.closest("label") ?? e).getBoundingClientRect()])
          .filter(([, box]) => box.width < 43.9 || box.height < 43.9).map(([name]) => name)"""
    )
    assert small == []
    label = page.locator("#stage-label")
    assert label.inner_text() == "English springer", "the label stands on the image"


def test_a_phone_shows_all_of_it(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None]
) -> None:
    page = open_page(PHONE, device_scale_factor=2, has_touch=True, is_mobile=True)
    give(page, photo())
    page.wait_for_selector(READY)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= PHONE[0], "the page scrolls sideways"
    for button in ("#open-button", "#save-sic", "#heat-button"):
        box = page.locator(button).bounding_box()
        assert box is not None
        assert box["height"] >= 30, f"{button} is too small for a thumb"
    keep(page, "phone")


def test_everything_has_a_name_for_screen_readers(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, canvas, [role]")]
          .filter((e) => e.checkVisibility())
          .filter((e) => !["aria-label", "aria-labelledby", "title", "alt"].some(
            (name) => e.getAttribute(name)))
          .filter((e) => !e.innerText?.trim() && !e.labels?.length)
          .map((e) => e.outerHTML.slice(0, 90))"""
    )
    assert nameless == []
    # One can get from the address bar to the image without a mouse.
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"


def test_the_api_page_is_served_whole(open_page: Callable[..., Page]) -> None:
    pytest.importorskip("fastapi_offline", reason="the API page needs fastapi-offline")
    page = open_page(path="/docs")
    page.get_by_text("/v1/encode").first.wait_for()
