#!/bin/sh
# HAProxy as Ray Serve starts it (-db -f CONFIG ...), with what Ray's configuration has no option for.
# pipelines/serve.py names this file to Ray, and the real binary in DEEPSIC_HAPROXY; a test renders
# the configuration of the Ray that is installed, and has HAProxy check what comes out.
#   - statistics and metrics listen on this machine only, not on every interface
#   - a client has 20 s to send a request's line and headers, not for ever
#   - the replicas are told the client's address, so that clients share the service fairly
#   - what HAProxy says by itself is a problem document
set -eu
problem() { # NAME STATUS TITLE DETAIL
    body="{\"type\": \"urn:deepsic:problem:$1\", \"title\": \"$3\", \"status\": ${2%% *}, \"detail\": \"$4\", \"instance\": \"urn:deepsic:request:unknown\"}"
    printf 'HTTP/1.1 %s\r\nContent-Type: application/problem+json\r\nContent-Length: %s\r\nConnection: close\r\nRetry-After: 5\r\n\r\n%s' \
        "$2" "${#body}" "$body" > "$folder/deepsic-$1.http"
}
before=
for word; do
    if [ "$before" = -f ]; then
        folder=$(dirname "$word")
        problem bad-request "400 Bad Request" "Bad request" "this is no HTTP request"
        problem too-slow "408 Request Timeout" "Headers too slow" "send the request's headers within 20 s"
        problem unavailable "503 Service Unavailable" "Unavailable" "the service is starting or ending; try again"
        problem time-limit-exceeded "504 Gateway Timeout" "Time limit exceeded" "no answer in time; try a smaller image"
        sed -i -E \
            -e '/^(frontend prometheus|listen stats)/,/bind/ s/bind \*?:/bind 127.0.0.1:/' \
            -e '/^ *(timeout http-request|option forwardfor|errorfile)( |$)/d' \
            -e "/^defaults/a\\    timeout http-request 20s\\n    option forwardfor\\n    errorfile 400 $folder/deepsic-bad-request.http\\n    errorfile 408 $folder/deepsic-too-slow.http\\n    errorfile 502 $folder/deepsic-unavailable.http\\n    errorfile 503 $folder/deepsic-unavailable.http\\n    errorfile 504 $folder/deepsic-time-limit-exceeded.http" \
            -e '/^backend default_backend/,/http-request return/ s/^( *)http-request return .*/\1http-request deny deny_status 503/' \
            "$word"
    fi
    before=$word
done
exec "$DEEPSIC_HAPROXY" "$@"
