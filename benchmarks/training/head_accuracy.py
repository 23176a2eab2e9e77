"""What the semantic head says of images, from their pixels and from their files.

    python benchmarks/training/head_accuracy.py imagenette --only 'ILSVRC2012_val_*' \
        --voc voc_animals --quality 8 --quality 15 --quality 30 --out head.json
    python benchmarks/training/head_accuracy.py imagenette --only 'ILSVRC2012_val_*' --bpp 0.25 \
        --bpp 0.5 --photos photographs/

Top-1 and the share of the teacher's right names that the head gets right, too; for ImageNet's
thousand classes, where the images lie in class folders named by WordNet numbers. Then the names
that are shown for certain (`deepsic.bitstream.certain`): how many images have one, and how many are
right, which is when it stands above the truth in WordNet, or below it where that is coarser. Names
of a file are those that its encoder stored on its way, else what is read from its latents.
`--bpp` gives files a rate, and asks the teacher what it sees in the decoded image. `--photos` are
photographs of anything: of them only how often head and teacher agree is counted.

`--part` takes every other image: choose on one half, report the other.

Images named ILSVRC2012_val_* are ImageNet's own validation set, which the teacher never saw; the
others of Imagenette are from ImageNet's training set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks import options
from deepsic.bitstream import Label
from deepsic.bitstream.certain import SURE, certain
from deepsic.codec import Codec
from deepsic.data.readers import VOC_CLASSES, pascal_voc
from deepsic.errors import InputError
from deepsic.image_io.load import load_image
from deepsic.labels import label_set
from deepsic.tasks import Classifier, load_classifier
from pipelines.stage import console

NAMES = label_set("imagenet1k")
TEACHER = "efficientnet-lite0"


def classes(folder: Path, only: str) -> Iterator[tuple[NDArray[np.uint8], set[str]]]:
    """Images of class folders, with the wnid that each folder is named by."""
    for path in sorted(folder.rglob("*.*")):
        if path.parent.name in NAMES and fnmatch(path.name, only):
            yield load_image(path).rgb, {path.parent.name}


def objects(folder: Path) -> Iterator[tuple[NDArray[np.uint8], set[str]]]:
    """Images of Pascal VOC's layout, with the wnids of all that is in them."""
    for sample in pascal_voc(folder):
        yield sample.image(), set().union(*(NAMES.find(VOC_CLASSES[b.label]) for b in sample.boxes))


def photographs(folder: Path) -> Iterator[tuple[NDArray[np.uint8], set[str]]]:
    """Images of a folder, of which nobody says what they show."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield load_image(path).rgb, set()


def first_of(teacher: Classifier, rgb: NDArray[np.uint8]) -> Label:
    """The teacher's first name for an image."""
    x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
    sure, number = teacher.logits(x).softmax(1)[0].max(0)
    node = NAMES.classes()[int(number)]
    return Label(node.name, node.wnid, float(sure))


def related(wnid: str, truth: set[str]) -> bool:
    """Whether a name stands above or below one of the true ones."""
    return any(NAMES.is_a(wnid, other) or NAMES.is_a(other, wnid) for other in truth)


def main(
    folder: Annotated[Path | None, typer.Argument(help="Class folders named by wnid.")] = None,
    only: Annotated[str, typer.Option(help="Names of the files to take.")] = "*",
    voc: Annotated[Path | None, typer.Option(help="Folder of Pascal VOC's layout, too.")] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder of photographs, too.")] = None,
    part: Annotated[Literal["all", "even", "odd"], typer.Option(help="Images to take.")] = "all",
    model: options.Model = "sic",
    quality: Annotated[list[int] | None, typer.Option(help="Of the files; repeatable.")] = None,
    bpp: Annotated[list[float] | None, typer.Option(help="Of the files; repeatable.")] = None,
    least: Annotated[float, typer.Option(help="Probability that counts as certain.")] = SURE,
    out: options.Out = None,
) -> None:
    """Measure."""
    torch.set_num_threads(1)
    codec, teacher = Codec.load(model, device="cpu"), load_classifier(TEACHER)
    stores = codec.reader is not None and codec.reader.stores
    sets = {"classes": list(classes(folder, only)) if folder else []}
    sets["objects"] = list(objects(voc)) if voc else []
    sets["photographs"] = list(photographs(photos)) if photos else []
    step = slice({"all": 0, "even": 0, "odd": 1}[part], None, 1 if part == "all" else 2)
    images = [(kind, *image) for kind, found in sets.items() for image in found[step]]
    if not images:
        raise InputError("no images with a known class; give class folders or --voc")
    shares: dict[str, list[bool]] = defaultdict(list)
    with console.progress("head", len(images)) as progress:
        for kind, rgb, truth in images:
            first = first_of(teacher, rgb).wnid
            seen: dict[str, Sequence[Label]] = {"image": codec.read(rgb)}
            for q in quality or ():
                blob = codec.encode(rgb, quality=q, labels=stores)
                seen[f"file, quality {q}"] = codec.labels(blob)
            for rate in bpp or ():
                blob = codec.encode(rgb, bpp=rate, labels=stores)
                seen[f"file, {rate} bpp"] = codec.labels(blob)
                decoded = np.asarray(codec.decode(blob))
                seen[f"the teacher, {rate} bpp"] = [first_of(teacher, decoded)]
            for name, labels in seen.items():
                _count(shares, f"{kind}: {name}", labels, truth, first, least)
            progress.advance()
    rows = {name: {"share": float(np.mean(hits)), "of": len(hits)} for name, hits in shares.items()}
    console.table(
        f"{codec.name}, certain from {least:g}",
        ("", "share", "of"),
        [(name, f"{row['share']:.1%}", row["of"]) for name, row in rows.items()],
    )
    options.keep(out, {"model": codec.identity.hex(), "least": least, "part": part, "shares": rows})


def _count(
    shares: dict[str, list[bool]], name: str, labels: Sequence[Label], truth: set[str],
    teacher: str, least: float,
) -> None:  # fmt: skip
    first = labels[0].wnid
    if name.startswith("classes"):
        shares[f"{name}: right"].append(first in truth)
        if teacher in truth:
            shares[f"{name}: right where the teacher is"].append(first in truth)
    shares[f"{name}: as the teacher"].append(first == teacher)
    shown = certain(labels, least)
    if not truth:
        return
    shares[f"{name}: certain"].append(shown is not None)
    if shown is not None:
        shares[f"{name}: certain and right"].append(related(shown.wnid, truth))


if __name__ == "__main__":
    options.run(main)
