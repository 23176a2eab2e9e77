#!/usr/bin/env bash
# Python 3.11 and what cluster/requirements.lock names, in ~/deepsic/.venv, unless that was done from
# the same lock file. The lock holds GPU builds of torch; they run on CPUs as well.
set -euo pipefail
home=$(cd "$(dirname "$0")/.." && pwd)
lock="$home/cluster/requirements.lock"
wanted=$(sha256sum "$lock" | cut -d' ' -f1)

# `ray down` and `ray attach` call plain `ray` from a login shell, which reads one of these.
profile=~/.profile
for other in ~/.bash_login ~/.bash_profile; do [ ! -f "$other" ] || profile=$other; done
line="PATH=\"$home/.venv/bin:\$PATH\""
grep -qsF "$line" "$profile" || echo "$line" >> "$profile"

if [ "$(cat "$home/.venv/locked" 2>/dev/null)" != "$wanted" ]; then
    export PATH="$HOME/.local/bin:$PATH" UV_LINK_MODE=copy
    command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/0.13.9/install.sh | sh
    uv venv --quiet --clear --python 3.11 "$home/.venv"
    # Hashes: a package that isn't the one that was locked is refused.
    uv pip install --quiet --python "$home/.venv/bin/python" --require-hashes -r "$lock"
    echo "$wanted" > "$home/.venv/locked"
fi

# The codec's loops are compiled now, not while the first job runs.
cd "$home"
.venv/bin/python -m deepsic.compile_kernels
