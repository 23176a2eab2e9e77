"""Labelled images from local folders in the layouts that data sets come in.

    class_folder(root)            root/<wnid or name>/*.jpg: Imagenette, ImageNet subsets
    stl10(root, "test")           test_X.bin, test_y.bin
    pascal_voc(root, "val")       JPEGImages, Annotations, ImageSets/Main: VOC 2007, 2012
    yolo(root)                    images/*.jpg with labels/*.txt: COCO as YOLO writes it

Each gives a list of `LabelledImage`s in a fixed order. Nothing is downloaded and no pixel is read
until `LabelledImage.image()` asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import InputError
from deepsic.image_io.load import load_image
from deepsic.image_io.suffixes import is_image

__all__ = ["VOC_CLASSES", "Box", "LabelledImage", "class_folder", "pascal_voc", "stl10", "yolo"]

_STL10_SIDE = 96
_STL10_BYTES = 3 * _STL10_SIDE**2

VOC_CLASSES: tuple[str, ...] = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Box:
    """One annotated object."""

    corners: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels."""
    label: int
    """Number in the data set's list of classes."""
    difficult: bool = False
    """Pascal VOC leaves such objects out of its score."""


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One labelled image."""

    name: str
    """Unique in its data set: the path below its root, or a number."""
    read: Callable[[], NDArray[np.uint8]]
    """Reads the pixels, HxWx3 RGB."""
    label: int | None = None
    """Class number, where the data set has one class an image."""
    boxes: tuple[Box, ...] = ()

    def image(self) -> NDArray[np.uint8]:
        """The pixels, HxWx3 RGB, 0-255. Raises `InputError` if the file can't be read."""
        return self.read()


def _reader(path: Path) -> Callable[[], NDArray[np.uint8]]:
    return lambda: load_image(path).rgb


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"{path} is no folder")
    return path


def class_folder(root: str | Path, classes: Sequence[str] | None = None) -> list[LabelledImage]:
    """Images in one folder a class.

    Args:
        root: holds a folder for each class.
        classes: names in the order of their numbers, for instance the 1000 wnids of ImageNet;
            None numbers the folders found, sorted.

    Raises:
        InputError: no such folder, no image in it, or a folder that isn't in `classes`.
    """
    top = _folder(Path(root))
    folders = sorted(path for path in top.iterdir() if path.is_dir())
    order = {name: at for at, name in enumerate(classes or [path.name for path in folders])}
    samples = []
    for folder in folders:
        if folder.name not in order:
            raise InputError(f"{folder.name} in {top} is none of the {len(order)} classes")
        for path in sorted(folder.iterdir()):
            if is_image(path):
                name = f"{folder.name}/{path.name}"
                samples.append(
                    LabelledImage(name=name, read=_reader(path), label=order[folder.name])
                )
    if not samples:
        raise InputError(f"no image in the folders of {top}")
    return samples


def stl10(root: str | Path, split: str = "test") -> list[LabelledImage]:
    """STL-10's binary files: 96x96, ten classes numbered from 0 here (from 1 in the file).

    Pixels stay on disk until they are read. `split` is train, test or unlabeled.

    Raises:
        InputError: a file is missing, or its size is no multiple of an image's.
    """
    path = Path(root) / f"{split}_X.bin"
    if not path.is_file():
        raise InputError(f"{path} is missing; unpack stl10_binary.tar.gz there")
    size = path.stat().st_size
    if size == 0 or size % _STL10_BYTES:
        raise InputError(f"{path} has {size:,} bytes, no multiple of {_STL10_BYTES:,}")
    count = size // _STL10_BYTES
    # Planes are stored column by column.
    shape = (count, 3, _STL10_SIDE, _STL10_SIDE)
    pixels = np.memmap(path, np.uint8, "r", shape=shape)

    def reader(at: int) -> Callable[[], NDArray[np.uint8]]:
        return lambda: np.ascontiguousarray(pixels[at].transpose(2, 1, 0))

    labels = _stl10_labels(path.with_name(f"{split}_y.bin"), count, split)
    return [
        LabelledImage(name=f"{split}/{at}", read=reader(at), label=label)
        for at, label in enumerate(labels)
    ]


