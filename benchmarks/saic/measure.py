"""Code images with every arm and keep outputs of classifiers and distortions as arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import describe_run
from benchmarks.saic.arms import code, find_arm, stem
from deepsic.data.readers import LabelledImage, class_folder
from deepsic.errors import UsageError
from deepsic.evaluation.baselines import Memory
from deepsic.evaluation.metrics.distortion import compare
from deepsic.labels import label_set
from deepsic.losses import feature_errors
from deepsic.tasks import Classifier, load_classifier
from pipelines.stage import console

__all__ = ["measure"]

Pixels = NDArray[np.uint8]


def _samples(folder: Path, only: str, limit: int) -> list[LabelledImage]:
    wnids = [node.wnid for node in label_set("imagenet1k").classes()]
    samples = [s for s in class_folder(folder, wnids) if fnmatch(Path(s.name).name, only)]
    if not samples:
        raise UsageError(f"no image in {folder} is called {only}")
    return samples[:: max(1, len(samples) // limit)][:limit]


@torch.no_grad()
def _outputs(classifier: Classifier, images: Sequence[Pixels]) -> NDArray[np.float32]:
    rows = []
    for pixels in images:
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        rows.append(classifier.logits(x)[0].numpy())
    return np.stack(rows)


@torch.no_grad()
def _feature_errors(
    classifier: Classifier, originals: Sequence[Pixels], decoded: Sequence[Pixels]
) -> NDArray[np.float32]:
    """Table 1: mean square error of the default layer's maps, for each image."""
    errors = []
    for pair in zip(originals, decoded, strict=True):
        x = torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1) for p in pair]).float()
        f = classifier.features(x / 255)
        errors.append(float(feature_errors(f[1:], f[:1])) / f.shape[1])
    return np.array(errors, np.float32)


def measure(
    folder: Path,
    out: Path,
    models: Sequence[str],
    *,
    rates: Sequence[float],
    classifiers: Sequence[str],
    only: str,
    limit: int,
) -> None:
    """Write `<arm>@<rate>.npz` for every arm and rate, and `original.npz`; skip what is there."""
    out.mkdir(parents=True, exist_ok=True)
    samples = _samples(folder, only, limit)
    originals = [sample.image() for sample in samples]
    networks = {name: load_classifier(name) for name in classifiers}
    labels = np.array([sample.label for sample in samples])
    reference = out / "original.npz"
    if not reference.is_file():
        outputs = {name: _outputs(net, originals) for name, net in networks.items()}
        np.savez(reference, allow_pickle=False, labels=labels, **outputs)
    about = {"pictures": [sample.name for sample in samples], **describe_run()}
    (out / "about.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    jobs = [(model, rate) for model in models for rate in rates]
    with console.progress("measure", len(jobs) * len(samples)) as counter:
        for model, rate in jobs:
            target = out / f"{stem(model)}@{rate:g}.npz"
            if target.is_file():
                counter.advance(len(samples))
                continue
            coder = find_arm(model)
            memory = Memory()
            decoded, bpp, rows = [], [], []
            for pixels in originals:
                back, cost = code(coder, pixels, rate, memory)
                found = compare(pixels, back)
                decoded.append(back)
                bpp.append(cost)
                rows.append((found.mse / 255**2, found.psnr_rgb, found.ssim or np.nan))
                counter.advance()
            outputs = {name: _outputs(net, decoded) for name, net in networks.items()}
            feature = _feature_errors(next(iter(networks.values())), originals, decoded)
            np.savez(
                target,
                allow_pickle=False,
                bpp=np.array(bpp),
                distortion=np.array(rows),
                feature=feature,
                **outputs,
            )
