"""The Serve application: ingress processes in front of codec replicas.

`build` is what a Serve config names (`import_path: pipelines.serving.deploy:build`); its
`args` are the fields of `ServeSettings`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any, cast

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from pipelines.serving.app import create_app
from pipelines.serving.settings import ServeSettings, settings_from
from pipelines.serving.work.replica import CodecReplica, RayBackend
from pipelines.serving.work.worker import Loader, load_codec

__all__ = ["build", "build_application"]

INGRESS_ONGOING = 256
DRAIN_POLL_S = 0.5


@serve.ingress()
class Ingress:
    """Speaks HTTP; owns no codec."""

    def __init__(self, settings: ServeSettings, codec: DeploymentHandle[Any]) -> None:
        self.settings = settings
        self.codec = codec
        # On machines other than the one that built the application it doesn't exist yet.
        os.makedirs(os.environ["PROMETHEUS_MULTIPROC_DIR"], mode=0o700, exist_ok=True)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve asks for once the replica is up."""
        backend = RayBackend(self.settings, self.codec)
        return create_app(self.settings, backend, behind_serve=True)


def metrics_folder() -> str:
    """An empty folder that the ingress processes of a machine share their counters in."""
    return tempfile.mkdtemp(prefix="deepsic-metrics-")


def build_application(settings: ServeSettings, loader: Loader = load_codec) -> Application:
    """The application for `serve.run`; `loader` makes codecs, and tests bring their own."""
    threads = str(max(1, int(settings.cpus_per_replica)))
    codec = serve.deployment(
        CodecReplica,
        name="codec",
        ray_actor_options={
            "num_cpus": settings.cpus_per_replica,
            "num_gpus": settings.gpus_per_replica,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads}},
        },
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.max_batch,
            "upscale_delay_s": 5,
            "downscale_delay_s": 120,
        },
        # One batch in work and one collecting.
        max_ongoing_requests=2 * settings.max_batch,
        max_queued_requests=settings.max_queued,
        health_check_period_s=5,
        health_check_timeout_s=60,
        graceful_shutdown_timeout_s=settings.drain_s,
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
    )
    ingress = serve.deployment(
        Ingress,
        name="ingress",
        num_replicas=settings.ingress_replicas,
        ray_actor_options={
            "num_cpus": 0,
            "runtime_env": {"env_vars": {"PROMETHEUS_MULTIPROC_DIR": metrics_folder()}},
        },
        max_ongoing_requests=INGRESS_ONGOING,
        graceful_shutdown_timeout_s=settings.drain_s,
        graceful_shutdown_wait_loop_s=DRAIN_POLL_S,
    )
    # `serve.deployment` is typed as the decorator that it can be as well, which has no `bind`.
    bound: Application = cast(Any, ingress).bind(settings, cast(Any, codec).bind(settings, loader))
    return bound


def build(args: Mapping[str, Any]) -> Application:
    """The application of a Serve config; raises `UsageError` for an unknown setting."""
    return build_application(settings_from(args))
