from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepsic.data.readers import class_folder, pascal_voc, stl10, yolo
from deepsic.errors import InputError

VOC = """<annotation><object><name>{name}</name><difficult>1</difficult>
<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30.5</xmax><ymax>40</ymax></bndbox></object>
<object><name>person</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>
</object></annotation>"""


def image(path: Path, size: tuple[int, int] = (40, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 100, 50)).save(path)
    return path


def test_class_folder_numbers_as_asked(tmp_path: Path) -> None:
    image(tmp_path / "n02" / "b.png")
    image(tmp_path / "n01" / "a.png")
    (tmp_path / "n01" / "readme.txt").write_text("not an image")
    assert [(s.name, s.label) for s in class_folder(tmp_path)] == [
        ("n01/a.png", 0),
        ("n02/b.png", 1),
    ]
    assert [s.label for s in class_folder(tmp_path, ["n09", "n02", "n01"])] == [2, 1]
    assert class_folder(tmp_path)[0].image().shape == (20, 40, 3)
    with pytest.raises(InputError, match="n02"):
        class_folder(tmp_path, ["n01"])
    with pytest.raises(InputError, match="no folder"):
        class_folder(tmp_path / "none")


def test_stl10_turns_its_columns_into_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    images.transpose(0, 3, 2, 1).tofile(tmp_path / "test_X.bin")
    np.array([1, 10, 4], np.uint8).tofile(tmp_path / "test_y.bin")
    samples = stl10(tmp_path, "test")
    assert [s.label for s in samples] == [0, 9, 3]
    np.testing.assert_array_equal(samples[1].image(), images[1])
    np.array([1, 10], np.uint8).tofile(tmp_path / "test_y.bin")
    with pytest.raises(InputError, match="3 labels"):
        stl10(tmp_path, "test")
    (tmp_path / "train_X.bin").write_bytes(b"abc")
    with pytest.raises(InputError, match="multiple"):
        stl10(tmp_path, "train")


def test_pascal_voc(tmp_path: Path) -> None:
    image(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(VOC.format(name="dog"))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a  1\n")
    (sample,) = pascal_voc(tmp_path, "val", only={"dog"})
    assert sample.boxes[0].corners == (10, 20, 30.5, 40)
    assert (sample.boxes[0].label, sample.boxes[0].difficult) == (11, True)
    assert len(pascal_voc(tmp_path)[0].boxes) == 2
    (tmp_path / "Annotations" / "a.xml").write_text(VOC.format(name="unicorn"))
    with pytest.raises(InputError, match="unicorn"):
        pascal_voc(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation><object>")
    with pytest.raises(InputError):
        pascal_voc(tmp_path)


def test_yolo(tmp_path: Path) -> None:
    image(tmp_path / "images" / "a.png")
    image(tmp_path / "images" / "b.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("16 0.5 0.5 0.25 1.0\n\n")
    a, b = yolo(tmp_path)
    assert a.boxes[0].corners == (15, 0, 25, 20)
    assert a.boxes[0].label == 16
    assert b.boxes == ()
    (tmp_path / "labels" / "b.txt").write_text("16 0.5\n")
    with pytest.raises(InputError, match="line 1"):
        yolo(tmp_path)


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "n01").mkdir()
    (tmp_path / "n01" / "a.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    (sample,) = class_folder(tmp_path)
    with pytest.raises(InputError, match=r"a\.jpg"):
        sample.image()
