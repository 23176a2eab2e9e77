"""What two streams in each tile cost in bytes, and save in time.

    python benchmarks/speed/streams.py kodak/ --every 2

Whole files without labels, in both tunings; bytes of two streams over those of one, from sums over
the images. Then the time to encode and decode the first image at quality 57, warm, in turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from benchmarks import options
from deepsic.codec import Codec

QUALITIES = (8, 20, 35, 50, 75)


def milliseconds(calls: dict[str, Callable[[], object]], turns: int = 60) -> dict[str, float]:
    """Medians of calls that take turns; each runs twice, and the second time counts."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in taken.items()}


def main(
    folder: options.Images,
    every: Annotated[int, typer.Option(min=1, help="Take one image of so many.")] = 1,
    out: options.Out = None,
) -> None:
    """Print both."""
    images = [Image.open(path).convert("RGB") for path in options.images_in(folder)[::every]]
    one, two = (Codec.load("sic", device="cpu", streams=count) for count in (1, 2))
    costs, times = {}, {}
    for tune in one.tunings:
        for quality in QUALITIES:
            single, double = (
                sum(len(codec.encode(image, quality=quality, labels=False)) for image in images)
                for codec in (one.tuned(tune), two.tuned(tune))
            )
            costs[f"{tune} {quality}"] = 100 * (double / single - 1)
            typer.echo(f"{tune}, quality {quality}: {costs[f'{tune} {quality}']:+.2f} % of bytes")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        calls: dict[str, Callable[[], object]] = {}
        for name, codec in (("one stream", one), ("two", two)):
            encode = partial(codec.encode, images[0], quality=57, labels=False)
            calls[f"encode, {name}"] = encode
            calls[f"decode, {name}"] = partial(codec.decode, encode())
        times[threads] = milliseconds(calls)
        typer.echo(f"{threads} threads, ms: {times[threads]}")
    options.keep(out, {"costs": costs, "times": times})


if __name__ == "__main__":
    options.run(main)
