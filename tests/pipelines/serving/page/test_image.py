"""What a person does with one image."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from pipelines.serving.work.backends import LocalBackend
from pipelines.serving.work.uploads import Uploads
from tests.pipelines.serving.page.tools import (
    MARKS,
    READY,
    give,
    photo,
    pixel,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = MARKS


def test_an_image_is_encoded_and_shown(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None]
) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    give(page, photo())
    page.wait_for_selector(READY)
    assert page.locator(".chip.first").inner_text().startswith("English springer")
    assert "dog" in page.locator("#path").inner_text()
    assert re.fullmatch(r"[\d.]+ k?B", page.locator("#kilobytes").inner_text())
    assert re.fullmatch(r"[\d.]+ dB", page.locator("#psnr").inner_text())
    assert int(page.locator("#prefix-count").inner_text()) < 64
    yellow = pixel(page, "right", 120, 120)
    assert abs(yellow[0] - 0xF6) < 30, "the decoded image isn't the one that was given"
    assert abs(yellow[2] - 0x45) < 40
    keep(page, "desktop")


def test_labels_come_before_the_image(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    order: list[str] = []
    page.on("request", lambda request: order.append(urlsplit(request.url).path))
    held: list[Any] = []
    page.route("**/v1/decode?*", lambda route: held.append(route))
    give(page, photo())
    page.locator("#busy-text", has_text="Decoding").wait_for()
    assert page.locator(".chip.first").is_visible(), "labels are shown while decoding waits"
    assert page.locator("#known-name").inner_text() == "English springer"
    assert order.index("/v1/labels") < order.index("/v1/decode")
    for route in held:
        route.continue_()
    page.wait_for_selector(READY)
    assert not page.locator("#known").is_visible()


def test_an_image_is_sent_once(
    open_page: Callable[..., Page], caplog: pytest.LogCaptureFixture
) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    caplog.set_level("INFO", "deepsic.serve")
    data = photo()
    give(page, data)
    page.wait_for_selector(READY)
    for quality in range(10, 60, 5):
        with page.expect_response(lambda answer, q=quality: f"quality={q}&" in answer.url):  # type: ignore[misc]
            page.locator("#quality").fill(str(quality))
        page.wait_for_selector(READY)
    lines = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert sum(line["route"] == "/v1/encode" for line in lines) == 11
    assert len(data) <= sum(line["bytes_in"] for line in lines) <= 1.05 * len(data)


def test_an_upload_that_has_expired_is_sent_again(
    open_page: Callable[..., Page], site_backend: LocalBackend
) -> None:
    page = open_page()
    give(page, photo())
    page.wait_for_selector(READY)
    site_backend.uploads = Uploads(100_000_000, 900)  # as after a kill
    page.locator("#quality").fill("71")
    page.wait_for_function("() => document.body.dataset.state === 'busy'")
    page.wait_for_selector(READY)
    assert not page.get_by_role("alert").is_visible()
    assert page.locator("#tag-right").inner_text().startswith("DeepSIC")


def test_the_slider_changes_the_file(open_page: Callable[..., Page]) -> None:
    page = open_page()
    give(page, photo())
    page.wait_for_selector(READY)

    def at(quality: int) -> tuple[float, float]:
        with page.expect_response(lambda answer: f"quality={quality}" in answer.url):
            page.locator("#quality").fill(str(quality))
        page.wait_for_selector(READY)
        size = page.locator("#bpp").inner_text()
        return float(size), float(page.locator("#psnr").inner_text().split()[0])

    (low, poor), (high, good) = at(5), at(95)
    assert low < high
    assert poor < good


def test_other_codecs_get_as_many_bytes(open_page: Callable[..., Page]) -> None:
    page = open_page()
    give(page, photo())
    page.wait_for_selector(READY)
    rows = [row.split("\t") for row in page.locator("#baselines tr").all_inner_texts()]
    assert [row[0].strip() for row in rows][:2] == ["DeepSIC", "JPEG"]
    for row in rows:
        assert re.fullmatch(r"[\d.]+ dB", row[1].strip()), row
        assert 0.5 < float(row[2]) <= 1, row
    ours = page.locator("#tag-right").inner_text()
    page.locator("label", has=page.locator("input[value=jpeg]")).click()
    theirs = page.locator("#tag-left").inner_text()
    assert theirs.startswith("JPEG")

    def number(text: str) -> float:
        value, unit = text.split()[-2:]
        return float(value) * (1000 if unit == "kB" else 1)

    assert number(theirs) <= number(ours)


def test_the_divider_works_with_keys_and_pointer(open_page: Callable[..., Page]) -> None:
    page = open_page()
    give(page, photo())
    page.wait_for_selector(READY)
    handle = page.locator("#handle")
    handle.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert handle.get_attribute("aria-valuenow") == "40"
    page.keyboard.press("Home")
    assert handle.get_attribute("aria-valuenow") == "0"
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    assert handle.get_attribute("aria-valuenow") == "75"
    page.locator("#zoom-in").click()
    assert page.locator("#zoom-text").inner_text() == "1.5×"
    page.locator("#stage").focus()
    before = page.locator("#plane").evaluate("(plane) => getComputedStyle(plane).transform")
    page.keyboard.press("ArrowRight")
    after = page.locator("#plane").evaluate("(plane) => getComputedStyle(plane).transform")
    assert before != after, "arrow keys move a zoomed image"
    page.keyboard.press("0")
    assert page.locator("#zoom-text").inner_text() == "Fit"
