#!/usr/bin/env bash
# Start Ray on a node of the cluster:  start.sh head  |  start.sh worker HEAD_IP
# ~/.deepsic.env may set DEEPSIC_NODE_CPUS and DEEPSIC_NODE_OBJECT_STORE_MB, where not the whole
# machine is Ray's.
set -euo pipefail
role=$1
# shellcheck source=cluster/environment.sh
. "$(dirname "$0")/environment.sh" "${2:-head}"

# Every image in work has open files and sockets.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
options=(--node-ip-address="$own_ip" --object-manager-port=8076)
[ -z "${DEEPSIC_NODE_CPUS:-}" ] || options+=(--num-cpus="$DEEPSIC_NODE_CPUS")
[ -z "${DEEPSIC_NODE_OBJECT_STORE_MB:-}" ] ||
    options+=(--object-store-memory="${DEEPSIC_NODE_OBJECT_STORE_MB}000000")

# Ray ends a start after 30 s, which no setting changes; a machine that is busy has another try.
start_ray() {
    for try in 1 2 3; do
        ray stop >/dev/null
        ray start "$@" "${options[@]}" && return
        echo "start.sh: Ray didn't start, try $try" >&2
    done
    return 1
}

if [ "$role" = worker ]; then
    start_ray --address="$head_ip:6379"
    exit
fi

if ! curl -fsS -o /dev/null "$MLFLOW_TRACKING_URI/health" 2>/dev/null; then
    mkdir -p ~/mlflow
    artifacts=$HOME/mlflow/artifacts
    [ -z "${DEEPSIC_BUCKET:-}" ] || artifacts=s3://$DEEPSIC_BUCKET/mlflow
    # One process is plenty, and the job executor is for what MLflow runs itself.
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false setsid nohup mlflow server --workers 1 \
        --host 0.0.0.0 --port 5000 --backend-store-uri "sqlite:///$HOME/mlflow/mlflow.db" \
        --artifacts-destination "$artifacts" > ~/mlflow/server.log 2>&1 < /dev/null &
fi
start_ray --head --port=6379 --dashboard-host=127.0.0.1 \
    --autoscaling-config="$HOME/ray_bootstrap_config.yaml"
