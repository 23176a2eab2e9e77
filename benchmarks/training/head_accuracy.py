"""Top-1 of the semantic head on real files, before and after quantisation.

    python benchmarks/training/head_accuracy.py imagenette/val --model sic --quality 15 \
        --out head.json

Pre-semantic labels are what `deepsic encode --labeler head` stores: read from the encoder's latents
before rounding. Post-semantic ones are read from the decoded latents of the file: no pixel is made.
The rate is that of the file without labels. `--teacher` adds the teacher's accuracy on the decoded
images and on the originals.

Images named ILSVRC2012_val_* are ImageNet's own validation set, which the teacher never saw;
the others of imagenette/val are from ImageNet's training set, which it did. Both are printed.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from benchmarks import options
from deepsic.codec import Codec
from deepsic.errors import InputError
from deepsic.labels import label_set
from pipelines.stage import console

UNSEEN = "ILSVRC2012_val_"


def ask(codec: Codec, path: Path, quality: int) -> dict[str, Any]:
    """What the head says of an image's files, and what they weigh."""
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB"))
    seen = codec.read(rgb, quality=quality)
    blob = codec.encode(rgb, quality=quality)
    return {
        "rgb": rgb, "blob": blob, "bpp": 8 * len(blob) / rgb.shape[0] / rgb.shape[1],
        "pre": seen[0].wnid, "post": codec.labels(blob)[0].wnid,
    }  # fmt: skip


def main(
    folder: Annotated[Path, typer.Argument(help="Class folders named by WordNet numbers.")],
    model: options.Model = "sic",
    quality: Annotated[int, typer.Option(help="Of the files.")] = 15,
    every: Annotated[int, typer.Option(help="Take every n-th image.")] = 1,
    teacher: Annotated[bool, typer.Option(help="Ask EfficientNet-Lite0 as well.")] = False,
    out: options.Out = None,
) -> None:
    """Measure."""
    torch.set_num_threads(1)
    codec = Codec.load(model, device="cpu")
    paths = sorted(p for p in folder.glob("*/*") if p.is_file())[::every]
    if not paths:
        raise InputError(f"no class folders with images in {folder}")
    teacher_net = None
    if teacher:
        from deepsic.training.teacher import Teacher

        teacher_net = Teacher("imagenette")
    wnids = [node.wnid for node in label_set("imagenette").classes()]
    right: dict[str, list[bool]] = defaultdict(list)
    rates = []
    with console.progress("head", len(paths)) as progress:
        for path in paths:
            answer, truth = ask(codec, path, quality), path.parent.name
            rates.append(answer["bpp"])
            printed = {"pre": answer["pre"], "post": answer["post"]}
            if teacher_net is not None:
                after = np.asarray(codec.decode(answer["blob"]).convert("RGB"))
                for name, pixels in (("teacher, original", answer["rgb"]), ("teacher", after)):
                    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
                    printed[name] = wnids[int(teacher_net.logits(x).argmax())]
            for name, said in printed.items():
                right[name].append(said == truth)
                if path.name.startswith(UNSEEN):
                    right[f"{name}, unseen by the teacher"].append(said == truth)
            progress.advance()
            progress.show(pre=statistics.mean(right["pre"]), post=statistics.mean(right["post"]))
    shares = {name: statistics.mean(hits) for name, hits in right.items()}
    counts = {name: len(hits) for name, hits in right.items()}
    bpp = statistics.mean(rates)
    console.table(
        f"{len(paths)} images, quality {quality}, {bpp:.3f} bpp on average",
        ("", "top-1", "images"),
        [(name, f"{share:.1%}", counts[name]) for name, share in shares.items()],
    )
    about = {"model": codec.identity.hex(), "quality": quality, "bpp": bpp}
    options.keep(out, about | {"images": counts, "top1": shares})


if __name__ == "__main__":
    options.run(main)
