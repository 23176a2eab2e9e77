"""Prometheus metrics of the HTTP side.

Ray Serve runs several ingress processes behind one port, so a scrape reaches only one of them.
With PROMETHEUS_MULTIPROC_DIR set (`deploy.build` sets it) the client library keeps the values of
all processes of a machine in shared files, and every process can answer for all of them. Codec
replicas, queues and autoscaling are in Ray's own metrics (its metrics port, one for each node).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE_LATEST", "Metrics", "remove_folder_when_last"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCH = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counters and histograms of one application; a registry of its own, so tests can make many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "deepsic_http_requests",
            "Requests answered; status 499: the client left",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "deepsic_http_request_seconds",
            "Time from the first byte of a request to the last of its answer",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.pixels = Counter(
            "deepsic_pixels", "Pixels encoded or decoded", ("verb",), registry=self.registry
        )
        self.bytes = Counter(
            "deepsic_sic_bytes", "Bytes of .sic files, made or read", ("verb",),
            registry=self.registry,
        )  # fmt: skip
        self.codec_seconds = Histogram(
            "deepsic_codec_seconds",
            "Time in the codec, for each call",
            ("verb",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "deepsic_batch_pictures",
            "Images that a codec replica took together",
            buckets=BATCH,
            registry=self.registry,
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def work(self, verb: str, *, pixels: int, sic_bytes: int, seconds: float) -> None:
        """Count one image that went through the codec."""
        self.pixels.labels(verb).inc(pixels)
        self.bytes.labels(verb).inc(sic_bytes)
        self.codec_seconds.labels(verb).observe(seconds)

    def text(self) -> bytes:
        """The exposition in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)


def remove_folder_when_last(folder: Path) -> None:
    """Remove the shared folder, unless another living process counts in it.

    The client library names its files KIND_PID.db.
    """
    writers = {int(file.stem.rpartition("_")[2]) for file in folder.glob("*_*.db")}
    if not any(pid != os.getpid() and psutil.pid_exists(pid) for pid in writers):
        shutil.rmtree(folder, ignore_errors=True)
