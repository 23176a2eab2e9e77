"""The application on Ray Serve, over real connections: batching, errors, kills, redeploys."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from deepsic.bitstream.container import unpack
from deepsic.client import Client
from pipelines.serving.ray.environment import RAY_ENVIRONMENT, http_options
from pipelines.serving.settings import ServeSettings
from pipelines.stage.runtime import RuntimeOptions, start_ray, stop_ray
from tests.pipelines.serving.fakes import image_bytes, load_slow
from tests.support.ports import free_port

#: Ray 2.60 warns about itself when it starts and leaves sockets to the collector when it stops.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SETTINGS = ServeSettings(
    models=("sic", "other"),
    classifier=None,
    min_replicas=2,
    max_replicas=2,
    cpus_per_replica=0.4,
    max_batch=4,
    batch_wait_s=0.03,
    max_queued=16,
    max_pixels=50_000_000,
    max_body_bytes=20_000_000,
    request_timeout_s=55,
    drain_s=60,
)


def deploy(settings: ServeSettings = SETTINGS) -> None:
    from ray import serve

    from pipelines.serving.ray.deploy import build_application

    serve.run(build_application(settings, load_slow), name="deepsic")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**RAY_ENVIRONMENT, "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}.items():
            patch.setenv(name, value)
        yield from served()


def served() -> Iterator[str]:
    """The application on a Ray of its own."""
    import ray

    ran_before = ray.is_initialized()
    start_ray(RuntimeOptions(address="local", num_cpus=2, object_store_mb=200))
    from ray import serve

    port = free_port()
    serve.start(http_options=http_options(SETTINGS, "127.0.0.1", port))
    try:
        deploy()
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        if not ran_before:
            stop_ray()


def codec_pids() -> list[int]:
    """Processes of the codec replicas."""
    return replica_pids("codec")


def replica_pids(deployment: str) -> list[int]:
    """Processes of a deployment's replicas."""
    import ray
    from ray.util.state import list_actors

    # Without an address it may ask another cluster of this machine.
    here = ray.get_runtime_context().gcs_address
    actors = list_actors(here, filters=[("state", "=", "ALIVE")], detail=True)
    return [actor.pid for actor in actors if f"#{deployment}#" in (actor.name or "")]


def test_an_image_goes_round(url: str) -> None:
    with httpx.Client(base_url=url, timeout=30) as http:
        answer = http.post("/v1/encode?quality=80", content=image_bytes(width=200, height=100))
        assert answer.status_code == 200, answer.text
        assert unpack(answer.content).header.quality == 80
        back = http.post("/v1/decode", content=answer.content)
        assert Image.open(io.BytesIO(back.content)).size == (200, 100)
        reply = http.post("/v1/labels?look=true", content=answer.content).json()
        assert reply["labels"][0]["name"] == "English springer"


def noise(width: int, height: int) -> bytes:
    """A PNG that is as large as its pixels."""
    out = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG", compress_level=0)
    return out.getvalue()


def test_bodies_and_answers_pass_that_are_larger_than_grpcs_default(url: str) -> None:
    data = noise(2570, 2560)
    assert 19_500_000 < len(data) < 20_000_000
    with httpx.Client(base_url=url, timeout=60) as http:
        blob = http.post("/v1/encode?quality=90", content=data)
        assert blob.status_code == 200, blob.text
        back = http.post("/v1/decode", content=blob.content)
        assert back.status_code == 200, back.text
        assert len(back.content) > 3 * 2**22
        handle = http.post("/v1/uploads", content=data).json()["handle"]
        again = http.post(f"/v1/encode?quality=90&upload={handle}")
        assert again.content == blob.content


@pytest.mark.slow
def test_fifty_megapixels_come_down(url: str) -> None:
    out = io.BytesIO()
    Image.effect_noise((8165, 6123), 60).convert("RGB").save(out, "JPEG", quality=30)
    assert len(out.getvalue()) < 20_000_000
    with Client(url, timeout_s=120) as client:
        image = client.decode(client.encode(out.getvalue(), quality=40))
    assert image.size == (8165, 6123)


def test_while_the_application_is_away_there_is_a_problem_document(url: str) -> None:
    from ray import serve

    serve.delete("deepsic")
    try:
        answer = httpx.get(f"{url}/v1/models", timeout=30)
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "5"
    finally:
        deploy()
    assert httpx.get(f"{url}/readyz", timeout=30).status_code == 200


def test_an_upload_store_that_was_killed_says_send_it_again(url: str) -> None:
    body = image_bytes()
    with httpx.Client(base_url=url, timeout=60) as http:
        handle = http.post("/v1/uploads", content=body).json()["handle"]
        assert http.post(f"/v1/encode?upload={handle}").status_code == 200
        (pid,) = replica_pids("uploads")
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 40
        while (answer := http.post(f"/v1/encode?upload={handle}")).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        assert (answer.status_code, answer.json()["title"]) == (404, "Unknown upload")
        handle = http.post("/v1/uploads", content=body).json()["handle"]
        assert http.post(f"/v1/encode?upload={handle}").status_code == 200


def test_large_work_runs_at_the_lowest_priority(url: str) -> None:
    def niceness(pid: int) -> set[int]:
        threads = os.listdir(f"/proc/{pid}/task")
        return {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in threads}

    for side in (400, 1100):
        body = image_bytes(width=side, height=side)
        assert httpx.post(f"{url}/v1/encode", content=body, timeout=60).status_code == 200
    (bulk,) = replica_pids("bulk")
    assert max(niceness(bulk)) == 19, "its codec's thread has the lowest priority"
    assert min(niceness(bulk)) < 19, "it answers all the same"
    assert max(value for pid in codec_pids() for value in niceness(pid)) < 19


