#!/usr/bin/env bash
# Run a stage as a Ray job on the head and follow it; it goes on when the connection breaks:
#   ray exec cluster.yaml 'bash ~/deepsic/cluster/run.sh python pipelines/train.py sic --device cuda ...'
# Options of `ray job submit` come first, as in run.sh --no-wait -- python ...; the exit code is 0
# for a job that succeeded, else 1: its log has the stage's own.
set -euo pipefail
# shellcheck source=cluster/environment.sh
. "$(dirname "$0")/environment.sh" head
cd "$home"
options=()
while [ "${1#--}" != "$1" ]; do
    if [ "$1" = -- ]; then shift; break; fi
    options+=("$1"); shift
done
# The job's shell starts in a folder of Ray's. It inherits what says that ssh began it all, so bash
# reads ~/.bashrc, which may put another Python first: the environment comes after that.
command=$(printf '%q ' "$@")
exec ray job submit --address http://127.0.0.1:8265 ${options[@]+"${options[@]}"} \
    -- bash -c "cd $(printf '%q' "$home") && . cluster/environment.sh head && exec $command"
