"""Where and when a published number was measured."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from deepsic.evaluation.provenance import command_line

__all__ = ["clean_up_when_terminated", "describe_run"]


def clean_up_when_terminated() -> None:
    """Let SIGTERM (of `timeout`, say) unwind the stack: clusters and servers are stopped on it."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def describe_run() -> dict[str, Any]:
    """Command, commit, machine and date, for the head of a results file."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    return {
        "command": f"python benchmarks/{command_line()}",
        "commit": commit or "unknown",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": psutil.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "load_before": psutil.getloadavg()[0],
            "python": platform.python_version(),
        },
    }
