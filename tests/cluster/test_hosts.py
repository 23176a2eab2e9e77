"""Three hosts for real: `ray up` over ssh, stages on S3, `ray down`. Some minutes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import HOSTS, Hosts, missing

from .test_files import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    pytest.mark.skipif(
        sys.prefix.startswith("/tmp"),
        reason="hosts have a /tmp of their own; put the venv elsewhere",
    ),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(f"/var/tmp/deepsic-test-{os.getpid()}")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_hosts_are_apart_and_come_back(folder: Path) -> None:
    with Hosts(folder, venv=Path(sys.prefix)) as hosts:
        printed = {
            name: hosts.run(name, "hostname; touch /tmp/mine; ls /tmp").stdout for name in HOSTS
        }
        assert printed == {name: f"{name}\nmine\n" for name in HOSTS}
        hosts.run("w1", "touch ~/kept && sync")
        hosts.kill("w1")
        assert hosts.run("w1", "true").returncode == 255
        hosts.start("w1")
        assert hosts.run("w1", "ls ~/kept /tmp").stdout.count("kept") == 1
        assert not (Path.home() / "kept").exists()


def test_ray_up_stages_ray_down(folder: Path) -> None:
    results = folder / "stages.json"
    folder.mkdir()
    command = [sys.executable, str(ROOT / "benchmarks" / "cluster" / "stages.py")]
    options = [
        "--folder",
        str(folder),
        "--out",
        str(results),
        "--only",
        "preprocess",
        "--only",
        "archive",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    printed = {row["stage"]: row["outcome"] for row in json.loads(results.read_text())["results"]}
    assert printed["ray up"] == "3 nodes"
    # 300 images, ledger and job beside them.
    assert 300 < int(printed["archive"].split()[0]) < 330
