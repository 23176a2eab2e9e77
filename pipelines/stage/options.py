"""Options that several stages have: one name, one meaning, one help text.

docs/COMMANDS.md has them as a table. A stage takes the type from here and gives its own default:

    def preprocess(workers: options.Workers = None, verbose: options.Verbose = False) -> None: ...

Switches are off by default. What can be left out is `none` on the command line, None in Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import typer

from deepsic.cli.options import size_in_bytes

__all__ = [
    "BODY_BYTES", "NONE", "PACK_BYTES", "CheckpointSeconds", "Data", "Device", "DeviceName",
    "Exclude", "Force", "ImageSeconds", "Include", "Json", "Limit", "Local", "MaxFailures",
    "MaxPixels", "MaxRestarts", "RunSeconds", "RunSteps", "Start", "TrackingUri", "TrainWorkers",
    "ValidationImages", "Verbose", "Workers", "new_app", "none_or", "or_none", "quality", "size",
]  # fmt: skip

T = TypeVar("T")
NONE = "none"
PACK_BYTES: Any = "36MiB"  # as written on the command line: typer parses defaults, too
BODY_BYTES: Any = "20MB"


def new_app(about: str | None) -> typer.Typer:
    """A stage's command line; its help is the module's docstring, what is indented as it is."""
    text = (about or "").replace("\n\n    ", "\n\n\b\n    ")  # "\b" keeps line breaks
    return typer.Typer(
        help=text, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip


def none_or(kind: Callable[[str], T]) -> Callable[[str], T | None]:
    """A type of values that may be `none`, for `typer.Option(parser=...)`."""

    def parse(text: object) -> T | None:
        return None if text in (None, NONE) else kind(str(text))

    parse.__name__ = f"{kind.__name__} or none"
    return parse


def or_none(text: str | None) -> str | None:
    """A name or path that may be `none`."""
    return None if text in (None, "", NONE) else text


def size(text: str) -> int:
    """A size with or without unit: 20000, 20KB (of 1000), 20KiB (of 1024), 1.5MB."""
    try:
        return size_in_bytes(text)
    except argparse.ArgumentTypeError as error:
        raise typer.BadParameter(str(error)) from None


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not number > 0:
        raise ValueError(f"{text} is not above 0; give a number above 0, or none")
    return number


def count(text: str) -> int:
    """A whole number from 0 on."""
    number = int(text)
    if number < 0:
        raise ValueError(f"{text} is below 0; give a number from 0 on, or none")
    return number


def quality(text: str) -> int:
    """A quality, 1 to 100."""
    number = int(text)
    if not 1 <= number <= 100:
        raise ValueError(f"{text} is not a quality; give 1 to 100")
    return number


def _seconds(about: str) -> Any:
    return typer.Option(parser=none_or(positive), metavar="S|none", help=about)


DeviceName = Literal["auto", "cpu", "cuda"]
Device = Annotated[
    DeviceName, typer.Option(help="Where networks run; auto: cuda where torch finds a GPU.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N",
        help="Processes side by side, a CPU each.  [default: one for each CPU]",
    ),
]  # fmt: skip
TrainWorkers = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes side by side, a CPU or, with --device cuda, a GPU each.",
    ),
]
Local = Annotated[bool, typer.Option("--local", help="In this process, without Ray.")]
Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="What preprocess.py or train.py pack made, a folder, file or s3://...; repeatable. "
        " [default: runs/prepared, or the embedded photographs if nothing is prepared there]",
    ),
]
Start = Annotated[
    str,
    typer.Option(metavar="MODEL", help="Model's name, file or checkpoint to start from, or s3://."),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Work on at most N of the images.  [default: all]"),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN", help="Only keys like this ('*.jpg'; * matches slashes); repeatable."
    ),
]
Exclude = Annotated[
    list[str] | None, typer.Option(metavar="PATTERN", help="Leave out keys like this; repeatable.")
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Ray's own log as well.")]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        metavar="URI|none",
        help="MLflow store.  [default: MLFLOW_TRACKING_URI, else runs/mlflow.db]",
    ),
]
ValidationImages = Annotated[
    int, typer.Option(min=1, metavar="N", help="Held-out images of a validation, at most.")
]
ImageSeconds = Annotated[float | None, _seconds("Time limit for one image.")]
RunSeconds = Annotated[
    float | None, _seconds("With --local: stop then, with a checkpoint to resume from.")
]
RunSteps = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N",
        help="With --local: stop at that step of the run, with a checkpoint to resume from.",
    ),
]  # fmt: skip
CheckpointSeconds = Annotated[
    float, typer.Option(min=0, metavar="S", help="Longest time between checkpoints.")
]
MaxFailures = Annotated[
    int | None,
    typer.Option(
        parser=none_or(count), metavar="N|none", help="Stop when more than N images fail."
    ),
]
MaxRestarts = Annotated[
    int, typer.Option(min=0, metavar="N", help="Times that lost workers are started again.")
]
MaxPixels = Annotated[
    int, typer.Option(min=1, metavar="N", help="Largest image, pixels: width x height.")
]
