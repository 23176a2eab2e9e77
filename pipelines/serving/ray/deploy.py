"""The Serve application: ingress processes in front of codec replicas.

`build` is what a Serve config names (`import_path: pipelines.serving.ray.deploy:build`); its
`args` are the fields of `ServeSettings`.

    ingress ──┬── codec      images up to `bulk_pixels`
              ├── bulk       larger work, at the lowest priority: it takes the processor's idle time
              └── uploads    images that were sent once and are worked on several times
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from pipelines.serving.app import create_app
from pipelines.serving.http.log import log_to
from pipelines.serving.http.metrics import remove_folder_when_last
from pipelines.serving.ray.environment import REPLICA_ENVIRONMENT
from pipelines.serving.ray.replica import CodecReplica, RayBackend, UploadsReplica
from pipelines.serving.settings import ServeSettings, settings_from
from pipelines.serving.work.worker import Loader, load_codec

__all__ = ["build", "build_application"]

INGRESS_ONGOING = 256
DRAIN_POLL_S = 0.5
#: Ours has a line for each request; Serve's would say it again.
QUIET = {"enable_access_log": False}
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@serve.ingress()
class Ingress:
    """Speaks HTTP; owns no codec. Takes what Serve binds, which is what `RayBackend` calls."""

    def __init__(
        self,
        settings: ServeSettings,
        codec: DeploymentHandle[Any],
        bulk: DeploymentHandle[Any] | None,
        uploads: DeploymentHandle[Any],
    ) -> None:
        self.settings = settings
        self.backend = RayBackend(settings, codec, bulk, uploads)
        # On machines other than the one that built the application it doesn't exist yet.
        os.makedirs(os.environ[METRICS_FOLDER], mode=0o700, exist_ok=True)
        log_to(settings.log_file)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve asks for once the replica is up."""
        return create_app(self.settings, self.backend, behind_serve=True)

    def __del__(self) -> None:
        """Serve calls this when the replica has finished its requests."""
        remove_folder_when_last(Path(os.environ[METRICS_FOLDER]))


def replica_options(variables: Mapping[str, str], **resources: float) -> dict[str, Any]:
    """`ray_actor_options` of a deployment."""
    return {**resources, "runtime_env": {"env_vars": {**REPLICA_ENVIRONMENT, **variables}}}


def build_application(
    settings: ServeSettings, loader: Loader = load_codec, metrics_folder: Path | None = None
) -> Application:
    """The application for `serve.run`.

    Args:
        loader: makes codecs; tests bring their own.
        metrics_folder: what the ingress processes of a machine share their counters in; None: one
            in the temporary folder, which the last of them removes.
    """
    if metrics_folder is None:
        metrics_folder = Path(tempfile.gettempdir(), f"deepsic-metrics-{secrets.token_hex(8)}")
    threads = {"OMP_NUM_THREADS": str(max(1, int(settings.cpus_per_replica)))}
    ends: dict[str, Any] = {
        "graceful_shutdown_timeout_s": settings.drain_s,
        "graceful_shutdown_wait_loop_s": DRAIN_POLL_S,
        "logging_config": QUIET,
    }
    health: dict[str, Any] = {"health_check_period_s": 5, "health_check_timeout_s": 60}
    # `serve.deployment` is typed as the decorator that it can be as well, which has no `bind`.
    codec: Any = serve.deployment(
        CodecReplica,
        name="codec",
        ray_actor_options=replica_options(
            threads, num_cpus=settings.cpus_per_replica, num_gpus=settings.gpus_per_replica
        ),
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
        **health,
        **ends,
    )
    bulk: Any = serve.deployment(
        CodecReplica,
        name="bulk",
        num_replicas=max(1, settings.bulk_replicas),
        # It takes what the others leave, so it reserves nothing.
        ray_actor_options=replica_options(threads, num_cpus=0),
        max_ongoing_requests=2 * settings.max_batch,
        max_queued_requests=settings.max_queued,
        **health,
        **ends,
    )
    uploads: Any = serve.deployment(
        UploadsReplica,
        name="uploads",
        num_replicas=1,
        ray_actor_options=replica_options({}, num_cpus=0),
        max_ongoing_requests=INGRESS_ONGOING,
        **ends,
    )
    ingress: Any = serve.deployment(
        Ingress,
        name="ingress",
        num_replicas=settings.ingress_replicas,
        ray_actor_options=replica_options({METRICS_FOLDER: str(metrics_folder)}, num_cpus=0),
        max_ongoing_requests=INGRESS_ONGOING,
        **ends,
    )
    large = bulk.bind(settings, loader, True) if settings.bulk_replicas else None
    small = codec.bind(settings, loader)
    return cast(Application, ingress.bind(settings, small, large, uploads.bind(settings)))


def build(args: Mapping[str, Any]) -> Application:
    """The application of a Serve config; raises `UsageError` for an unknown setting."""
    settings = settings_from(args)
    settings = settings.check()
    return build_application(settings)
