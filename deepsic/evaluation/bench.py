"""The short measurement behind `deepsic bench`: images, one process, no Ray.

    report = run([Path("photos/a.png")], model="sic")
    print(report)                      # a table: BD-rate against JPEG, dB at three rates, MP/s

The long form, with accuracy, equal rates and an HTML report, is `pipelines/evaluate.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepsic import atomic
from deepsic.errors import DeepsicError, InputError, counted
from deepsic.evaluation.measure import Measurement, MeasurementPlan, Subject, measure
from deepsic.evaluation.provenance import provenance
from deepsic.evaluation.summary import CodecSummaries, summarise

__all__ = ["BENCH_CODECS", "BenchReport", "run", "write_lines"]

BENCH_CODECS = ("jpeg", "jpeg2000", "webp", "avif")
ANCHOR = "jpeg"
RATES = (0.25, 0.5, 1.0)
PLAN = MeasurementPlan(bpp=(), ladder=True, every=2)


@dataclass(kw_only=True)
class BenchReport:
    """What a bench found; `str` of it is the table to show."""

    rows: list[Measurement]
    summary: CodecSummaries
    pictures: int
    skipped: dict[str, str]
    """Image → why it can't be read."""
    missing: dict[str, str]
    """Codec → why it can't run here."""
    titles: dict[str, str]
    megapixels: float

    def __str__(self) -> str:
        head = ("codec", "BD-rate", "BD MS-SSIM", *(f"dB@{rate:g}" for rate in RATES), "enc MP/s",
                "dec MP/s")  # fmt: skip
        body = [self._line(codec) for codec in self.summary.codecs()]
        notes = [
            f"{counted(self.pictures, 'image')}; BD-rate in % against JPEG; "
            "one thread for baselines"
        ]
        notes += [f"skipped {name}: {reason}" for name, reason in self.skipped.items()]
        notes += [f"no {name}: {reason}" for name, reason in self.missing.items()]
        notes += [f"left out {name}: {reason}" for name, reason in self.summary.left_out.items()]
        return "\n".join([*_aligned([head, *body]), *notes])

    def _line(self, codec: str) -> tuple[str, ...]:
        psnr = self.summary.bd_rates(ANCHOR, "psnr_rgb").get(codec)
        structure = self.summary.bd_rates(ANCHOR, "ms_ssim_rgb").get(codec)
        curve = self.summary.curve(codec, "psnr_rgb")
        levels = [None if curve is None else curve.quality_at(rate) for rate in RATES]
        return (
            self.titles[codec],
            _number(psnr, "+.1f"),
            _number(structure, "+.1f"),
            *(_number(level, ".2f") for level in levels),
            _number(self._speed(codec, "encode_s"), ".2f"),
            _number(self._speed(codec, "decode_s"), ".2f"),
        )

    def _speed(self, codec: str, which: str) -> float | None:
        """Megapixels a second over the ladder."""
        good = [row for row in self.rows if row.codec == codec and row.error is None]
        seconds = sum(getattr(row, which) for row in good)
        pixels = sum(row.width * row.height for row in good)
        return pixels / 1e6 / seconds if seconds else None


def run(
    paths: Iterable[Path],
    *,
    model: str = "sic",
    output: Path | None = None,
    baselines: Sequence[str] = BENCH_CODECS,
    show: Callable[[str], None] | None = None,
) -> BenchReport:
    """Measure `model` and `baselines` on images at four settings each, one image after another.

    Args:
        model: a shipped name, or the path of a model file.
        output: JSON lines to write, one a file, after one line on the run.
        show: takes a line on each image when it is done.

    Raises:
        InputError: not one image can be read, or not one codec can run.
        StorageError: `output` can't be written.
    """
    from deepsic.evaluation.baselines import find_codecs
    from deepsic.image_io.load import load_image

    coders, missing = find_codecs([f"sic:{model}", *baselines])
    if not coders:
        raise InputError(f"no codec can run here: {missing}")
    rows: list[Measurement] = []
    skipped: dict[str, str] = {}
    done = 0
    pixels = 0
    paths = list(paths)
    for number, path in enumerate(paths, 1):
        try:
            rgb = load_image(path).rgb
        except DeepsicError as error:
            skipped[str(path)] = str(error)
            continue
        subject = Subject(name=str(path), rgb=rgb)
        made = measure(subject, coders, PLAN)
        rows += made
        done, pixels = done + 1, pixels + rgb.shape[0] * rgb.shape[1]
        if show is not None:
            show(f"{number}/{len(paths)} {path.name}: {_glance(made)}")
    if not done:
        raise InputError(f"no image to measure; {len(skipped)} couldn't be read: {skipped}")
    if output is not None:
        write_lines(output, provenance(), rows)
    return BenchReport(
        rows=rows, summary=summarise(rows), pictures=done, skipped=skipped, missing=missing,
        titles={coder.name: coder.title for coder in coders}, megapixels=pixels / 1e6,
    )  # fmt: skip


def _glance(rows: Sequence[Measurement]) -> str:
    """One image in a line: bpp and dB of each codec's second setting."""
    seen: dict[str, list[Measurement]] = {}
    for row in rows:
        if row.kind == "ladder" and row.error is None:
            seen.setdefault(row.codec, []).append(row)
    second = {codec: found[min(1, len(found) - 1)] for codec, found in seen.items()}
    return ", ".join(f"{c} {row.bpp:.2f} bpp {row.psnr_rgb:.1f} dB" for c, row in second.items())


def write_lines(path: Path, about: dict[str, str], rows: Iterable[Measurement]) -> None:
    """Write a run as JSON lines: one on the run itself, then one a file.

    Raises: `StorageError` when the disk refuses.
    """
    lines = [{"kind": "run"} | about, *(row.line() for row in rows)]
    atomic.write(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
