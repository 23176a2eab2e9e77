"""The page in a real browser: what a person does, on a desktop and on a phone.

Screenshots go to `$DEEPSIC_SCREENSHOTS` (CI keeps that folder), else to pytest's temporary one.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw

from tests.pipelines.serving.conftest import SMALL, running
from tests.pipelines.serving.fakes import EXIF_ORIENTATION, FakeCodec, picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = os.environ.get("DEEPSIC_CHROMIUM") or shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
#: The page without its first sample, which would only keep two cores busy.
EMPTY = "/?sample="
READY = "body[data-state=ready]"
DESKTOP, PHONE = (1440, 1000), (390, 844)
PATIENCE_MS = 45_000


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The service with room for real photographs."""
    settings = replace(SMALL, max_body_bytes=5_000_000, max_buffered_bytes=50_000_000, max_queued=9)
    with running(settings) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, site: str) -> Iterator[Callable[..., Page]]:
    """Opens the page in a fresh profile; afterwards nothing may have gone wrong behind it."""
    complaints: list[str] = []
    outside: list[str] = []
    contexts = []

    def start(size: tuple[int, int] = DESKTOP, path: str = EMPTY, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if "Security" in message.text else None,
        )
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((site, "blob:")) else outside.append(request.url)
            ),
        )
        page.goto(site + path)
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
    assert outside == []


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[Page, str], None]:
    """Keeps a screenshot."""
    folder = Path(os.environ.get("DEEPSIC_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", full_page=True)  # type: ignore[return-value]


def photo(width: int = 360, height: int = 240, kind: str = "PNG", **options: Any) -> bytes:
    image = picture(width, height, seed=5)
    ImageDraw.Draw(image).ellipse((40, 40, 200, 200), fill="#f6c945")
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def give(page: Page, data: bytes, name: str = "mine.png") -> None:
    kind = "image/png" if name.endswith("png") else "application/octet-stream"
    # The samples may still be at work; a new picture takes over.
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def pixel(page: Page, canvas: str, x: int, y: int) -> list[int]:
    read = """([id, x, y]) =>
      [...document.getElementById(id).getContext("2d").getImageData(x, y, 1, 1).data]"""
    return page.evaluate(read, [canvas, x, y])  # type: ignore[no-any-return]


def test_a_picture_is_encoded_and_shown(
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
    assert abs(yellow[0] - 0xF6) < 30, "the decoded picture isn't the one that was given"
    assert abs(yellow[2] - 0x45) < 40
    keep(page, "desktop")


def test_labels_come_before_the_picture(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    order: list[str] = []
    page.on("request", lambda request: order.append(request.url.rsplit("/", 1)[-1]))
    sizes: dict[str, int] = {}
    page.on(
        "request",
        lambda request: sizes.setdefault(
            request.url.rsplit("/", 1)[-1], len(request.post_data_buffer or b"")
        ),
    )
    held: list[Any] = []
    page.route("**/v1/decode", lambda route: held.append(route))
    give(page, photo())
    page.locator(".chip.first").wait_for()
    page.locator("#busy-text", has_text="Decoding").wait_for()
    assert page.locator(".chip.first").is_visible(), "labels are shown while decoding waits"
    assert page.locator("#known-name").inner_text() == "English springer"
    assert order.index("labels") < order.index("decode")
    assert sizes["labels"] <= 256
    for route in held:
        route.continue_()
    page.wait_for_selector(READY)
    assert not page.locator("#known").is_visible()


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


def test_rivals_get_as_many_bytes(open_page: Callable[..., Page]) -> None:
    page = open_page()
    give(page, photo())
    page.wait_for_selector(READY)
    rows = page.locator("#baselines tr")
    names = [row.split("\t")[0].split("\n")[0] for row in rows.all_inner_texts()]
    assert names[:2] == ["DeepSIC", "JPEG"]
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


def test_a_sic_file_opens(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None]
) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    blob = FakeCodec().encode(picture(300, 200, seed=9), quality=77)
    give(page, blob, "old.sic")
    page.wait_for_selector(READY)
    assert page.locator("#quality").input_value() == "77"
    assert not page.locator("#handle").is_visible(), "there is nothing to compare with"
    assert page.locator("input[value=jpeg]").is_disabled()
    assert page.locator("#kilobytes").inner_text() in (
        f"{len(blob) / 1000:.1f} kB",
        f"{len(blob)} B",
    )
    keep(page, "sic-file")


def test_the_file_can_be_saved_and_opened_again(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page()
    give(page, photo())
    page.wait_for_selector(READY)
    with page.expect_download() as download:
        page.locator("#save-sic").click()
    assert download.value.suggested_filename == "mine.sic"
    saved = tmp_path / "mine.sic"
    download.value.save_as(saved)
    give(page, saved.read_bytes(), "mine.sic")
    page.wait_for_selector(READY)
    assert page.locator(".chip.first").inner_text().startswith("English springer")


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"this is a text", "notes.txt", "doesn't look like a picture"),
        (b"SIC\x81" + b"\0" * 60, "broken.sic", "damaged"),
        (os.urandom(5_000_001), "huge.bin", "at most 5.00 MB"),
    ],
    ids=["text", "damaged", "huge"],
)
def test_errors_are_said_so_that_a_person_understands(
    open_page: Callable[..., Page],
    keep: Callable[[Page, str], None],
    data: bytes,
    name: str,
    words: str,
) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    give(page, data, name)
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert words in alert.inner_text()
    keep(page, f"error-{name.split('.')[0]}")
    page.locator("#alert-close").click()
    assert not alert.is_visible()
    give(page, photo())
    page.wait_for_selector(READY)
    assert page.locator("#tag-right").inner_text().startswith("DeepSIC")


