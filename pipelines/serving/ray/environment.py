"""What Ray's own processes read from the environment, and what Serve's HTTP options are.

`pipelines/serve.py`, `pipelines/serve.yaml` and `cluster/environment.sh` use the same values; a
test holds them to that.
"""

from __future__ import annotations

from typing import Any

from pipelines.serving.settings import ServeSettings

__all__ = ["PROXY_SLACK_S", "RAY_ENVIRONMENT", "REPLICA_ENVIRONMENT", "http_options"]

#: Serve's own time limit comes after the application's, which answers with a reason.
PROXY_SLACK_S = 5

#: Read by replicas when they start, whoever starts them.
REPLICA_ENVIRONMENT = {
    # Bodies and answers pass between processes over gRPC, which stops at 4 MiB by default. The
    # application has bounded both before: this is the largest number that gRPC takes.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),
    # The throughput setting below keeps a thousand log lines back.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
}
#: Read by everything that Ray starts, so set before Ray.
RAY_ENVIRONMENT = {
    **REPLICA_ENVIRONMENT,
    # gRPC rather than the object store, and one event loop for the little Python around it.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # What Ray's own proxy says by itself becomes a problem document; HAProxy has `haproxy.sh`.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "pipelines.serving.ray.proxy:middlewares",
    # How long a stopping replica waits for load balancers to leave it; ours is told at once.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
    # A machine that is busy for a while isn't a dead one: by default the proxy has 5 s.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
    # A dead proxy is started again after three failed checks: 6 s, not 30.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    # Ray starts its workers at niceness 15; here somebody waits for them.
    "RAY_worker_niceness": "0",
}


def http_options(settings: ServeSettings, host: str, port: int) -> dict[str, Any]:
    """Serve's `http_options`."""
    return {
        "host": host,
        "port": port,
        "request_timeout_s": settings.request_timeout_s + PROXY_SLACK_S,
        "keep_alive_timeout_s": 30,
    }
