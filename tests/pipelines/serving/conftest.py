"""The service without Ray, over a fake codec: fast enough to make anew for every test."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn

from pipelines.serving.app import create_app
from pipelines.serving.settings import TOKEN_VARIABLE, ServeSettings
from pipelines.serving.work.backends import LocalBackend
from pipelines.serving.work.worker import Worker
from tests.pipelines.serving.fakes import FakeReader, load_fake
from tests.support.small_model import two_tunings

__all__ = ["two_tunings"]

SMALL = ServeSettings(
    classifier="fake",
    max_body_bytes=2_000_000,
    max_pixels=1_000_000,
    max_buffered_bytes=4_000_000,
    body_timeout_s=0.6,
    request_timeout_s=20.0,
    max_queued=4,
)


def backend_of(settings: ServeSettings) -> LocalBackend:
    """The fake codec in this process, and a fake classifier where the settings name one."""
    worker = Worker(replace(settings, classifier=None), load_fake)
    worker.settings = settings
    if settings.classifier is not None:
        worker.reader = FakeReader()  # type: ignore[assignment]
    return LocalBackend(worker)


class Service:
    """The application, called in this process; a running event loop isn't needed."""

    def __init__(self, settings: ServeSettings, backend: LocalBackend | None = None) -> None:
        self.backend = backend or backend_of(settings)
        self.app = create_app(settings, self.backend)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, content: bytes = b"", **options: Any) -> httpx.Response:
        return self.request("POST", path, content=content, **options)


@pytest.fixture
def make_service(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Service]:
    """A factory: keyword arguments replace settings."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)

    def make(**changes: Any) -> Service:
        return Service(replace(SMALL, **changes))

    return make


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service()


@contextmanager
def running(settings: ServeSettings, backend: LocalBackend | None = None) -> Iterator[str]:
    """The same application on a real port, in a thread; gives its address."""
    app = create_app(settings, backend or backend_of(settings))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.02)
            yield "http://{}:{}".format(*listening.getsockname())
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A real server on loopback."""
    with running(SMALL) as found:
        yield found
