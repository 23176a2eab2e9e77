"""What it saves to read labels from a file: time, and multiplications of the networks."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

from benchmarks.machine import describe_run
from deepsic.bitstream import read_semantics
from deepsic.codec import Codec
from deepsic.data.readers import class_folder
from deepsic.errors import UsageError
from deepsic.models.fourstage.engine import FourStageEngine
from deepsic.tasks import load_classifier

__all__ = ["macs_of", "measure_label_cost"]

_CLASSIFIER = "efficientnet-lite0"


def macs_of(module: nn.Module, call: Callable[[], object]) -> int:
    """Multiply-accumulates of a module's convolutions and connected layers during a call."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):
            total += inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(add) for m in module.modules() if isinstance(m, kinds)]
    call()
    for hook in hooks:
        hook.remove()
    return total


def measure_label_cost(folder: Path, out: Path, models: Sequence[str], limit: int) -> None:
    """Write `out`/label_cost.json: medians over images at quality 40, one thread."""
    torch.set_num_threads(1)
    samples = class_folder(folder)
    samples = samples[:: max(1, len(samples) // limit)][:limit]
    classifier = load_classifier(_CLASSIFIER)
    rows = []
    for model in models:
        codec = Codec.load(model, device="cpu")
        engine = codec.engine
        if not isinstance(engine, FourStageEngine):
            raise UsageError(f"{model} is no model of deepsic-pre or deepsic-post")
        rgb = samples[0].image()
        v8, v16, _ = engine.analyse(rgb, 40)
        draw = macs_of(engine.net, functools.partial(engine.synthesise, (v8, v16), 40))
        look = macs_of(engine.net, functools.partial(engine.chances, v8, v16, 40))
        x = torch.zeros(1, 3, 224, 224)
        asked = macs_of(classifier, functools.partial(classifier.logits, x))
        times: dict[str, list[float]] = {"labels": [], "pixels": []}
        for sample in samples:
            blob = codec.encode(sample.image(), quality=40)
            begun = time.perf_counter()
            codec.labels(blob) if engine.look == "post" else read_semantics(blob)
            times["labels"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            image = torch.from_numpy(np.array(codec.decode(blob))).permute(2, 0, 1)[None] / 255
            with torch.inference_mode():
                classifier.logits(image)
            times["pixels"].append(time.perf_counter() - begun)
        area = rgb.shape[0] * rgb.shape[1]
        rows.append({
            "model": codec.name,
            "labels, ms": round(1e3 * median(times["labels"]), 3),
            "decode and classify, ms": round(1e3 * median(times["pixels"]), 1),
            "labels, kMAC/px": round((look if engine.look == "post" else 0) / area / 1e3, 2),
            "decode and classify, kMAC/px": round((draw + asked) / area / 1e3, 2),
        })  # fmt: skip
    about = {"pictures": len(samples), "classifier": _CLASSIFIER, **describe_run()}
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"about": about, "rows": rows}, indent=1)
    (out / "label_cost.json").write_text(text + "\n", "utf-8")
