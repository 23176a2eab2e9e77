"""The page in a real browser: what a person does, on a desktop and on a phone.

Screenshots go to `$DEEPSIC_SCREENSHOTS` (CI keeps that folder), else to pytest's temporary one.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageDraw

from deepsic.bitstream.container import unpack
from pipelines.serving.work.backends import LocalBackend
from pipelines.serving.work.uploads import Uploads
from tests.pipelines.serving.conftest import SMALL, backend_of, running
from tests.pipelines.serving.fakes import EXIF_ORIENTATION, SPRINGER, FakeCodec, picture

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


ROOMY = replace(
    SMALL,
    max_body_bytes=5_000_000,
    max_buffered_bytes=50_000_000,
    max_queued=30,
    max_uploads_bytes=100_000_000,
)


@pytest.fixture(scope="module")
def site_backend() -> LocalBackend:
    return backend_of(ROOMY)


@pytest.fixture(scope="module")
def site(site_backend: LocalBackend) -> Iterator[str]:
    """The service with room for real photographs."""
    with running(ROOMY, site_backend) as address:
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


def test_a_sic_file_opens(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None]
) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    blob = FakeCodec().encode(picture(300, 200, seed=9), quality=77, labels=[SPRINGER])
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
        (b"this is a text", "notes.txt", "doesn't look like an image"),
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


def test_large_images_are_reduced_unless_wanted(open_page: Callable[..., Page]) -> None:
    page = open_page()
    out = io.BytesIO()
    Image.new("RGB", (1800, 500), "#3060a0").save(out, "PNG")
    give(page, out.getvalue())
    page.locator("#reduced").wait_for()
    assert "from 1800×500 to 1600×444" in page.locator("#reduced").inner_text()
    page.wait_for_selector(READY)
    page.get_by_role("button", name="Use all of it").click()
    page.locator("#reduced").wait_for(state="hidden")
    page.wait_for_selector(READY)
    assert not page.get_by_role("alert").is_visible(), page.get_by_role("alert").inner_text()
    assert pixel(page, "right", 1799, 499)[2] > 100, "all of it is there"


def test_nothing_of_one_image_stands_beside_another(open_page: Callable[..., Page]) -> None:
    page = open_page()
    give(page, photo())
    page.wait_for_selector(READY)
    give(page, b"this is a text", "text.txt")
    page.get_by_role("alert").wait_for()
    assert page.locator("#chips").inner_text() == ""
    assert page.locator("#kilobytes").inner_text() == "–"
    assert page.locator("#baselines tr").count() == 0
    assert page.locator("#save-sic").is_disabled()
    assert not page.locator("#tag-right").is_visible()
    assert pixel(page, "right", 0, 0) == [0, 0, 0, 0]


def test_a_sound_file_without_labels_is_not_called_damaged(open_page: Callable[..., Page]) -> None:
    page = open_page()
    give(page, FakeCodec().encode(picture(300, 200)), "plain.sic")
    page.wait_for_selector(READY)
    assert "No labels stored" in page.locator("#chips").inner_text()
    assert not page.get_by_role("alert").is_visible()
    page.get_by_role("button", name="Look at the image").click()
    page.locator(".chip.first").wait_for()
    assert page.locator(".chip.first").inner_text().startswith("English springer")


def test_several_files_are_a_list_and_a_zip(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    page.set_input_files(
        "#file",
        [
            {"name": "a.png", "mimeType": "image/png", "buffer": photo()},
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"a text"},
            {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(kind="JPEG")},
        ],
    )
    page.locator("#save-zip").wait_for()
    page.wait_for_selector(READY)
    assert [item.split("\n")[0] for item in page.locator("#files li").all_inner_texts()] == [
        "a.png", "notes.txt", "a.jpg"
    ]  # fmt: skip
    assert "failed" in page.locator("#files li").nth(1).inner_text()
    with page.expect_download() as download:
        page.locator("#save-zip").click()
    download.value.save_as(tmp_path / "sic.zip")
    with zipfile.ZipFile(tmp_path / "sic.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.sic", "a (2).sic"]
        assert unpack(archive.read("a.sic")).header.width == 360


def test_a_size_can_be_asked_for_and_is_remembered(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    page.locator("#mode").select_option("size")
    page.locator("#number").fill("3")
    page.locator("#number").blur()
    give(page, photo())
    page.wait_for_selector(READY)
    size = page.locator("#kilobytes").inner_text()
    value, unit = size.split()
    assert float(value) * (1000 if unit == "kB" else 1) < 3000
    page.reload()
    page.wait_for_selector(READY)
    assert page.locator("#number").input_value() == "3"


def test_a_link_carries_settings(open_page: Callable[..., Page]) -> None:
    page = open_page(path="/?sample=&mode=bpp&value=0.4&against=avif")
    page.wait_for_selector(READY)
    assert page.locator("#mode").input_value() == "bpp"
    assert page.locator("#number").input_value() == "0.4"
    assert page.locator("input[value=avif]").is_checked()


@pytest.mark.parametrize("shape", [(1, 1), (6000, 10)])
def test_odd_shapes_are_shown(open_page: Callable[..., Page], shape: tuple[int, int]) -> None:
    page = open_page()
    out = io.BytesIO()
    Image.new("RGB", shape, "#c03020").save(out, "PNG")
    give(page, out.getvalue())
    page.wait_for_selector(READY)
    assert page.locator("#tag-right").inner_text().startswith("DeepSIC")
    box = page.locator("#stage").bounding_box()
    assert box is not None
    assert box["height"] > 100


def test_an_animation_is_named(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    out = io.BytesIO()
    frames = [picture(seed=seed) for seed in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    give(page, out.getvalue(), "moving.gif")
    page.get_by_role("alert").wait_for()
    assert "animation" in page.get_by_role("alert").inner_text()


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
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator("figcaption b", has_text="golden retriever").wait_for()
    assert re.search(r"^\d\.\d kB read in [\d.]+ ms$", page.locator("#search-read").inner_text())
    assert "MB to move" in page.locator("#search-jpeg").inner_text()
    keep(page, "search")


AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`)"""


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


def test_without_a_classifier_the_page_works(browser: Browser) -> None:
    settings = replace(SMALL, classifier=None, max_body_bytes=5_000_000, max_queued=9)
    with running(settings) as address:
        context = browser.new_context()
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(address + EMPTY)
        page.wait_for_selector(READY)
        assert page.locator("#heat-button").is_disabled()
        assert page.locator("#sees").inner_text() == "No classifier here"
        give(page, photo())
        page.wait_for_selector(READY)
        assert not page.get_by_role("alert").is_visible()
        assert "No labels stored" in page.locator("#chips").inner_text()
        assert page.locator("#baselines tr").count() > 1
        context.close()


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
        assert not page.locator("#token-wrong").is_visible()
        page.get_by_role("textbox", name="Token").fill("not-the-right-token-at-all")
        page.get_by_role("button", name="Use it").click()
        page.locator("#token-wrong").wait_for()
        page.get_by_role("textbox", name="Token").fill(token)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector(READY, timeout=PATIENCE_MS)
        assert page.locator("#model").inner_text().startswith("Model sic")
        context.close()


def test_the_api_page_is_served_whole(open_page: Callable[..., Page]) -> None:
    pytest.importorskip("fastapi_offline", reason="the API page needs fastapi-offline")
    page = open_page(path="/docs")
    page.get_by_text("/v1/encode").first.wait_for()
