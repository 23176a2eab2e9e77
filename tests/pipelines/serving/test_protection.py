"""What hostile, broken or merely large requests get."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from PIL import Image

from deepsic.errors import LimitError
from pipelines.serving.work.backends import LocalBackend
from tests.pipelines.serving.conftest import Service
from tests.pipelines.serving.fakes import image_bytes, made_image

MakeService = Callable[..., Service]


def check_problem(answer: object, status: int, title: str) -> str:
    assert answer.status_code == status, answer.text  # type: ignore[attr-defined]
    assert answer.headers["content-type"] == "application/problem+json"  # type: ignore[attr-defined]
    reply = answer.json()  # type: ignore[attr-defined]
    assert reply["title"] == title
    assert reply["status"] == status
    assert reply["instance"].endswith(answer.headers["x-request-id"])  # type: ignore[attr-defined]
    return str(reply["detail"])


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def test_a_declared_body_that_is_too_large_is_refused_unread(service: Service) -> None:
    answer = service.post("/v1/encode", b"x" * 2_000_001)
    assert "2,000,000 bytes" in check_problem(answer, 413, "Limit exceeded")
    assert answer.headers["connection"] == "close"


def test_an_undeclared_body_that_is_too_large_is_refused(service: Service) -> None:
    taken = 0

    async def endless() -> Iterator[bytes]:  # type: ignore[misc]
        nonlocal taken
        while True:
            taken += 65_536
            yield b"x" * 65_536

    answer = service.request("POST", "/v1/encode", content=endless())
    check_problem(answer, 413, "Limit exceeded")
    # Some more is read and thrown away, so that the client sees the answer; not without end.
    assert taken < 4 * 2_000_000 + 2 * 65_536


@pytest.mark.parametrize("verb", ["encode", "baseline?max_bytes=1000", "heatmap", "classify"])
@pytest.mark.parametrize(
    ("side", "words"), [(1_200, "1200x1200"), (60_000, "claims a size beyond")]
)
def test_an_image_that_claims_to_be_huge_is_refused_undecoded(
    service: Service, verb: str, side: int, words: str
) -> None:
    answer = service.post(f"/v1/{verb}", png_claiming(side, side))
    assert words in check_problem(answer, 413, "Limit exceeded")


def test_a_file_that_claims_to_be_huge_is_refused_undecoded(make_service: MakeService) -> None:
    blob = make_service().post("/v1/encode", image_bytes(width=400, height=300)).content
    small = make_service(max_pixels=100_000)
    assert "120,000 pixels" in check_problem(small.post("/v1/decode", blob), 413, "Limit exceeded")
    assert small.post("/v1/labels", blob).status_code == 200, "labels cost nothing"


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"GIF89a", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_image_is_415(service: Service, body: bytes) -> None:
    check_problem(service.post("/v1/encode", body), 415, "Unreadable input")


def test_a_truncated_image_is_415(service: Service) -> None:
    data = image_bytes("JPEG", width=300, height=300)
    detail = check_problem(service.post("/v1/encode", data[:900]), 415, "Unreadable input")
    assert "truncated" in detail


def test_an_animation_is_refused(service: Service) -> None:
    out = io.BytesIO()
    frames = [made_image(seed=seed) for seed in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    check_problem(service.post("/v1/encode", out.getvalue()), 415, "Unsupported image")


@pytest.mark.parametrize("verb", ["decode", "labels", "info"])
def test_damage_anywhere_in_the_head_is_422(service: Service, verb: str) -> None:
    blob = service.post("/v1/encode", image_bytes()).content
    for position in range(4, 30):
        broken = bytearray(blob)
        broken[position] ^= 0x10
        check_problem(service.post(f"/v1/{verb}", bytes(broken)), 422, "Corrupt file")


def test_a_newer_format_version_is_named(service: Service) -> None:
    blob = bytearray(service.post("/v1/encode", image_bytes()).content)
    blob[3] = 0x82
    check_problem(service.post("/v1/info", bytes(blob)), 422, "Unknown format version")


def test_a_client_that_sends_too_much_sees_the_answer(address: str) -> None:
    import httpx

    for body in (bytes(4_000_000), iter([bytes(1_000_000)] * 4)):
        answer = httpx.post(f"{address}/v1/encode", content=body)
        assert answer.status_code == 413


def test_a_slow_body_is_408_and_others_are_served_meanwhile(address: str) -> None:
    host, port = urlsplit(address).hostname, urlsplit(address).port
    with socket.create_connection((host, port), timeout=10) as loris:
        loris.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab")
        with socket.create_connection((host, port), timeout=10) as other:
            started = time.monotonic()
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b" 200 " in other.recv(4096)
            assert time.monotonic() - started < 0.5
        answer = loris.recv(65_536)
    assert b" 408 " in answer.splitlines()[0]
    assert b"didn't arrive within 0.6 s" in answer


def test_an_aborted_upload_leaves_nothing_held(make_service: MakeService) -> None:
    service = make_service()
    bounds = service.app.app.app  # type: ignore[attr-defined]
    events = iter(
        [
            {"type": "http.request", "body": b"x" * 1000, "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return next(events)

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/encode",
        "headers": [],
        "query_string": b"",
    }
    asyncio.run(service.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent == []
    assert bounds.buffered.count == 0


def test_bodies_held_together_are_bounded(make_service: MakeService) -> None:
    service = make_service(max_buffered_bytes=1_000)
    answer = service.post("/v1/encode", b"x" * 1_001)
    check_problem(answer, 503, "Busy")
    assert answer.headers["retry-after"] == "2"
    assert service.app.app.app.buffered.count == 0  # type: ignore[attr-defined]


def test_a_full_queue_is_503_with_retry_after(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    service = make_service(max_queued=2, max_replicas=1, max_batch=1)
    data = image_bytes()

    async def crowd() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://s") as client:
            await client.get("/readyz")
            return await asyncio.gather(
                *(client.post("/v1/encode", content=data) for _ in range(10))
            )

    answers = asyncio.run(crowd())
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert len(refused) == 7, "one client: one in work, two that wait"
    assert {answer.headers["retry-after"] for answer in refused} == {"2"}


def test_work_that_takes_too_long_is_504(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.5")
    service = make_service(request_timeout_s=0.1)
    check_problem(service.post("/v1/encode", image_bytes()), 504, "Time limit exceeded")


def test_unforeseen_failures_show_no_path_and_no_trace(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("/secret/path of the server")

    monkeypatch.setattr(LocalBackend, "do", broken)
    answer = make_service().post("/v1/encode", image_bytes())
    check_problem(answer, 500, "Internal error")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "/secret/path" in caplog.text, "the operator needs it"
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.fields["id"] == answer.headers["x-request-id"]  # type: ignore[attr-defined]


def test_errors_that_are_not_public_stay_inside(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inner(LimitError):
        public = False

    async def broken(*_: object) -> None:
        raise Inner("/secret/path")

    monkeypatch.setattr(LocalBackend, "do", broken)
    answer = make_service().post("/v1/encode", image_bytes())
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/models", "/nothing", "/static/app.js"])
def test_every_answer_carries_the_security_headers(service: Service, path: str) -> None:
    headers = service.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    # A user may paste an address, which the browser fetches; nothing else leaves this origin.
    assert "http" not in policy.replace("connect-src 'self' https:;", "" if path == "/" else "?")
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert len(headers["x-request-id"]) == 32


def test_a_clients_request_id_is_kept_if_harmless(service: Service) -> None:
    kept = service.get("/healthz", headers={"X-Request-Id": "build-1234.a"})
    assert kept.headers["x-request-id"] == "build-1234.a"
    changed = service.get("/healthz", headers={"X-Request-Id": "a b\tc<script>"})
    assert "script" not in changed.headers["x-request-id"]


def test_pages_of_other_sites_may_not_post(service: Service) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    answer = service.post("/v1/encode", image_bytes(), headers=headers)
    check_problem(answer, 403, "Forbidden")


def test_cors_opens_only_what_is_named(make_service: MakeService) -> None:
    service = make_service(cors_origins=("https://good.example",))
    for origin, allowed in (("https://good.example", True), ("https://evil.example", False)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        answer = service.post("/v1/encode", image_bytes(), headers=headers)
        assert (answer.status_code == 200) == allowed
        assert ("access-control-allow-origin" in answer.headers) == allowed


TOKEN = "correct-horse-battery-staple"


def test_a_token_guards_the_api_but_not_the_probes(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_service()
    monkeypatch.setenv("DEEPSIC_SERVE_TOKEN", TOKEN)
    from tests.pipelines.serving.conftest import SMALL

    service = Service(SMALL)
    for path in ("/", "/healthz", "/readyz", "/static/app.js"):
        assert service.get(path).status_code == 200, path
    for header in (None, "Bearer", "Bearer wrong-token-wrong-token", f"Basic {TOKEN}", TOKEN):
        headers = {"Authorization": header} if header else {}
        for path in ("/v1/models", "/metrics"):
            answer = service.get(path, headers=headers)
            check_problem(answer, 401, "Unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert service.get("/v1/models", headers=good).status_code == 200
    # Refused before its body is read, so nobody without the token can fill memory.
    assert service.post("/v1/encode", b"x" * 2_000_001).status_code == 401


def test_problem_documents_are_json_a_person_can_read(service: Service) -> None:
    reply = json.loads(service.post("/v1/encode", b"hello").content)
    assert set(reply) == {"type", "title", "status", "detail", "instance"}
    assert "JPEG" in reply["detail"]


def test_pillow_opens_only_listed_formats(service: Service) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PPM")
    check_problem(service.post("/v1/encode", out.getvalue()), 415, "Unreadable input")
