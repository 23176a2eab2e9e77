"""An HTTP proxy before an S3 server that misbehaves on purpose, as often as it is told.

proxy = FaultProxy("http://127.0.0.1:5000", rates={"slow_down": 0.05, "truncated": 0.02})
with proxy:
    ...                      # AWS_ENDPOINT_URL=proxy.url
    proxy.cut(3.0)           # the network is gone for three seconds
print(proxy.counts)          # how often each fault happened
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["FAULTS", "FaultProxy"]

FAULTS = {
    "slow_down": "503 SlowDown, request not done",
    "internal_error": "500 InternalError, request not done",
    "late_error": "request done, then answered with 500",
    "truncated": "body of an answer breaks off half-way",
    "dropped": "connection closed before the request is done",
    "late_drop": "request done, connection closed without an answer",
}
Answer = tuple[int, str, Mapping[str, str]]
"""HTTP status, S3's error code, more headers."""
_HOP = {"connection", "transfer-encoding", "keep-alive", "server", "date"}


class FaultProxy:
    """Forwards to `upstream`, each request suffering each fault with the probability given."""

    def __init__(self, upstream: str, rates: Mapping[str, float], seed: int = 1) -> None:
        unknown = set(rates) - set(FAULTS)
        if unknown:
            raise ValueError(f"no such faults: {sorted(unknown)}")
        self.upstream = urlsplit(upstream)
        self.rates = dict(rates)
        self.counts: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._cut_until = 0.0
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def cut(self, seconds: float) -> None:
        """Cut the network: for `seconds` every request, also those under way, is dropped."""
        with self._lock:
            self._cut_until = time.monotonic() + seconds
            self.counts["cut"] += 1

    def choose(self) -> str:
        """The fault that the next request suffers; empty for none."""
        with self._lock:
            if time.monotonic() < self._cut_until:
                self.counts["dropped while cut"] += 1
                return "dropped"
            roll = self._dice.random()
            for name, rate in self.rates.items():
                if roll < rate:
                    return name
                roll -= rate
            return ""

    def count(self, name: str) -> None:
        """Count a fault that really happened."""
        with self._lock:
            self.counts[name] += 1

    def answer(self, command: str, path: str, headers: Mapping[str, str]) -> Answer | None:
        """For subclasses: what to answer without asking the server; None to ask it."""
        return None

    def rewrite(self, path: str) -> str:
        """For subclasses: the path that the server is asked for."""
        return path

    def headers(
        self, command: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        """For subclasses: the headers with which the server is asked for a `rewrite`d path."""
        return headers

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS with clients. Call it before the block."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http://", "https://")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are this server's trade: say nothing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = self.proxy.answer(self.command, self.path, dict(self.headers.items()))
        if given is not None:
            self._give(*given)
            return
        fault = self.proxy.choose()
        if fault == "slow_down":
            self._fail(503, "SlowDown")
        elif fault == "internal_error":
            self._fail(500, "InternalError")
        elif fault == "dropped":
            self._drop("dropped")
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _forward(self, body: bytes, fault: str) -> None:
        up = self.proxy.upstream
        connection = http.client.HTTPConnection(up.hostname or "127.0.0.1", up.port, timeout=60)
        with contextlib.closing(connection):
            path = self.proxy.rewrite(self.path)
            headers = dict(self.headers.items())
            if path != self.path:
                headers = dict(self.proxy.headers(self.command, path, headers, body))
            connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        if fault == "late_error":
            self._fail(500, "InternalError", counted_as="late_error")
        elif fault == "late_drop":
            self._drop("late_drop")
        else:
            self._answer(answer, data, cut=fault == "truncated" and len(data) > 1)

    def _answer(self, answer: http.client.HTTPResponse, data: bytes, *, cut: bool) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if cut:
            self.wfile.write(data[: len(data) // 2])
            self._drop("truncated")
        elif self.command != "HEAD":
            self.wfile.write(data)

    def _fail(self, status: int, code: str, counted_as: str | None = None) -> None:
        self.proxy.count(counted_as or {503: "slow_down"}.get(status, "internal_error"))
        self._give(status, code, {})

    def _give(self, status: int, code: str, headers: Mapping[str, str]) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
        data = b"" if self.command == "HEAD" else body.encode()
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _drop(self, name: str) -> None:
        self.proxy.count(name)
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""
