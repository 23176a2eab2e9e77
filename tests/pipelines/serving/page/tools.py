"""What the page's tests share: a browser's marks, a photograph, how it is given to the page."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from PIL import ImageDraw

from tests.pipelines.serving.fakes import made_image

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = os.environ.get("DEEPSIC_CHROMIUM") or shutil.which("chromium")
MARKS = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
#: The page without its first sample, which would only keep two cores busy.
EMPTY = "/?sample="
READY = "body[data-state=ready]"
DESKTOP, PHONE = (1440, 1000), (390, 844)
PATIENCE_MS = 45_000


def photo(width: int = 360, height: int = 240, kind: str = "PNG", **options: Any) -> bytes:
    image = made_image(width, height, seed=5)
    ImageDraw.Draw(image).ellipse((40, 40, 200, 200), fill="#f6c945")
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def give(page: Page, data: bytes, name: str = "mine.png") -> None:
    kind = "image/png" if name.endswith("png") else "application/octet-stream"
    # The samples may still be at work; a new image takes over.
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def pixel(page: Page, canvas: str, x: int, y: int) -> list[int]:
    read = """([id, x, y]) =>
      [...document.getElementById(id).getContext("2d").getImageData(x, y, 1, 1).data]"""
    return page.evaluate(read, [canvas, x, y])  # type: ignore[no-any-return]