def test_large_pictures_are_reduced_unless_wanted(open_page: Callable[..., Page]) -> None:
    page = open_page()
    out = io.BytesIO()
    Image.new("RGB", (2000, 500), "#3060a0").save(out, "PNG")
    give(page, out.getvalue())
    page.locator("#reduced").wait_for()
    assert "from 2000×500 to 1600×400" in page.locator("#reduced").inner_text()
    page.wait_for_selector(READY)


def test_a_turned_photograph_stands_upright_on_both_sides(open_page: Callable[..., Page]) -> None:
    image = picture(400, 300, seed=3)
    ImageDraw.Draw(image).rectangle((0, 0, 399, 60), fill="#e02020")
    exif, out = image.getexif(), io.BytesIO()
    exif[EXIF_ORIENTATION] = 6  # the camera was turned: the red edge belongs on the right
    image.save(out, "JPEG", exif=exif, quality=95)
    page = open_page()
    page.wait_for_selector(READY)
    give(page, out.getvalue(), "turned.jpg")
    page.wait_for_selector(READY)
    for canvas in ("left", "right"):
        red = pixel(page, canvas, 280, 200)
        assert red[0] > 150 > 100 > red[1], f"{canvas}: {red}"
    assert float(page.locator("#psnr").inner_text().split()[0]) > 20


def test_without_a_classifier_the_page_says_so(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    assert page.locator("#heat-button").is_disabled()
    assert page.locator("#sees").inner_text() == "No classifier installed"


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
    # One can get from the address bar to the picture without a mouse.
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"


def test_a_wanted_token_is_asked_for(browser: Browser, tmp_path: Path) -> None:
    token = "a-token-that-is-long-enough"
    file = tmp_path / "token"
    file.write_text(token)
    with running(replace(SMALL, token_file=str(file), max_queued=9)) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address + EMPTY)
        page.get_by_role("dialog").wait_for()
        page.get_by_role("textbox", name="Token").fill(token)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector(READY, timeout=PATIENCE_MS)
        assert page.locator("#model").inner_text().startswith("Model sic")
        context.close()


def test_the_api_page_is_served_whole(open_page: Callable[..., Page]) -> None:
    pytest.importorskip("fastapi_offline", reason="the API page needs fastapi-offline")
    page = open_page(path="/docs")
    page.get_by_text("/v1/encode").first.wait_for()
