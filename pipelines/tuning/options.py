"""Options of the search: for each its type and its help text; with those that all stages share.

`tune_saic.py` names them, and holds their defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.stage.options import (
    Data,
    Device,
    Start,
    TrackingUri,
    ValidationImages,
    Verbose,
    new_app,
)

__all__ = [
    "Batch",
    "Classifier",
    "Concurrent",
    "Data",
    "Device",
    "Layer",
    "LearningRate",
    "Out",
    "Pixel",
    "Rungs",
    "Search",
    "Seed",
    "Side",
    "Space",
    "Start",
    "Steps",
    "Storage",
    "TrackingUri",
    "Trials",
    "ValidationImages",
    "Verbose",
    "Workers",
    "new_app",
]

Out = Annotated[Path, typer.Option("--out", "-o", metavar="DST", help="Folder for what is found.")]
Space = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Name in tune_spaces/, or a Python file.  [default: small, with --data saic]",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Trials, except on a grid.  [default: 4, with --data 12]"
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Optimiser steps a trial.  [default: 8, with --data 400]"
    ),
]
Rungs = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Evaluations a trial.  [default: 2, with --data 4]"),
]
Side = Annotated[
    int, typer.Option(min=32, metavar="PX", help="Side of crops and evaluated squares, pixels.")
]
Batch = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Crops a worker and step.  [default: 2, with --data 8]"),
]
LearningRate = Annotated[
    float, typer.Option(metavar="X", help="Peak learning rate, unless in the space.")
]
Pixel = Annotated[
    float,
    typer.Option(metavar="X", help="Weight of the squared error (0-255), unless in the space."),
]
Layer = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Layer whose maps are compared, unless in the space."),
]
Classifier = Annotated[str, typer.Option(metavar="NAME", help="Downstream network.")]
Search = Annotated[
    Literal["optuna", "random", "grid"], typer.Option(help="What chooses the next trial.")
]
Concurrent = Annotated[int, typer.Option(min=1, metavar="N", help="Trials at the same time.")]
Workers = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes side by side in a trial, a CPU each, with --device cuda a GPU each.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of crops, qualities and search.")]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="DST",
        help="Checkpoints, for all nodes: s3://... or a shared folder.  [default: OUT]",
    ),
]
