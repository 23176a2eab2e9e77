"""Table 5: a detector's mean average precision on decoded images."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.saic.arms import code, find_arm, stem
from benchmarks.saic.matches import map50, match
from deepsic.data.readers import LabelledImage, pascal_voc, yolo
from deepsic.evaluation.baselines import Memory
from deepsic.evaluation.baselines.base import MeasuredCodec
from deepsic.evaluation.metrics.detection import Boxes
from deepsic.evaluation.metrics.distortion import compare
from deepsic.tasks import Detector, load_detector
from deepsic.tasks.detector import COCO_CLASSES
from pipelines.evaluation.sources import coco_as_voc
from pipelines.stage import console

__all__ = ["detect", "samples_of"]

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
    kept = [box for box in sample.boxes if not box.difficult]
    return Boxes(boxes=[box.corners for box in kept], labels=[box.label for box in kept])


def samples_of(folder: Path) -> tuple[list[LabelledImage], Collection[int]]:
    """Images of a set in YOLO's or Pascal VOC's layout, and COCO's classes that it annotates.

    YOLO's names all of COCO's; of Pascal VOC's, those are annotated that occur.
    """
    if not (folder / "Annotations").is_dir():
        return yolo(folder), range(len(COCO_CLASSES))
    samples = pascal_voc(folder, classes=coco_as_voc())
    return samples, {box.label for sample in samples for box in sample.boxes}


def detect(
    folders: Sequence[Path], out: Path, models: Sequence[str], *, weights: Path,
    rates: Sequence[float],
) -> None:  # fmt: skip
    """Add a line to `detection.jsonl` and a file to `matches/` for every arm and rate, and for the
    originals. Sets count as one: an object scores where its class is annotated.
    """
    (out / "matches").mkdir(parents=True, exist_ok=True)
    path = out / "detection.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    done = {json.loads(line)["key"] for line in lines}
    samples, known = [], []
    for folder in folders:
        found, classes = samples_of(folder)
        samples += found
        known += [classes] * len(found)
    detector = load_detector("fastestdet", weights)
    true = [_true(sample) for sample in samples]
    jobs = [("original", 0.0), *((model, rate) for model in models for rate in rates)]
    with console.progress("detect", len(jobs) * len(samples)) as counter:
        for model, rate in jobs:
            key = f"{stem(model)}@{rate:g}"
            if key in done:
                counter.advance(len(samples))
                continue
            coder = find_arm(model) if rate else None
            boxes, line = _look(detector, samples, coder, rate, counter.advance)
            matches = match(boxes, true, known, len(COCO_CLASSES))
            line |= {"key": key, "arm": stem(model), "rate": rate, "images": len(samples)}
            line["map50"] = float(map50(matches, np.ones((1, len(samples))))[0])
            matches.save(out / "matches" / f"{key}.npz")
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _look(
    detector: Detector, samples: Sequence[LabelledImage], coder: MeasuredCodec | None, rate: float,
    after: Callable[[], None],
) -> tuple[list[Boxes], dict[str, Any]]:  # fmt: skip
    """Objects found in each image, coded unless `coder` is None; mean bits a pixel and PSNR."""
    memory = Memory()
    boxes, bpp, psnr = [], [], []
    for sample in samples:
        pixels = sample.image()
        back = pixels
        if coder:
            back, cost = code(coder, pixels, rate, memory)
            bpp.append(cost)
            psnr.append(compare(pixels, back).psnr_rgb)
        boxes.append(_found(detector, back))
        after()
    if not coder:
        return boxes, {}
    about = {"bpp": float(np.mean(bpp)), "psnr": float(np.mean(psnr)), "coder": coder.identity()}
    return boxes, about
