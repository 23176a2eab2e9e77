"""How fast we encode and decode, beside Pillow's codecs and CompressAI, in one interleaved run.

    python benchmarks/speed/codec_speed.py kodak/ --rounds 3
    python benchmarks/speed/codec_speed.py kodak/ --compressai-python venv-cai/bin/python

Every round takes each image through all codecs one after the other, at one thread and at two,
so that whatever else the machine does hits all alike. Baselines are at the setting whose file is
nearest to `--bpp`, with their default effort, as users run them: WebP method 4, AVIF speed 6.
Printed: medians over images and rounds in MP/s, and the ratio of our time to each baseline's, the
median of ratios within one image and round. CompressAI's models have random weights, which
serves for time; without its environment they are absent, and the table says so.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from PIL import Image, features
from rich.console import Console
from rich.table import Table

from benchmarks import options
from deepsic import atomic
from deepsic.errors import DeepsicError, InputError
from deepsic.evaluation.baselines import MeasuredCodec, search_bpp
from deepsic.evaluation.baselines.jpeg import Jpeg
from deepsic.evaluation.baselines.modern import Avif, Jpeg2000, WebP
from deepsic.evaluation.baselines.sic import Sic
from deepsic.evaluation.provenance import provenance

COMPRESSAI = ("bmshj2018-hyperprior", "mbt2018-mean")
THREADS = (1, 2)


class DefaultWebP(WebP):
    """WebP at Pillow's default effort, which is what its users wait for."""

    settings = "libwebp, method 4"
    method = 4


class ThreadedAvif(Avif):
    """AVIF with as many threads as we get."""

    def __init__(self, threads: int) -> None:
        self.threads = threads


@dataclass(frozen=True)
class Timing:
    """One file of one image."""

    codec: str
    threads: int
    picture: str
    round: int
    megapixels: float
    bytes: int
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class SpeedTask:
    """One codec at one setting on one image."""

    codec: str
    threads: int
    run: Callable[[], tuple[int, float, float]]
    """Returns bytes, seconds to encode, seconds to decode."""


