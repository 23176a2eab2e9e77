#!/bin/sh
# HAProxy as Ray Serve starts it (-db -f CONFIG ...), but with its statistics and metrics on this
# machine only: Ray's configuration opens them on every interface and has no option for that.
# pipelines/serve.py names this file to Ray, and the real binary in DEEPSIC_HAPROXY.
set -eu
before=
for word; do
    if [ "$before" = -f ]; then
        sed -i -E '/^(frontend prometheus|listen stats)/,/bind/ s/bind \*?:/bind 127.0.0.1:/' "$word"
    fi
    before=$word
done
exec "$DEEPSIC_HAPROXY" "$@"
