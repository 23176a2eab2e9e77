"""The request log: one JSON line for each request, and one for each error at once.

    {"time": "2026-01-31T12:00:00.123Z", "level": "info", "event": "request", "id": "5f0c…",
     "method": "POST", "route": "/v1/encode", "status": 200, "bytes_in": 557382,
     "bytes_out": 41230, "ms": 71.4}

Each line is written as soon as it is known. Errors of the service have level "error" and, where
nobody foresaw them, a trace; what a client did wrong is a line of level "info" with its status.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

__all__ = ["JsonLines", "log", "log_to"]

#: The service's logger; `extra={"fields": {...}}` adds to the line.
log = logging.getLogger("deepsic.serve")


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            # Not `formatException`: it prints, and Ray's replicas have a `print` of their own.
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to(file: str | None) -> None:
    """Write this process's lines to `file` (appended to; a pipe will do), None: to stderr.

    Calling it again replaces what was set before.
    """
    handler: logging.StreamHandler[Any] = (
        # The process's own: Ray's replicas put another in its place, which adds to each line.
        logging.StreamHandler(sys.__stderr__) if file is None else logging.FileHandler(file, "a")
    )
    handler.setFormatter(JsonLines())
    for old in log.handlers[:]:
        log.removeHandler(old)
        old.close()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # Ray's own handlers would write it again, as text
