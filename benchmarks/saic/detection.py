"""Table 5: a detector's mean average precision on decoded images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.saic.arms import code, find_arm, stem
from deepsic.data.readers import LabelledImage, yolo
from deepsic.evaluation.baselines import Memory
from deepsic.evaluation.metrics.detection import Boxes, detection
from deepsic.evaluation.metrics.distortion import compare
from deepsic.tasks import Detector, load_detector
from pipelines.stage import console

__all__ = ["detect"]

#: COCO scores the hundred surest objects of an image.
_MOST = 100


def _found(detector: Detector, pixels: NDArray[np.uint8]) -> Boxes:
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    (item,) = detector.detect([x])
    order = item["scores"].argsort(descending=True)[:_MOST]
    return Boxes(
        boxes=item["boxes"][order].tolist(),
        labels=item["labels"][order].tolist(),
        scores=item["scores"][order].tolist(),
    )


def _true(sample: LabelledImage) -> Boxes:
    return Boxes(
        boxes=[box.corners for box in sample.boxes], labels=[box.label for box in sample.boxes]
    )


def detect(
    folder: Path, out: Path, models: Sequence[str], *, weights: Path, rates: Sequence[float]
) -> None:
    """Add a line to `detection.jsonl` for every arm and rate, and one for the originals."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "detection.jsonl"
    done = (
        {json.loads(line)["key"] for line in path.read_text().splitlines()}
        if (path.is_file())
        else set()
    )
    samples, detector = yolo(folder), load_detector("fastestdet", weights)
    true = [_true(sample) for sample in samples]
    jobs = [("original", 0.0), *((model, rate) for model in models for rate in rates)]
    with console.progress("detect", len(jobs) * len(samples)) as counter:
        for model, rate in jobs:
            key = f"{stem(model)}@{rate:g}"
            if key in done:
                counter.advance(len(samples))
                continue
            coder = find_arm(model) if rate else None
            memory = Memory()
            boxes, bpp, psnr = [], [], []
            for sample in samples:
                pixels = sample.image()
                back, cost = code(coder, pixels, rate, memory) if coder else (pixels, float("nan"))
                boxes.append(_found(detector, back))
                bpp.append(cost)
                psnr.append(compare(pixels, back).psnr_rgb if coder else float("nan"))
                counter.advance()
            score = detection(boxes, true)
            line = {"key": key, "arm": stem(model), "rate": rate, "map50": score.map50}
            if coder:
                line |= {"bpp": float(np.mean(bpp)), "psnr": float(np.mean(psnr))}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
