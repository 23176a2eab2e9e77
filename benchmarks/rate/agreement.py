"""How often networks answer for decoded images as they do for the originals, and how far their
answers diverge, at equal rates.

    python benchmarks/rate/agreement.py photographs/ --codec sic-machine --codec sic --codec avif \
        --classifier efficientnet-lite0 --classifier squeezenet --include 'ILSVRC2012_val_*'

Any photographs serve: agreement needs no labels; where they lie in folders named by WordNet
numbers, right answers are counted too. Images go in as classifiers are fed, 256 pixels on the
shorter side if they are larger. AVIF is Pillow's at speed 6; where its smallest file is larger than
the rate, that file counts.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor

from benchmarks import options
from deepsic.evaluation.baselines.sic import Sic
from deepsic.labels import label_set
from deepsic.losses import agreement_errors
from deepsic.tasks import load_classifier
from pipelines.stage import console

SHORT = 256
Recode = Callable[[Image.Image, float], tuple[Image.Image, int]]


def fed(folder: Path, include: str) -> Iterator[tuple[Image.Image, int]]:
    """Images as classifiers are fed, and the number of their class, or -1."""
    numbers = {node.wnid: int(node.number or 0) for node in label_set("imagenet1k").classes()}
    for path in sorted(path for path in folder.rglob("*") if fnmatch(path.name, include)):
        if not path.is_file():
            continue
        image = Image.open(path).convert("RGB")
        share = SHORT / min(image.size)
        if share < 1:
            size = (round(image.width * share), round(image.height * share))
            image = image.resize(size, Image.Resampling.BICUBIC)
        yield image, numbers.get(path.parent.name, -1)


def ours(model: str) -> Recode:
    """A model of ours, without labels; MODEL@NETWORK:1 with one look."""
    sic = Sic.parse(model)

    def recode(image: Image.Image, bpp: float) -> tuple[Image.Image, int]:
        blob = sic.codec.encode(image, bpp=bpp, labels=False, metadata=False, refiner=sic.refiner)
        return sic.codec.decode(blob), len(blob)

    return recode


def avif(image: Image.Image, bpp: float) -> tuple[Image.Image, int]:
    """Pillow's AVIF at the best quality within the rate."""
    low, high, best = 0, 63, b""
    while low <= high:
        level, out = (low + high) // 2, io.BytesIO()
        image.save(out, "AVIF", quality=100 - round(level * 100 / 63), speed=6, max_threads=1)
        fits = 8 * out.tell() <= bpp * image.width * image.height
        best = out.getvalue() if fits or level == 63 else best
        low, high = (low, level - 1) if fits else (level + 1, high)
    return Image.open(io.BytesIO(best)).convert("RGB"), len(best)


def main(
    folder: options.Images,
    codec: Annotated[list[str], typer.Option(help="avif, or a model; repeatable.")],
    classifier: Annotated[list[str], typer.Option(help="Network; repeatable.")],
    bpp: Annotated[list[float] | None, typer.Option(help="Rate; repeatable.")] = None,
    include: Annotated[str, typer.Option(help="Names of the files to take.")] = "*",
    out: options.Out = None,
) -> None:
    """Measure."""
    torch.set_num_threads(1)
    networks = {name: load_classifier(name) for name in classifier}
    images, rates = list(fed(folder, include)), bpp or [0.125, 0.25, 0.5]

    @torch.inference_mode()
    def answers(image: Image.Image) -> dict[str, Tensor]:
        x = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
        return {name: network.logits(x) for name, network in networks.items()}

    rows = []
    with console.progress("agreement", len(images) * len(codec)) as progress:
        for name in codec:
            recode = avif if name == "avif" else ours(name)
            agree: Counter[tuple[str, float]] = Counter()
            right: Counter[tuple[str, float]] = Counter()
            nats: dict[tuple[str, float], float] = defaultdict(float)
            used = dict.fromkeys(rates, 0.0)
            for image, truth in images:
                before = answers(image)
                for rate in rates:
                    decoded, size = recode(image, rate)
                    used[rate] += 8 * size / (image.width * image.height)
                    for network, answer in answers(decoded).items():
                        agree[network, rate] += int(answer.argmax() == before[network].argmax())
                        right[network, rate] += int(answer.argmax()) == truth
                        nats[network, rate] += float(agreement_errors(answer, before[network]))
                progress.advance()
            for rate in rates:
                row: dict[str, Any] = {"codec": name, "bpp": used[rate] / len(images)}
                for network in networks:
                    row[network] = agree[network, rate] / len(images)
                    row[f"{network}, nats"] = nats[network, rate] / len(images)
                    if images[0][1] >= 0:
                        row[f"{network}, right"] = right[network, rate]
                rows.append(row)
    console.table(
        f"agreement, {len(images)} images",
        ("codec", "bpp", *networks, "right"),
        [
            (
                row["codec"], f"{row['bpp']:.3f}",
                *(f"{row[n]:.1%}, {row[f'{n}, nats']:.3f}" for n in networks),
                " ".join(str(row.get(f"{n}, right", "-")) for n in networks),
            )
            for row in rows
        ],
    )  # fmt: skip
    options.keep(out, {"images": len(images), "rows": rows})


if __name__ == "__main__":
    options.run(main)
