"""A run's numbers as a file for Prometheus' textfile collector."""

from __future__ import annotations

from pipelines.archive.listing.spool import Spool
from pipelines.archive.tally import STATUSES, Tally

__all__ = ["write_metrics"]


def write_metrics(path: str | None, done: Tally, spool: Spool) -> None:
    """Write `path`, whole or not at all; None: nothing.

    Raises: `OSError` where it can't be written.
    """
    if path is None:
        return
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()
    objects = Gauge(
        "deepsic_archive_objects", "Objects of this run.", ["status"], registry=registry
    )
    for status in STATUSES:
        objects.labels(status).set(getattr(done, status))
    values = {
        "deepsic_archive_source_bytes": ("Bytes of the sources that are ok.", done.bytes_in),
        "deepsic_archive_output_bytes": ("Bytes of their outputs.", done.bytes_out),
        "deepsic_archive_left_objects": (
            "Objects left, of those listed.",
            spool.objects - done.objects,
        ),
        "deepsic_archive_left_bytes": (
            "Bytes left, of those listed.",
            spool.size - done.bytes_seen,
        ),
        "deepsic_archive_listed": (
            "1 when the source is listed to its end.",
            float(spool.complete),
        ),
    }
    for name, (what, value) in values.items():
        Gauge(name, what, registry=registry).set(value)
    write_to_textfile(path, registry)
