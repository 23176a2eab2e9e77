"""Files of all kinds, and what is said about them."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from deepsic.bitstream.container import unpack
from tests.pipelines.serving.conftest import SMALL, running
from tests.pipelines.serving.fakes import EXIF_ORIENTATION, SPRINGER, FakeCodec, made_image
from tests.pipelines.serving.page.tools import (
    EMPTY,
    MARKS,
    PATIENCE_MS,
    READY,
    give,
    photo,
    pixel,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = MARKS


def test_a_sic_file_opens(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None]
) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    blob = FakeCodec().encode(made_image(300, 200, seed=9), quality=77, labels=[SPRINGER])
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


def test_objects_are_drawn_where_they_are(
    open_page: Callable[..., Page], keep: Callable[[Page, str], None]
) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    labels = [
        replace(SPRINGER, box=(0.25, 0.5, 0.75, 1.0)),
        replace(SPRINGER, box=(0, 0, 0.5, 0.25)),
    ]
    give(page, FakeCodec().encode(made_image(300, 200, seed=9), labels=labels), "dogs.sic")
    page.wait_for_selector(READY)
    page.wait_for_selector("#boxes rect", state="attached")
    image, box = (page.locator(at).bounding_box() for at in ("#right", "#boxes rect >> nth=0"))
    assert image is not None
    assert box is not None
    assert box["x"] - image["x"] == pytest.approx(image["width"] / 4, abs=3)
    assert box["y"] - image["y"] == pytest.approx(image["height"] / 2, abs=3)
    assert box["width"] == pytest.approx(image["width"] / 2, abs=5)
    assert page.locator("#boxes text").all_text_contents() == [SPRINGER.name, SPRINGER.name]
    assert page.locator(".chip").count() == 2, "objects, and no doubt about the whole"
    keep(page, "boxes")
    give(page, photo())
    page.wait_for_selector(READY)
    page.wait_for_selector("#boxes", state="hidden")


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
    give(page, FakeCodec().encode(made_image(300, 200)), "plain.sic")
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


def test_an_animation_is_named(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for_selector(READY)
    out = io.BytesIO()
    frames = [made_image(seed=seed) for seed in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    give(page, out.getvalue(), "moving.gif")
    page.get_by_role("alert").wait_for()
    assert "animation" in page.get_by_role("alert").inner_text()


def test_a_turned_photograph_stands_upright_on_both_sides(open_page: Callable[..., Page]) -> None:
    image = made_image(400, 300, seed=3)
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
