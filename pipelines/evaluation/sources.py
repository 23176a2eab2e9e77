"""Which images to measure, and what is known of each: class, objects.

Layouts that are recognised by themselves:
    any folder or s3:// prefix        images, no truth: agreement with the uncompressed alone
    .../n02102040/x.jpg               the class by its wnid, or by its name in ImageNet's list
    images/ + labels/*.txt            COCO's boxes as YOLO writes them (a local folder)
    JPEGImages/ + Annotations/*.xml   Pascal VOC (a local folder)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.data.photographs import PHOTOGRAPHS, photographs
from deepsic.errors import InputError, UsageError
from deepsic.evaluation.measure import Subject
from deepsic.image_io.suffixes import is_image
from pipelines.storage import open_storage, selected

__all__ = ["EMBEDDED", "ImageRef", "annotated_classes", "find_images", "read_image"]

#: Photographs that are measured where no folder is given, without their endings.
EMBEDDED = tuple(name.rpartition(".")[0] for name in PHOTOGRAPHS[:4])
#: Pascal VOC's names for what COCO calls otherwise.
_VOC_TO_COCO = {
    "airplane": "aeroplane", "dining table": "diningtable", "motorcycle": "motorbike",
    "potted plant": "pottedplant", "couch": "sofa", "tv": "tvmonitor",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    """An image to measure: small, so that it travels to any worker."""

    source: str | None
    """Folder or s3:// prefix; None for an embedded image."""
    key: str
    """Path below the source, or the embedded image's name."""
    label: int | None = None
    """ImageNet class number."""
    boxes: dict[str, Any] | None = None
    """True objects: `boxes` (x1, y1, x2, y2) and `labels` in COCO's numbers."""


def find_images(
    source: str | None, *, include: Sequence[str] = (), limit: int | None = None
) -> list[ImageRef]:
    """The images of a folder, an s3:// prefix or, without either, those embedded; sorted.

    Args:
        include: patterns of keys or file names, such as "ILSVRC2012_val_*"; empty: all.
        limit: take at most so many, spread evenly over the sorted names.

    Raises: `InputError` if there is none; `StorageError` if the source can't be listed.
    """
    if source is None:
        return [ImageRef(source=None, key=name) for name in EMBEDDED][:limit]
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit} must be positive")
    storage = open_storage(source)
    storage.check()
    keys = [
        item.key for item in storage.list() if is_image(item.key) and selected(item.key, include)
    ]
    if not keys:
        called = f" called {' or '.join(include)}" if include else ""
        raise InputError(f"no image{called} in {source}")
    if limit is not None and limit < len(keys):
        keys = [keys[index * len(keys) // limit] for index in range(limit)]
    boxes = {} if "://" in source else _boxes(Path(source))
    numbers = _class_numbers()
    return [
        ImageRef(source=source, key=key, label=numbers.get(_folder(key)), boxes=boxes.get(key))
        for key in keys
    ]


def read_image(ref: ImageRef) -> Subject:
    """Read and decode an image. Raises: `InputError`, `StorageError`."""
    return Subject(name=ref.key, rgb=_pixels(ref), label=ref.label, boxes=ref.boxes)


def annotated_classes(images: Iterable[ImageRef]) -> list[int] | None:
    """COCO's numbers of all classes that occur among true objects; None if nothing is annotated."""
    found = {label for ref in images if ref.boxes for label in ref.boxes["labels"]}
    return sorted(found) or None


def _pixels(ref: ImageRef) -> NDArray[np.uint8]:
    from deepsic.image_io.load import load_image

    if ref.source is not None:
        return load_image(open_storage(ref.source).get(ref.key).data).rgb
    return next(load_image(path).rgb for path in photographs() if path.stem == ref.key)


def _folder(key: str) -> str:
    return PurePosixPath(key).parent.name


def _class_numbers() -> dict[str, int]:
    """Folder name → ImageNet class number: wnids, and names where only one class bears it."""
    from deepsic.labels import label_set

    leaves = label_set("imagenet1k").classes()
    numbers = {node.wnid: node.number for node in leaves if node.number is not None}
    names = [node.name for node in leaves]
    numbers |= {
        node.name: node.number
        for node in leaves
        if node.number is not None and names.count(node.name) == 1
    }
    return numbers


def _boxes(root: Path) -> dict[str, dict[str, Any]]:
    """Key → true objects, for the two layouts of detection sets."""
    from deepsic.data.readers import LabelledImage, pascal_voc, yolo

    if (root / "Annotations").is_dir() and (root / "JPEGImages").is_dir():
        samples, prefix, suffix = pascal_voc(root, classes=coco_as_voc()), "JPEGImages/", ".jpg"
    elif (root / "labels").is_dir() and (root / "images").is_dir():
        samples, prefix, suffix = yolo(root), "images/", ""
    else:
        return {}

    def truth(sample: LabelledImage) -> dict[str, Any]:
        kept = [box for box in sample.boxes if not box.difficult]
        return {"boxes": [list(b.corners) for b in kept], "labels": [b.label for b in kept]}

    return {f"{prefix}{sample.name}{suffix}": truth(sample) for sample in samples}


def coco_as_voc() -> Sequence[str]:
    """COCO's classes in order, in VOC's spelling."""
    from deepsic.tasks.detector import COCO_CLASSES

    return [_VOC_TO_COCO.get(name, name) for name in COCO_CLASSES]
