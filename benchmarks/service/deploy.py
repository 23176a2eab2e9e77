"""A rolling redeploy as an operator does it: `serve deploy` of the config onto a cluster, twice.

    python benchmarks/service/deploy.py PICTURE.png

Starts a Ray head node on free ports, deploys `pipelines/serve.yaml` to it (on a free port for HTTP,
else as it is), sends requests without pause, deploys it again with another setting, and goes on
until every replica, of codec and ingress, is a new process. Every 200 answer is compared with
what the codec gives in this process.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import options
from benchmarks.service.experiments import redeploy
from benchmarks.service.kit import ROOT, RunningService, report, stop, wait_ready
from benchmarks.service.truth import Truth
from tests.support.ports import free_port

CONFIG = ROOT / "pipelines" / "serve.yaml"
RAY, SERVE = (str(Path(sys.executable).with_name(name)) for name in ("ray", "serve"))
START_S = 300


class Cluster:
    """A head node of our own, and the service on it."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self.folder = folder
        self.port, self.dashboard = free_port(), free_port()
        # Ray's token authentication is on, as in production; the token is this cluster's own.
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "PYTHONPATH": str(ROOT),
            "RAY_DASHBOARD_ADDRESS": f"http://127.0.0.1:{self.dashboard}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        }
        self.log = folder / "ray.log"
        options = {
            "port": free_port(),
            "dashboard-port": self.dashboard,
            "dashboard-agent-listen-port": free_port(),
            "ray-client-server-port": free_port(),
            "num-cpus": cpus,
            "object-store-memory": 300_000_000,
            "temp-dir": folder / "ray",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [RAY, "start", "--head", "--block", *words],
                env=self.environment,
                stdout=out,
                stderr=out,
            )
        self.service = RunningService(url=f"http://127.0.0.1:{self.port}", process=self.process)

    def deploy(self, **arguments: Any) -> None:
        """`serve deploy` of the project's config; `arguments` replace settings in it."""
        config = yaml.safe_load(CONFIG.read_text())
        config["http_options"].update(host="127.0.0.1", port=self.port)
        config["applications"][0]["args"].update(arguments)
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump(config))
        subprocess.run(
            [SERVE, "deploy", str(file)], env=self.environment, check=True, timeout=START_S
        )


@contextmanager
def cluster(cpus: int) -> Iterator[Cluster]:
    """A cluster with the service deployed on it; stopped by its own process."""
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="sd-", ignore_cleanup_errors=True) as name:
        made = Cluster(Path(name), cpus)
        try:
            deadline = time.monotonic() + START_S
            while True:  # the dashboard takes a while
                try:
                    made.deploy()
                    break
                except subprocess.CalledProcessError:
                    if made.process.poll() is not None or time.monotonic() > deadline:
                        raise
            wait_ready(made.service, made.log)
            yield made
        finally:
            stop(made.process)


def main(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    seconds: Annotated[
        float, typer.Option(metavar="S", help="Load after the last old replica has left.")
    ] = 20,
    cpus: Annotated[int, typer.Option(metavar="N", help="Of the cluster.")] = 2,
    out: options.Out = None,
) -> None:
    """Deploy twice, print what became of the requests."""
    truth = Truth(image.read_bytes())
    with cluster(cpus) as made:
        run = redeploy(made.service, truth, seconds, lambda: made.deploy(retry_after_s=3))
        report({"serve_deploy": asyncio.run(run)}, out)


if __name__ == "__main__":
    options.run(main)