class SpeedWorker:
    """CompressAI in its own Python, kept running for the whole benchmark."""

    def __init__(self, python: Path) -> None:
        script = Path(__file__).with_name("compressai_worker.py")
        self._process = subprocess.Popen(
            [str(python), str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._to, self._from = cast(TextIO, self._process.stdin), cast(TextIO, self._process.stdout)

    def run(self, path: Path, model: str, threads: int) -> tuple[int, float, float]:
        """Encode and decode one image. Raises: `InputError` if the worker died."""
        ask = json.dumps({"path": str(path.resolve()), "model": model, "threads": threads})
        with contextlib.suppress(BrokenPipeError):  # what it said before it died follows
            self._to.write(ask + "\n")
            self._to.flush()
        line = self._from.readline()
        if not line:
            _, said = self._process.communicate()
            raise InputError(f"CompressAI's process ended: {said.strip().splitlines()[-1:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer["bytes"], answer["encode_s"], answer["decode_s"]

    def close(self) -> None:
        """End the process."""
        self._to.close()
        self._process.wait(timeout=60)


def main(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of PNG images.")],
    bpp: Annotated[float, typer.Option(help="Size of every codec's files.")] = 0.5,
    rounds: Annotated[int, typer.Option(help="Times each image is taken.")] = 3,
    limit: Annotated[int | None, typer.Option(help="At most so many images.")] = None,
    model: options.Model = "sic",
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another of ours, at the same quality: sic@NETWORK:1; repeatable."),
    ] = None,
    compressai_python: Annotated[
        Path | None, typer.Option(help="Python of an environment with compressai.")
    ] = None,
    out: options.Out = None,
) -> None:
    """Time them all."""
    paths = sorted(source.glob("*.png"))[:limit]
    if not paths:
        raise InputError(f"no PNG in {source}")
    absent: dict[str, str] = {}
    worker = _worker(compressai_python, paths[0], absent)
    timings: list[Timing] = []
    try:
        for path in paths:
            timings += _time_image(path, bpp, rounds, (model, *(also or ())), worker, absent)
    finally:
        if worker is not None:
            worker.close()
    _show(timings, f"sic:{model}", absent)
    if out is not None:
        lines = [{"kind": "run", "bpp": bpp, "rounds": rounds} | provenance()]
        lines += [vars(timing) for timing in timings]
        atomic.write(out, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _worker(python: Path | None, path: Path, absent: dict[str, str]) -> SpeedWorker | None:
    if python is None:
        absent["CompressAI"] = "no --compressai-python given"
        return None
    try:
        worker = SpeedWorker(python)
        for name in COMPRESSAI:
            worker.run(path, name, 1)  # loads the model
    except (OSError, DeepsicError) as error:
        absent["CompressAI"] = str(error)
        return None
    return worker


def _time_image(
    path: Path,
    bpp: float,
    rounds: int,
    models: Sequence[str],
    worker: SpeedWorker | None,
    absent: dict[str, str],
) -> list[Timing]:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    tasks = [task for threads in THREADS for task in _tasks(image, bpp, threads, models, absent)]
    if worker is not None:
        tasks += [_compressai(worker, path, name, n) for n in THREADS for name in COMPRESSAI]
    for task in tasks:
        task.run()  # once for warm caches, untimed
    megapixels = image.width * image.height / 1e6
    return [
        Timing(task.codec, task.threads, path.name, number, megapixels, *task.run())
        for number in range(rounds)
        for task in tasks
    ]


def _tasks(
    image: Image.Image, bpp: float, threads: int, models: Sequence[str], absent: dict[str, str]
) -> list[SpeedTask]:
    coders: list[MeasuredCodec] = [
        *map(Sic.parse, models),
        Jpeg(),
        DefaultWebP(),
        Jpeg2000(),
        ThreadedAvif(threads),
    ]
    tasks = []
    for coder in coders:
        reason = coder.missing()
        if reason is not None:
            absent[coder.name] = reason
            continue
        name, plain = coder.name, coder
        if isinstance(coder, Sic):
            name, plain = f"sic:{coder.name}", Sic(coder.model)
        knob = _knob(plain, image, bpp)
        tasks.append(SpeedTask(name, threads, _timed(coder, image, knob, threads)))
    return tasks


def _knob(coder: MeasuredCodec, image: Image.Image, bpp: float) -> float:
    hit = search_bpp(coder, image, bpp, tolerance=0.04)
    return (coder.low + coder.high) / 2 if hit.knob is None else hit.knob


def _timed(
    coder: MeasuredCodec, image: Image.Image, knob: float, threads: int
) -> Callable[[], tuple[int, float, float]]:
    import torch

    def run() -> tuple[int, float, float]:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        blob = coder.encode(image, knob)
        encoded = time.perf_counter()
        coder.decode(blob)
        return len(blob), encoded - started, time.perf_counter() - encoded

    return run


def _compressai(worker: SpeedWorker, path: Path, name: str, threads: int) -> SpeedTask:
    return SpeedTask(name, threads, lambda: worker.run(path, name, threads))


def _show(timings: Sequence[Timing], ours: str, absent: dict[str, str]) -> None:
    table = Table(title="Speed, medians; ratio = their time / ours", title_justify="left")
    for column in ("codec", "threads", "bpp", "encode MP/s", "decode MP/s", "encode ratio",
                   "decode ratio"):  # fmt: skip
        table.add_column(column, justify="left" if column == "codec" else "right")
    by_key = {(t.codec, t.threads, t.picture, t.round): t for t in timings}
    for threads in THREADS:
        for codec in dict.fromkeys(t.codec for t in timings):
            mine = [t for t in timings if (t.codec, t.threads) == (codec, threads)]
            if not mine:
                continue
            pairs = [
                (t, by_key[ours, threads, t.picture, t.round])
                for t in mine
                if (ours, threads, t.picture, t.round) in by_key
            ]
            table.add_row(
                codec,
                str(threads),
                f"{statistics.fmean(8 * t.bytes / t.megapixels / 1e6 for t in mine):.3f}",
                f"{statistics.median(t.megapixels / t.encode_s for t in mine):.2f}",
                f"{statistics.median(t.megapixels / t.decode_s for t in mine):.2f}",
                _ratio([a.encode_s / b.encode_s for a, b in pairs]),
                _ratio([a.decode_s / b.decode_s for a, b in pairs]),
            )
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    for name, reason in absent.items():
        console.print(f"absent: {name}: {reason}")
    turbo = features.version("libjpeg_turbo")
    console.print(f"Pillow's libjpeg-turbo {turbo}, AVIF {features.version('avif')}")
    for name, value in provenance().items():
        console.print(f"{name}: {value}")


def _ratio(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else "-"


if __name__ == "__main__":
    options.run(main)
