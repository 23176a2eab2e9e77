"""Table I: top-1 and top-5 of the presets' own labels at four rates, beside classifiers.

The labels come out of files: of `deepsic-pre` from the semantics part, without a network; of
`deepsic-post` from decoded features, without pixels. As in the paper a rate is the mean over the
images: one quality for all, searched on every n-th of them, whole files, labels included. A model's
labels are those that it has, a classifier's those of the classes that are asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe_run
from deepsic.codec import Codec
from deepsic.data.readers import LabelledImage, class_folder
from deepsic.errors import InputError
from deepsic.labels import label_set
from deepsic.tasks import load_classifier
from pipelines.stage import console

__all__ = ["RATES", "measure_table"]

RATES = (0.25, 0.5, 1.0, 1.5)
_TOP = 5
_SEARCHED = 6
"""Images that a quality is searched on."""


def _samples(
    folder: Path, limit: int, classes: str, only: str
) -> tuple[list[LabelledImage], list[str]]:
    wnids = [node.wnid for node in label_set(classes).classes()]
    parts = sorted(path for path in folder.iterdir() if path.is_dir())
    parts = [folder] if any(path.name in wnids for path in parts) else parts
    samples = [sample for part in parts for sample in class_folder(part, wnids)]
    samples = [sample for sample in samples if fnmatch(Path(sample.name).name, only)]
    if not samples:
        raise InputError(f"no image in {folder} is called {only}")
    return samples[:: max(1, len(samples) // limit)][:limit], wnids


def measure_table(
    folder: Path, out: Path, models: Sequence[str], classifiers: Sequence[str], *,
    limit: int, classes: str = "imagenette", only: str = "*",
) -> None:  # fmt: skip
    """Write `out`/table1.json, row by row; rows that are there stay.

    Args:
        folder: of folders named by WordNet numbers, or of such folders' parents.
        limit: most images, evenly spaced.
        classes: label set of the folders and the classifiers.
        only: pattern of the files' names.

    Raises:
        InputError: no image.
    """
    out.mkdir(parents=True, exist_ok=True)
    target = out / "table1.json"
    rows = json.loads(target.read_text("utf-8"))["rows"] if target.is_file() else []
    have = {(row["method"], row["rate"]) for row in rows}
    samples, wnids = _samples(folder, limit, classes, only)

    def keep(row: dict[str, object]) -> None:
        rows.append(row)
        about = {"pictures": len(samples), "classes": len(wnids), **describe_run()}
        target.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", "utf-8")

    for model in models:
        codec = Codec.load(model, device="cpu")
        for rate in RATES:
            if (codec.name, rate) not in have:
                keep({"method": codec.name, "rate": rate, **_ours(codec, samples, wnids, rate)})
    for name in classifiers:
        if (name, None) not in have:
            keep({"method": name, "rate": None, **_classifier(name, samples, wnids)})


def _ours(
    codec: Codec, samples: Sequence[LabelledImage], wnids: Sequence[str], rate: float
) -> dict[str, float]:
    hits, bits, spent = [], [], 0.0
    quality = _quality(codec, samples, rate)
    with console.progress(f"{codec.name} {rate:g} bpp", len(samples)) as counter:
        for sample in samples:
            pixels = sample.image()
            blob = codec.encode(pixels, quality=quality)
            begun = time.perf_counter()
            labels = codec.labels(blob, top=_TOP)
            spent += time.perf_counter() - begun
            order = [label.wnid for label in labels]
            hits.append(_rank(order, wnids[sample.label or 0]))
            bits.append(8 * len(blob) / (pixels.shape[0] * pixels.shape[1]))
            counter.advance()
    return _scores(hits) | {
        "quality": quality,
        "bpp": float(np.mean(bits)),
        "ms": 1e3 * spent / len(samples),
    }


def _quality(codec: Codec, samples: Sequence[LabelledImage], rate: float) -> int:
    """The quality whose files come nearest to the rate, on average."""
    some = [sample.image() for sample in samples[:: max(1, len(samples) // _SEARCHED)]]

    def bpp(quality: int) -> float:
        sizes = [8 * len(codec.encode(p, quality=quality)) / (p[..., 0].size) for p in some]
        return float(np.mean(sizes))

    low, high = 1, 100
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bpp(middle) > rate else (middle, high)
    return low


@torch.inference_mode()
def _classifier(
    name: str, samples: Sequence[LabelledImage], wnids: Sequence[str]
) -> dict[str, float]:
    """An ImageNet classifier on the originals, its 1000 classes narrowed to those asked for."""
    net = load_classifier(name)
    names = label_set("imagenet1k")
    chosen = [names[wnid].number or 0 for wnid in wnids]
    hits = []
    for sample in samples:
        x = torch.from_numpy(sample.image().copy()).permute(2, 0, 1)[None] / 255
        order = net.logits(x)[0][chosen].argsort(descending=True).tolist()
        hits.append(_rank([wnids[i] for i in order], wnids[sample.label or 0]))
    return _scores(hits)


def _rank(order: Sequence[str], right: str) -> int:
    return order.index(right) if right in order else 1000


def _scores(ranks: Sequence[int]) -> dict[str, float]:
    found = np.array(ranks)
    return {"top1": float((found < 1).mean()), "top5": float((found < _TOP).mean())}
