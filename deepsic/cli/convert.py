"""Files into other files, one after another: what encoding and decoding share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deepsic.cli.files import STREAM, Conversion, Target
from deepsic.cli.report import Results, Row

__all__ = ["convert"]


def convert(
    jobs: Sequence[Conversion],
    target: Target,
    make: Callable[[Conversion], Row],
    line: Callable[[Row], str],
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Write each job's file by `make` unless it is up to date; print what `line` says of it."""
    to_stdout = any(job.target == STREAM for job in jobs)  # then a report has no room there
    with Results(len(jobs), json=json, silent=quiet or to_stdout) as out:
        for job in jobs:
            with out.item(str(job.source)) as item:
                if target.up_to_date(job):
                    item.done({"target": str(job.target), "up_to_date": True}, _skipped_line)
                else:
                    item.done(make(job), line)


def _skipped_line(row: Row) -> str:
    return f"{row['source']} -> {row['target']}  up to date"
