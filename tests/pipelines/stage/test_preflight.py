"""What Ray needs is looked at first: a sentence within seconds in place of minutes of silence."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepsic.errors import StorageError, UsageError
from pipelines.stage import preflight
from pipelines.stage.preflight import check_cluster, check_machine

ROOT = Path(__file__).parents[3]
#: A command that needs Ray, from its start to its end.
COMMAND = """
import sys, time
from pipelines.stage.exits import exit_codes
from pipelines.stage.preflight import check_resources
from pipelines.stage.runtime import RuntimeOptions, ray_runtime
import typer

@exit_codes
def work(gpus: float) -> None:
    with ray_runtime(RuntimeOptions(data=False, num_cpus=1, object_store_mb=100)):
        check_resources(gpus=gpus)
        print("up", flush=True)
        time.sleep(60)

try:
    work(float(sys.argv[1]))
except typer.Exit as end:
    sys.exit(end.exit_code)
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def short_folder() -> Iterator[str]:
    """A folder whose path leaves room for Ray's sockets, of 107 letters at most."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield folder


def command(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start the command; its environment is this one's and `variables`."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        env=os.environ | {"RAY_ADDRESS": "", "PYTHONPATH": str(ROOT)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_dead_cluster_is_named(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "ANSWER_SECONDS", 0.5)
    for address in ("127.0.0.1:9", silent, f"ray://{silent}"):
        with pytest.raises(UsageError, match=r"no Ray cluster answers at .*unset it"):
            check_cluster(address)
    for wrong in ("nonsense", "host:", ":"):
        with pytest.raises(UsageError, match="is not host:port"):
            check_cluster(wrong)


def test_a_command_with_a_dead_cluster_ends_within_seconds(silent: str) -> None:
    began = time.monotonic()
    with command("0", RAY_ADDRESS=silent) as started:
        _, said = started.communicate(timeout=60)
    assert started.returncode == UsageError.exit_code
    assert said.startswith("error: no Ray cluster answers at")
    assert len(said.splitlines()) == 1
    assert time.monotonic() - began < 40  # ten of waiting; the rest is imports on a busy machine


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "HOME"])
def test_a_folder_that_cannot_be_written_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv(name, "/proc/nowhere")
    with pytest.raises(StorageError, match=f"/proc/nowhere.*; .*set {name}"):
        check_machine()


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(preflight, "MIN_FREE_MB", 10**12)
    with pytest.raises(StorageError, match=r"MB free and Ray needs .*RAY_TMPDIR"):
        check_machine()


@pytest.mark.slow  # starts Ray twice
def test_missing_resources_and_sigterm(short_folder: str) -> None:
    with command("99", RAY_TMPDIR=short_folder) as started:
        _, said = started.communicate(timeout=120)
    assert started.returncode == UsageError.exit_code
    assert "a worker takes 99 GPUs and this machine has" in said
    assert "give --device cpu" in said
    with command("0", RAY_TMPDIR=short_folder) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "up\n"
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 130
        assert started.stderr is not None
        assert "interrupted; the same command resumes" in started.stderr.read()
