"""Measure one image with every codec: encode to a whole file, decode it, compare, look.

Each codec is measured twice. Over its ladder, fixed settings for all images: the mean over
images is how rate-distortion curves are published. And at target rates, where each image is
searched to the same bits per pixel with every codec: what classifiers see at equal size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepsic.errors import DeepsicError, UsageError
from deepsic.evaluation.baselines.base import EncodedFile, MeasuredCodec, decode_timed, encode_timed
from deepsic.evaluation.baselines.search import Memory, search_bpp
from deepsic.evaluation.evaluators import Evaluator
from deepsic.evaluation.metrics.distortion import compare
from deepsic.evaluation.metrics.rate import bits_per_pixel

__all__ = ["ORIGINAL", "Measurement", "MeasurementPlan", "Subject", "measure"]

ORIGINAL = "uncompressed"


@dataclass(frozen=True, kw_only=True)
class MeasurementPlan:
    """What to measure of each image."""

    bpp: tuple[float, ...] = (0.125, 0.25, 0.5)
    """Whole-file rates that every codec is searched to."""
    ladder: bool = True
    """Whether to run every codec's fixed settings too, for rate-distortion curves."""
    every: int = 1
    """Take every n-th rung of the ladders alone."""
    tolerance: float = 0.02
    """Share by which a file may miss a target."""
    distortion: bool = True
    """Whether to compute PSNR, SSIM and MS-SSIM."""

    def __post_init__(self) -> None:
        if any(rate <= 0 for rate in self.bpp):
            raise UsageError(f"bpp={self.bpp} must be positive")
        if not 0 < self.tolerance < 1:
            raise UsageError(f"tolerance={self.tolerance} must be between 0 and 1")
        if self.every < 1:
            raise UsageError(f"every={self.every} must be at least 1")
        if not self.bpp and not self.ladder:
            raise UsageError("nothing to measure: give target rates, or turn the ladder on")

    def rungs(self, coder: MeasuredCodec) -> tuple[float, ...]:
        """Fixed settings at which `coder` is measured."""
        return coder.ladder[:: self.every] if self.ladder else ()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An image to measure, with what is known of it."""

    name: str
    rgb: NDArray[np.uint8]
    """(height, width, 3)."""
    label: int | None = None
    """ImageNet class number, if known."""
    boxes: dict[str, Any] | None = None
    """True objects (`boxes`, `labels` as in `detection.Boxes`), if known."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One file of one image, or why there is none. `asdict` is a line of the JSON report."""

    picture: str
    codec: str
    kind: str
    """"original", "ladder" or "target"."""
    knob: float | None = None
    target: float | None = None
    """bpp asked for."""
    off: float | None = None
    """Share by which the file misses the target."""
    width: int = 0
    height: int = 0
    bytes: int | None = None
    bpp: float | None = None
    mse: float | None = None
    psnr_rgb: float | None = None
    psnr_y: float | None = None
    ssim: float | None = None
    ms_ssim_rgb: float | None = None
    ms_ssim_y: float | None = None
    encode_s: float | None = None
    decode_s: float | None = None
    label: int | None = None
    boxes: dict[str, Any] | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    """Evaluator → what it saw."""
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """As JSON holds it, without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {})}


def measure(
    subject: Subject,
    coders: Sequence[MeasuredCodec],
    plan: MeasurementPlan,
    evaluators: Sequence[Evaluator] = (),
    *,
    original: bool = True,
    memory: Memory | None = None,
) -> list[Measurement]:
    """Measure one image with every codec.

    A codec that refuses gives rows with `error`, never an exception. Evaluators look at the
    original and at the files of target rates.

    Args:
        original: whether to measure the uncompressed image too.
        memory: where earlier images reached their rates; makes the searches short.
    """
    image = Image.fromarray(subject.rgb)
    height, width = subject.rgb.shape[:2]
    common: dict[str, Any] = {"picture": subject.name, "width": width, "height": height}
    rows: list[Measurement] = []
    shown: list[NDArray[np.uint8]] = []
    looked: list[int] = []
    if original:
        truth: dict[str, Any] = {"label": subject.label, "boxes": subject.boxes}
        rows.append(Measurement(**common, **truth, codec=ORIGINAL, kind="original"))
        shown.append(subject.rgb)
        looked.append(0)
    for coder in coders:
        for made, decoded in _files(subject, image, coder, plan, common, memory):
            if made.kind == "target" and decoded is not None:
                looked.append(len(rows))
                shown.append(decoded)
            rows.append(made)
    for evaluator in evaluators:
        for index, seen in zip(looked, evaluator.look(shown), strict=True):
            rows[index].seen[evaluator.name] = seen
    return rows


def _files(
    subject: Subject,
    image: Image.Image,
    coder: MeasuredCodec,
    plan: MeasurementPlan,
    common: dict[str, Any],
    memory: Memory | None,
) -> Iterator[tuple[Measurement, NDArray[np.uint8] | None]]:
    """One codec's rows, and the decoded image where there is one."""
    known: dict[float, EncodedFile] = {}
    wanted: list[dict[str, Any]] = []
    wanted += [{"kind": "ladder", "knob": knob} for knob in plan.rungs(coder)]
    wanted += [{"kind": "target", "target": bpp} for bpp in plan.bpp]
    for item in wanted:
        about = common | {"codec": coder.name} | item
        try:
            if item["kind"] == "ladder":
                made = known.setdefault(item["knob"], encode_timed(coder, image, item["knob"]))
            else:
                made = search_bpp(
                    coder, image, item["target"], tolerance=plan.tolerance, known=known,
                    memory=memory,
                )  # fmt: skip
                about |= {"knob": made.knob, "off": made.off}
            decoded, seconds = decode_timed(coder, made.blob)
            pixels = np.asarray(decoded)
            scores = asdict(compare(subject.rgb, pixels)) if plan.distortion else {}
        except DeepsicError as error:
            yield Measurement(**about, error=str(error)), None
            continue
        rate = bits_per_pixel(len(made.blob), image.width, image.height)
        row = Measurement(
            **about, **scores, bytes=len(made.blob), bpp=rate,
            encode_s=made.seconds, decode_s=seconds,
        )  # fmt: skip
        yield row, pixels
