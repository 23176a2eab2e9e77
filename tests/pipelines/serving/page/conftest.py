"""The page in a real browser, over a fake codec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.serving.work.backends import LocalBackend
from tests.pipelines.serving.conftest import SMALL, backend_of, running
from tests.pipelines.serving.page.tools import (
    CHROMIUM,
    DESKTOP,
    EMPTY,
    PATIENCE_MS,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")


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
