#!/usr/bin/env bash
# Start Ray on a node of the cluster:  start.sh head  |  start.sh worker HEAD_IP
# ~/.deepsic.env (cluster.yaml writes it) may also set DEEPSIC_NODE_CPUS and
# DEEPSIC_NODE_OBJECT_STORE_MB, where not the whole machine is Ray's.
set -euo pipefail
role=$1
home=$(cd "$(dirname "$0")/.." && pwd)
set -a
# shellcheck source=/dev/null
[ -f ~/.deepsic.env ] && . ~/.deepsic.env
PATH="$home/.venv/bin:$PATH"
PYTHONPATH="$home"
RAY_AUTH_MODE=token
RAY_USAGE_STATS_ENABLED=0
# As pipelines/runtime.py: workers no nicer than their node, patience on a loaded machine.
RAY_worker_niceness=0
RAY_raylet_start_wait_time_s=180
RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0
# Ray Serve's proxy has 5 s to start by default, and its health 10 s.
RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=60
RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S=30

# The address and network card that lead out of this machine: torch would else take loopback.
read -r GLOO_SOCKET_IFNAME own_ip < <(
    ip -o route get 192.0.2.1 | sed -E 's/.* dev ([^ ]+).* src ([^ ]+).*/\1 \2/'
)
NCCL_SOCKET_IFNAME=$GLOO_SOCKET_IFNAME
if [ "$role" = head ]; then head_ip=$own_ip; else head_ip=$2; fi
: "${MLFLOW_TRACKING_URI:=http://$head_ip:5000}"
MLFLOW_DISABLE_TELEMETRY=true
set +a

# Every picture in work has open files and sockets.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
ray stop >/dev/null
options=(--node-ip-address="$own_ip" --object-manager-port=8076)
[ -z "${DEEPSIC_NODE_CPUS:-}" ] || options+=(--num-cpus="$DEEPSIC_NODE_CPUS")
[ -z "${DEEPSIC_NODE_OBJECT_STORE_MB:-}" ] ||
    options+=(--object-store-memory="${DEEPSIC_NODE_OBJECT_STORE_MB}000000")

if [ "$role" = worker ]; then
    exec ray start --address="$head_ip:6379" "${options[@]}"
fi

if ! curl -fsS -o /dev/null "$MLFLOW_TRACKING_URI/health" 2>/dev/null; then
    mkdir -p ~/mlflow
    artifacts=$HOME/mlflow/artifacts
    [ -z "${DEEPSIC_BUCKET:-}" ] || artifacts=s3://$DEEPSIC_BUCKET/mlflow
    # One process is plenty, and the job executor is for what MLflow runs itself.
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false setsid nohup mlflow server --workers 1 \
        --host "$own_ip" --port 5000 --backend-store-uri "sqlite:///$HOME/mlflow/mlflow.db" \
        --artifacts-destination "$artifacts" > ~/mlflow/server.log 2>&1 < /dev/null &
fi
exec ray start --head --port=6379 --dashboard-host=127.0.0.1 "${options[@]}" \
    --autoscaling-config="$HOME/ray_bootstrap_config.yaml"