def _stl10_labels(path: Path, count: int, split: str) -> list[int | None]:
    if split == "unlabeled":
        return [None] * count
    if not path.is_file():
        raise InputError(f"{path} is missing")
    labels = np.fromfile(path, np.uint8)
    if len(labels) != count or labels.min() < 1 or labels.max() > 10:
        raise InputError(f"{path} doesn't hold {count} labels from 1 to 10")
    return [int(label) - 1 for label in labels]


def pascal_voc(
    root: str | Path,
    split: str | None = None,
    classes: Sequence[str] = VOC_CLASSES,
    only: Collection[str] | None = None,
) -> list[LabelledImage]:
    """Pascal VOC's layout, 2007 to 2012.

    Args:
        root: holds JPEGImages, Annotations and, for a split, ImageSets/Main/<split>.txt.
        split: train, val, trainval, test; None takes every annotation.
        classes: names in the order of their numbers.
        only: keep the objects of these classes; None keeps all.

    Raises:
        InputError: files are missing or damaged, or an object's class is unknown.
    """
    top = _folder(Path(root))
    if split is None:
        names = sorted(path.stem for path in _folder(top / "Annotations").glob("*.xml"))
    else:
        names = _lines(top / "ImageSets" / "Main" / f"{split}.txt")
    number = {name: at for at, name in enumerate(classes)}
    samples = []
    for name in names:
        boxes = _voc_boxes(top / "Annotations" / f"{name}.xml", number, only)
        read = _reader(top / "JPEGImages" / f"{name}.jpg")
        samples.append(LabelledImage(name=name, read=read, boxes=boxes))
    if not samples:
        raise InputError(f"no annotation in {top}")
    return samples


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def _voc_boxes(path: Path, number: dict[str, int], only: Collection[str] | None) -> tuple[Box, ...]:
    boxes = []
    try:
        for item in ElementTree.parse(path).getroot().iterfind("object"):
            name = item.findtext("name", "").strip()
            if only is not None and name not in only:
                continue
            corners = [float(item.findtext(f"bndbox/{c}", "nan")) for c in _CORNERS]
            difficult = item.findtext("difficult", "0").strip() == "1"
            boxes.append(
                Box((corners[0], corners[1], corners[2], corners[3]), number[name], difficult)
            )
            if not all(map(math.isfinite, corners)):
                raise ValueError(f"a box without corners: {name}")
    except KeyError as error:
        raise InputError(f"{path}: unknown class {error}") from None
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: {error}") from None
    return tuple(boxes)


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def yolo(root: str | Path) -> list[LabelledImage]:
    """Images in `images/` with a text file each in `labels/`, as COCO for YOLO comes.

    A line is "class x y width height", the centre and size as shares of the image. An image
    without a file has no object. Reads every image's size from its header.

    Raises:
        InputError: a folder is missing, there is no image, or a line is malformed.
    """
    top = _folder(Path(root))
    samples = []
    for path in sorted(_folder(top / "images").rglob("*")):
        if not is_image(path):
            continue
        below = path.relative_to(top / "images")
        boxes = _yolo_boxes(path, (top / "labels" / below).with_suffix(".txt"))
        samples.append(LabelledImage(name=str(below), read=_reader(path), boxes=boxes))
    if not samples:
        raise InputError(f"no image in {top / 'images'}")
    return samples


def _yolo_boxes(picture: Path, labels: Path) -> tuple[Box, ...]:
    if not labels.is_file():
        return ()
    width, height = _size(picture)
    boxes = []
    for row, line in enumerate(labels.read_text("utf-8").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        try:
            kind, x, y, w, h = int(fields[0]), *map(float, fields[1:5])
        except ValueError:
            raise InputError(f"{labels}, line {row}: not 'class x y width height'") from None
        corners = (
            (x - w / 2) * width,
            (y - h / 2) * height,
            (x + w / 2) * width,
            (y + h / 2) * height,
        )
        boxes.append(Box(corners, kind))
    return tuple(boxes)


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: {error}") from None
