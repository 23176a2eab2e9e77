"""What any HTTP client may expect: HEAD, entity tags, packed bodies, nothing ignored in silence."""

from __future__ import annotations

import gzip
import io

import pytest
from PIL import Image

from tests.pipelines.serving.conftest import Service
from tests.pipelines.serving.fakes import image_bytes
from tests.pipelines.serving.test_protection import check_problem

RESOURCES = ["/", "/docs", "/static/app.js", "/static/style.css", "/samples", "/v1/models"]


@pytest.mark.parametrize("path", [*RESOURCES, "/openapi.json", "/healthz", "/metrics"])
def test_head_says_what_get_would(service: Service, path: str) -> None:
    get, head = service.get(path), service.request("HEAD", path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers.get("etag") == get.headers.get("etag")


@pytest.mark.parametrize("path", [*RESOURCES, "/openapi.json"])
def test_what_the_client_has_is_not_sent_again(service: Service, path: str) -> None:
    first = service.get(path)
    assert "cache-control" in first.headers
    again = service.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = service.get(path, headers={"If-None-Match": '"another"'})
    assert other.content == first.content


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/openapi.json"])
def test_text_is_packed_for_those_who_take_it(service: Service, path: str) -> None:
    packed = service.get(path, headers={"Accept-Encoding": "gzip"})
    plain = service.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < 0.6 * len(plain.content)
    for answer in (packed, plain):
        assert "Accept-Encoding" in answer.headers["vary"]


def test_images_are_not_packed_again(service: Service) -> None:
    answer = service.post("/v1/encode", image_bytes(), headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


def test_a_gzip_body_is_unpacked(service: Service) -> None:
    data = image_bytes()
    packed = service.post("/v1/encode", gzip.compress(data), headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 200, packed.text
    assert packed.content == service.post("/v1/encode", data).content


def test_a_gzip_bomb_is_refused_unpacked(service: Service) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    answer = service.post("/v1/encode", bomb, headers={"Content-Encoding": "gzip"})
    assert "2,000,000 bytes" in check_problem(answer, 413, "Limit exceeded")


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("br", b"x", "Content-Encoding 'br' isn't taken"),
        ("gzip, gzip", b"x", "isn't taken"),
        ("gzip", b"no gzip", "isn't sound gzip"),
        ("gzip", gzip.compress(b"x" * 1000)[:-9], "cut short"),
    ],
)
def test_bodies_packed_otherwise_are_refused_by_name(
    service: Service, encoding: str, body: bytes, words: str
) -> None:
    answer = service.post("/v1/encode", body, headers={"Content-Encoding": encoding})
    assert words in check_problem(answer, 415, "Unsupported encoding")
    assert answer.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/encode?qualtiy=90", "unknown parameter qualtiy; known: "),
        ("/v1/encode?quality=9&quality=90", "quality is given more than once"),
        ("/v1/decode?quality=9", "unknown parameter quality"),
        ("/v1/info?x=1", "unknown parameter x; known: upload"),
    ],
)
def test_parameters_that_nothing_reads_are_refused(service: Service, path: str, words: str) -> None:
    assert words in check_problem(service.post(path, image_bytes()), 400, "Bad request")


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/nothing", 404, "Not found"),
        ("GET", "/static/nothing.js", 404, "Not found"),
        ("GET", "/samples/nothing.jpg", 404, "Not found"),
        ("PUT", "/v1/encode", 405, "Method not allowed"),
        ("GET", "/v1/uploads/unknown", 404, "Unknown upload"),
    ],
)
def test_every_error_is_a_problem_document(
    service: Service, method: str, path: str, status: int, title: str
) -> None:
    check_problem(service.request(method, path), status, title)


def test_an_upload_can_be_read_in_ranges(service: Service) -> None:
    """Labels first, then the rest, of one file."""
    blob = service.post("/v1/encode", image_bytes()).content
    handle = service.post("/v1/uploads", blob).json()["handle"]
    path = f"/v1/uploads/{handle}"
    start = service.get(path, headers={"Range": "bytes=0-99"})
    rest = service.get(path, headers={"Range": "bytes=100-"})
    assert (start.status_code, start.headers["content-range"]) == (206, f"bytes 0-99/{len(blob)}")
    assert start.content + rest.content == blob == service.get(path).content
    assert service.post("/v1/labels", start.content).json()["source"] == "file"
    beyond = service.get(path, headers={"Range": f"bytes={len(blob)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(blob)}")
    assert service.get(path).headers["accept-ranges"] == "bytes"


def test_a_thumbnail_of_an_upload_is_a_plain_address(service: Service) -> None:
    blob = service.post("/v1/encode", image_bytes(width=400, height=200)).content
    handle = service.post("/v1/uploads", blob).json()["handle"]
    answer = service.get(f"/v1/decode?upload={handle}&width=80")
    assert Image.open(io.BytesIO(answer.content)).size == (80, 40)
    again = service.get(
        f"/v1/decode?upload={handle}&width=80", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