def test_readiness_and_models(url: str) -> None:
    assert httpx.get(f"{url}/readyz", timeout=30).json()["status"] == "ready"
    reply = httpx.get(f"{url}/v1/models", timeout=30).json()
    assert [model["name"] for model in reply["models"]] == ["sic", "other"]


def test_a_request_has_one_identity(url: str) -> None:
    for headers in ({}, {"X-Request-Id": "build-1234.a"}):
        answer = httpx.get(f"{url}/nothing", headers=headers, timeout=30)
        (identity,) = answer.headers.get_list("x-request-id")
        assert answer.json()["instance"].endswith(identity)


def test_models_are_multiplexed(url: str) -> None:
    with httpx.Client(base_url=url, timeout=30) as http:
        blobs = [
            http.post(f"/v1/encode?model={name}", content=image_bytes()).content
            for name in ("sic", "other")
        ]
        identities = {unpack(blob).header.model_id for blob in blobs}
        assert len(identities) == 2
        for blob in blobs:
            assert http.post("/v1/decode", content=blob).status_code == 200


def test_errors_keep_their_words_across_processes(url: str) -> None:
    damaged = bytearray(httpx.post(f"{url}/v1/encode", content=image_bytes()).content)
    damaged[-30] ^= 1
    answer = httpx.post(f"{url}/v1/decode", content=bytes(damaged))
    reply = answer.json()
    assert (answer.status_code, reply["title"]) == (422, "Corrupt file")
    assert "Traceback" not in reply["detail"]
    assert "ray::" not in reply["detail"]


def test_one_bad_image_spoils_no_batch(url: str) -> None:
    good, bad = image_bytes("JPEG", width=300, height=300), None
    bad = good[:1000]
    with ThreadPoolExecutor(8) as pool:
        bodies = [good, bad, good, good, bad, good, good, good]
        answers = list(pool.map(lambda body: httpx.post(f"{url}/v1/encode", content=body), bodies))
    assert [answer.status_code for answer in answers] == [
        200 if body is good else 415 for body in bodies
    ]
    assert len({a.content for a in answers if a.status_code == 200}) == 1


def test_images_are_batched(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda seed: httpx.post(
                    f"{url}/v1/encode", content=image_bytes(seed=seed), timeout=30
                ),
                range(16),
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    text = httpx.get(f"{url}/metrics").text
    counts = {
        line.split('le="')[1].split('"')[0]: float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("deepsic_batch_pictures_bucket")
    }
    assert counts["+Inf"] > counts["1.0"], "never were two images encoded together"


def test_overload_is_refused_at_once_and_passes(url: str) -> None:
    body = image_bytes()
    # One client: making 128 of them takes longer than the service needs for 128 images.
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=url, timeout=60, limits=limits) as http:

        def send(_: int) -> tuple[int, float, str | None]:
            started = time.monotonic()
            answer = http.post("/v1/encode", content=body)
            return answer.status_code, time.monotonic() - started, answer.headers.get("retry-after")

        with ThreadPoolExecutor(128) as pool:
            answers = list(pool.map(send, range(256)))
        assert {status for status, _, _ in answers} == {200, 503}
        assert all(after == "2" for status, _, after in answers if status == 503)
        assert max(seconds for _, seconds, _ in answers) < 30
        assert send(0)[0] == 200


@contextmanager
def three_clients(load: Callable[[int, threading.Event], None]) -> Iterator[None]:
    """Run `load(number, stop)` in three threads for the length of the block."""
    stop = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(load, number, stop) for number in range(3)]
        try:
            yield
        finally:
            stop.set()
        for done in running:
            done.result()


def test_a_killed_replica_costs_no_answer(url: str) -> None:
    seen: list[int] = []

    def load(seed: int, stop: threading.Event) -> None:
        body = image_bytes(seed=seed)
        with httpx.Client(base_url=url, timeout=30) as http:
            wanted = http.post("/v1/encode", content=body).content
            while not stop.is_set():
                answer = http.post("/v1/encode", content=body)
                seen.append(answer.status_code)
                if answer.status_code == 200:
                    assert answer.content == wanted

    with three_clients(load):
        time.sleep(1.0)
        before = codec_pids()
        os.kill(before[0], signal.SIGKILL)
        time.sleep(4.0)
    assert len(seen) > 20
    assert set(seen) == {200}
    deadline = time.monotonic() + 40
    while len(set(codec_pids()) - {before[0]}) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(set(codec_pids()) - {before[0]}) == 2, "Serve didn't replace the replica"


def test_a_redeploy_under_load_fails_nothing(url: str) -> None:
    from dataclasses import replace

    seen: list[Any] = []

    def load(_: int, stop: threading.Event) -> None:
        with httpx.Client(base_url=url, timeout=30) as http:
            while not stop.is_set():
                answer = http.post("/v1/encode", content=image_bytes())
                seen.append(answer.status_code if answer.is_success else answer.text)

    with three_clients(load):
        time.sleep(0.5)
        deploy(replace(SETTINGS, retry_after_s=7))
        time.sleep(1.0)
    assert len(seen) > 20
    assert set(seen) == {200}
