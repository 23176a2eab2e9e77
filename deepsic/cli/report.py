"""What a command tells: a line or JSON object an item, progress on a terminal, one exit code."""

from __future__ import annotations

import argparse
import json as json_module
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deepsic.cli.progress import new_bar
from deepsic.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    DeepsicError,
    MetadataWarning,
    PartialFailureError,
    StorageError,
    counted,
)

__all__ = ["ItemResult", "Results", "run_verb"]

Row = dict[str, Any]


class ItemResult:
    """The results on one source."""

    def __init__(self, results: Results, source: str) -> None:
        self._results = results
        self._source = source

    def done(self, row: Row, text: Callable[[Row], str]) -> None:
        """Print the result: `row` as it is with --json, otherwise what `text` makes of it."""
        row = {"source": self._source, **row}
        self._results.show(row, text)


class Results:
    """Collects results and failures of a command's items; use as a context manager.

    A failing item is printed on standard error and the others go on. At the end, failure of the
    only item is raised again, with its own exit code; of some among many as
    `PartialFailureError`.

    Args:
        count: how many items will come.
        json: one JSON object a line instead of text.
        silent: standard output carries data; show results nowhere.
    """

    def __init__(self, count: int, *, json: bool, silent: bool = False) -> None:
        self._count = count
        self._json = json
        self._silent = silent
        self._failures: list[DeepsicError] = []
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Results:
        if self._count > 1 and sys.stderr.isatty():
            self._progress = new_bar(sys.stderr, transient=True)
            self._task = self._progress.add_task("", total=self._count, notes="")
            self._progress.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        if error is not None or not self._failures:
            return
        if self._count == 1:
            raise _Printed(self._failures[0])
        of = f"{len(self._failures)} of {counted(self._count, 'item')}"
        raise _Printed(PartialFailureError(f"{of} failed"))

    @contextmanager
    def item(self, source: str) -> Iterator[ItemResult]:
        """Run one item's work; an error of ours is printed and kept, the next item goes on."""
        if self._progress is not None:
            self._progress.update(self._task, description=os.path.basename(source))
        try:
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always", MetadataWarning)
                yield ItemResult(self, source)
            for note in notes:
                if issubclass(note.category, MetadataWarning):
                    _complain(f"{source}: {note.message}")
        except DeepsicError as error:
            self._failures.append(error)
            self._print_failure(source, error)
        if self._progress is not None:
            self._progress.advance(self._task)

    def show(self, row: Row, text: Callable[[Row], str]) -> None:
        """Print one result."""
        if not self._silent:
            _print(json_module.dumps(row) if self._json else text(row))

    def _print_failure(self, source: str, error: DeepsicError) -> None:
        message = str(error)
        if self._json and not self._silent:
            kind = type(error).__name__
            detail = {"kind": kind, "message": message, "exit_code": error.exit_code}
            _print(json_module.dumps({"source": source, "error": detail}))
        else:
            where = "" if source in message else f"{source}: "
            _complain(f"{where}{message}")


class _Printed(Exception):
    """Carries an exit code outwards; the user has seen the failure already."""

    def __init__(self, error: DeepsicError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code


def run_verb(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, run the verb they name, return the exit code.

    The parser leaves the verb's function as `verb` and its keyword arguments as the other names.
    Errors of ours end in their exit code and one line on standard error, never in a traceback.
    """
    try:
        options = vars(parser.parse_args(arguments))
        options.pop("verb")(**options)
        sys.stdout.flush()
    except SystemExit as end:  # argparse's way of saying "usage" or "done"
        return end.code if isinstance(end.code, int) else EXIT_OK
    except _Printed as printed:
        return printed.exit_code
    except DeepsicError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain again at exit.
        _close_stdout()
    except OSError as error:  # a full disk behind standard output
        _close_stdout()
        _complain(f"standard output: {error.strerror or error}")
        return StorageError.exit_code
    return EXIT_OK


def _close_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
    except UnicodeEncodeError:  # a name that isn't text, or not in this terminal's alphabet
        code = sys.stdout.encoding
        sys.stdout.write(line.encode(code, "backslashreplace").decode(code) + "\n")


def _complain(message: str) -> None:
    sys.stderr.write(f"deepsic: {message}\n")
