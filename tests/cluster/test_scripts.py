"""The nodes' scripts with stand-ins for ray, mlflow and the network: what would be run, and how."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .test_files import ROOT

ROUTE = "192.0.2.1 via 10.0.0.1 dev ens5 src 10.0.0.7 uid 0 \\\\    cache"


class Node:
    """A machine with a checkout: its commands write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.checkout = folder / "deep sic"  # with a space, as careless people have them
        shutil.copytree(ROOT / "cluster", self.checkout / "cluster")
        self.calls = folder / "calls"
        binaries = self.checkout / ".venv" / "bin"
        binaries.mkdir(parents=True)
        for name in ("ray", "mlflow", "uv", "python"):
            self._command(binaries / name, f'echo "{name} $*" >> {self.calls}')
        self._command(binaries / "ip", f"echo '{ROUTE}'")
        self._command(binaries / "curl", "exit 7")  # MLflow doesn't answer yet
        self._command(binaries / "setsid", 'exec "$@"')

    def _command(self, path: Path, body: str) -> None:
        path.write_text(f"#!/bin/bash\n{body}\n", "utf-8")
        path.chmod(0o755)

    def run(self, script: str, *arguments: str, **variables: str) -> str:
        """Run a script of cluster/ to its end; what its commands wrote down."""
        self.calls.write_text("", "utf-8")
        path = f"{self.checkout}/.venv/bin:{os.environ['PATH']}"
        subprocess.run(
            ["bash", self.checkout / "cluster" / script, *arguments],
            env={"HOME": str(self.home), "PATH": path, **variables},
            check=True,
            timeout=30,
        )
        return self.calls.read_text("utf-8")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_head_starts_ray_and_mlflow(node: Node) -> None:
    (node.home / ".deepsic.env").write_text("DEEPSIC_BUCKET=b\nDEEPSIC_NODE_CPUS=0\n", "ascii")
    calls = node.run("start.sh", "head")
    assert "ray stop" in calls
    assert "ray start --head --port=6379 --dashboard-host=127.0.0.1" in calls
    assert "--node-ip-address=10.0.0.7" in calls
    assert "--num-cpus=0" in calls
    assert f"--autoscaling-config={node.home}/ray_bootstrap_config.yaml" in calls
    served = (node.home / "mlflow" / "server.log").exists()
    assert served


def test_a_worker_joins_the_head(node: Node) -> None:
    calls = node.run("start.sh", "worker", "10.0.0.1")
    assert "ray start --address=10.0.0.1:6379 --node-ip-address=10.0.0.7" in calls
    assert "--num-cpus" not in calls
    assert "mlflow" not in calls


def test_a_start_that_fails_is_tried_again(node: Node) -> None:
    """A busy machine takes longer than Ray waits."""
    failing = f'echo "ray $*" >> {node.calls}; [ "$1" = stop ] || [ -f ~/second ]'
    node._command(
        node.checkout / ".venv" / "bin" / "ray", f"{failing} || {{ touch ~/second; false; }}"
    )
    calls = node.run("start.sh", "worker", "10.0.0.1").splitlines()
    assert [call.split()[1] for call in calls] == ["stop", "start", "stop", "start"]


@pytest.mark.parametrize(
    ("role", "uri"), [("head", "http://10.0.0.7:5000"), ("10.0.0.1", "http://10.0.0.1:5000")]
)
def test_all_nodes_know_mlflow_and_the_network_card(node: Node, role: str, uri: str) -> None:
    line = f'. "{node.checkout}/cluster/environment.sh" {role}; echo $MLFLOW_TRACKING_URI ' \
        "$GLOO_SOCKET_IFNAME $NCCL_SOCKET_IFNAME $RAY_AUTH_MODE"  # fmt: skip
    path = f"{node.checkout}/.venv/bin:{os.environ['PATH']}"
    printed = subprocess.run(
        ["bash", "-euc", line],
        env={"HOME": str(node.home), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == [uri, "ens5", "ens5", "token"]


def test_a_stage_is_submitted_with_its_arguments_whole(node: Node) -> None:
    recorded = node.checkout / ".venv" / "bin" / "ray"
    node._command(recorded, f'printf "%s\\n" "$@" > {node.calls}; shift 4; shift; "$@"')
    seen = node.home / "seen"
    printer = f"import sys, os; open({str(seen)!r}, 'w').write(repr((sys.argv[1:], os.getcwd())))"
    node.run("run.sh", "python3", "-c", printer, "a b", "it's", "$HOME", "*")
    expected = (["a b", "it's", "$HOME", "*"], str(node.checkout))
    assert seen.read_text("utf-8") == repr(expected)


def test_a_job_runs_our_python_whatever_bashrc_says(node: Node) -> None:
    """Bash reads ~/.bashrc where ssh began it all, and Ray's jobs inherit that."""
    binaries, seen = node.checkout / ".venv" / "bin", node.home / "seen"
    node._command(binaries / "ray", 'shift 4; shift; SHLVL=0 SSH_CLIENT="192.0.2.7 1 22" "$@"')
    node._command(binaries / "python", f"echo ours > {seen}")
    other = node.home / "pyenv"
    other.mkdir()
    node._command(other / "python", f"echo theirs > {seen}")
    (node.home / ".bashrc").write_text(f"PATH={other}:$PATH\n", "ascii")
    node.run("run.sh", "python", "a.py")
    assert seen.read_text("ascii") == "ours\n"


def test_options_of_ray_come_first(node: Node) -> None:
    calls = node.run("run.sh", "--no-wait", "--submission-id=x", "--", "python", "a.py", "--gpu")
    assert calls.startswith("ray job submit --address http://127.0.0.1:8265 --no-wait ")
    assert "--submission-id=x -- bash -c cd" in calls
    assert calls.rstrip().endswith("exec python a.py --gpu")


def test_a_login_shell_finds_ray(node: Node) -> None:
    node.run("setup.sh")
    node.run("setup.sh")
    assert (node.home / ".profile").read_text("utf-8").count(".venv/bin") == 1
    printed = subprocess.run(
        ["bash", "--login", "-c", "command -v ray"],
        env={"HOME": str(node.home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == f"{node.checkout}/.venv/bin/ray"


def test_setup_installs_nothing_for_a_lock_file_that_is_installed(node: Node) -> None:
    lock = (node.checkout / "cluster" / "requirements.lock").read_bytes()
    stamp = node.checkout / ".venv" / "locked"
    stamp.write_text(hashlib.sha256(lock).hexdigest() + "\n", "ascii")
    assert node.run("setup.sh") == "python -m deepsic.compile_kernels\n"
    stamp.write_text("of another lock file\n", "ascii")
    calls = node.run("setup.sh")
    assert "uv venv" in calls
    assert "--require-hashes" in calls
    assert calls.endswith("python -m deepsic.compile_kernels\n")
    assert stamp.read_text("ascii").strip() == hashlib.sha256(lock).hexdigest()
