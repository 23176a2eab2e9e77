"""`deepsic.Client` against a real server."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from deepsic.bitstream.container import unpack
from deepsic.client import Client, ServiceError
from deepsic.errors import (
    CorruptFileError,
    DeepsicError,
    InputError,
    LimitError,
    UnknownModelError,
    UsageError,
)
from tests.pipelines.serving.conftest import SMALL, running
from tests.pipelines.serving.fakes import FakeCodec, image_bytes, made_image

EXIF_MAKER = 0x010F


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as made:
        yield made


def test_the_verbs_of_codec(client: Client) -> None:
    blob = client.encode(made_image(), quality=60)
    assert unpack(blob).header.quality == 60
    assert client.decode(blob).size == (96, 64)
    found = client.labels(blob, top=1)
    assert [(label.name, label.wnid) for label in found] == [("English springer", "n02102040")]
    assert found[0].probability == pytest.approx(0.91, abs=0.01)
    assert client.info(blob)["width"] == 96
    assert client.models()["default"] == "sic"


def test_images_come_as_image_bytes_or_path(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "p.png"
    file.write_bytes(image_bytes())
    assert client.encode(file) == client.encode(str(file)) == client.encode(image_bytes())
    assert client.encode(made_image()) == client.encode(file)
    sic = tmp_path / "p.sic"
    sic.write_bytes(client.encode(file))
    assert client.decode(sic).size == (96, 64)


def test_images_come_as_codec_takes_them(client: Client, tmp_path: Path) -> None:
    image = made_image()
    expected = client.encode(image)
    with io.BytesIO(image_bytes()) as file:
        assert client.encode(file) == expected
    assert client.encode(bytearray(image_bytes())) == expected
    assert client.encode(np.asarray(image)) == expected
    assert client.decode(io.BytesIO(expected)).size == image.size
    assert client.decode(client.encode(image.convert("CMYK"))).size == image.size
    for wrong in (None, 5, [1]):
        with pytest.raises(UsageError, match="give a path"):
            client.encode(wrong)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="give its bytes"):
            client.decode(wrong)  # type: ignore[arg-type]


def test_exif_travels(client: Client) -> None:
    image = made_image()
    exif = image.getexif()
    exif[EXIF_MAKER] = "Kodak"
    image.info["exif"] = exif.tobytes()
    assert client.decode(client.encode(image)).getexif()[EXIF_MAKER] == "Kodak"


def test_labels_that_are_not_stored_are_read_by_the_model(client: Client) -> None:
    blob = client.encode(made_image(), labels=False)
    assert client.labels(blob)[0].name == "English springer"


def test_labels_send_only_the_first_bytes(client: Client) -> None:
    blob = client.encode(made_image(256, 256))
    damaged = blob[:256] + b"\0" * (len(blob) - 256)
    assert client.labels(damaged)[0].name == "English springer"


def test_errors_are_those_of_codec(client: Client, tmp_path: Path) -> None:
    blob = client.encode(made_image())
    with pytest.raises(CorruptFileError, match="checksum"):
        client.decode(blob[:-9] + b"123456789")
    with pytest.raises(InputError, match="not an image"):
        client.encode(b"hello")
    with pytest.raises(LimitError, match="pixels"):
        client.encode(made_image(1100, 1000))
    with pytest.raises(UnknownModelError):
        client.decode(FakeCodec("other").encode(made_image()))
    with pytest.raises(UsageError):
        client.encode(made_image(), quality=500)
    with pytest.raises(InputError, match="No such file"):
        client.encode(tmp_path / "missing.png")


def test_a_service_that_is_not_there_is_named() -> None:
    with (
        Client("http://127.0.0.1:9", attempts=1) as nobody,
        pytest.raises(ServiceError, match=r"127\.0\.0\.1:9"),
    ):
        nobody.models()


class Flaky(ThreadingHTTPServer):
    """Says what it is told to, request after request; None breaks the connection."""

    def __init__(self, answers: Sequence[tuple[int, str] | None]) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), FlakyHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class FlakyHandler(BaseHTTPRequestHandler):
    server: Flaky

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.answers.pop(0)
        if answer is None:
            self.close_connection = True
            return
        status, kind = answer
        body = b'{"title": "Busy", "detail": "later"}' if "json" in kind else b"sic"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Flaky]]:
    monkeypatch.setattr("deepsic.client.PAUSE_S", 0.01)
    started = []

    def start(*answers: tuple[int, str] | None) -> Flaky:
        server = Flaky(answers)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


PROBLEM, TEXT, SIC = "application/problem+json", "text/plain", "image/x-sic"


def test_busy_services_and_broken_connections_are_asked_again(flaky: Callable[..., Flaky]) -> None:
    server = flaky((503, PROBLEM), None, (500, TEXT), (200, SIC))
    with Client(server.url) as client:
        assert client.encode(b"an image") == b"sic"
    assert server.bodies == [b"an image"] * 4


def test_patience_ends(flaky: Callable[..., Flaky]) -> None:
    server = flaky(None, (503, PROBLEM), (200, SIC))
    with Client(server.url, attempts=2) as client, pytest.raises(ServiceError, match="Busy"):
        client.encode(b"an image")
    assert len(server.bodies) == 2


@pytest.mark.parametrize("status", [413, 422, 500])
def test_what_the_service_means_is_not_asked_again(
    status: int, flaky: Callable[..., Flaky]
) -> None:
    server = flaky((status, PROBLEM), (200, SIC))
    with Client(server.url) as client, pytest.raises(DeepsicError):
        client.encode(b"an image")
    assert len(server.bodies) == 1


def test_what_took_too_long_is_asked_once_more(flaky: Callable[..., Flaky]) -> None:
    server = flaky((504, PROBLEM), (200, SIC))
    with Client(server.url) as client:
        assert client.encode(b"an image") == b"sic"
    server = flaky((504, PROBLEM), (504, PROBLEM), (200, SIC))
    with Client(server.url) as client, pytest.raises(DeepsicError):
        client.encode(b"an image")
    assert len(server.bodies) == 2


def test_the_token_is_sent(tmp_path: Path) -> None:
    token = "a-token-that-is-long-enough"
    file = tmp_path / "token"
    file.write_text(token + "\n")
    with running(replace(SMALL, token_file=str(file))) as address:
        with Client(address, token=token) as known:
            assert known.models()["default"] == "sic"
        with Client(address) as stranger, pytest.raises(UsageError, match="Unauthorized"):
            stranger.models()


def test_the_client_is_light() -> None:
    code = (
        "import sys, deepsic; deepsic.Client('http://localhost:1').close();"
        "heavy = {'torch', 'numpy', 'PIL', 'ray', 'fastapi'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
