#!/bin/sh
# HAProxy as Ray Serve starts it (-db -f CONFIG ...), with two things that Ray's configuration has no
# option for: its statistics and metrics listen on this machine only, not on every interface, and a
# client has 20 s to send a request's line and headers, not for ever.
# pipelines/serve.py names this file to Ray, and the real binary in DEEPSIC_HAPROXY.
set -eu
before=
for word; do
    if [ "$before" = -f ]; then
        sed -i -E \
            -e '/^(frontend prometheus|listen stats)/,/bind/ s/bind \*?:/bind 127.0.0.1:/' \
            -e '/^ *timeout http-request/d' \
            -e '/^defaults/a\    timeout http-request 20s' "$word"
    fi
    before=$word
done
exec "$DEEPSIC_HAPROXY" "$@"
