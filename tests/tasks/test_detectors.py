from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepsic.errors import InputError, UsageError
from deepsic.tasks import DETECTORS, load_detector
from deepsic.tasks.detector import COCO_CLASSES
from deepsic.tasks.fastestdet import FastestDet, _objects
from deepsic.tasks.torchvision_nets import _contiguous_labels


def test_fastestdet_wants_its_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="path"):
        load_detector("fastestdet")
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(InputError):
        load_detector("fastestdet", tmp_path / "w.pth")
    torch.save(FastestDet().state_dict(), tmp_path / "w.pth")
    load_detector("fastestdet", tmp_path / "w.pth")


def test_one_sure_cell_becomes_one_box() -> None:
    y = torch.zeros(85, 22, 22)
    y[0] = -20
    y[0, 11, 5] = 20  # objectness
    y[5 + 16, 11, 5] = 20  # dog
    found = _objects(y, width=440, height=220)
    assert found["labels"].tolist() == [COCO_CLASSES.index("dog")]
    assert found["scores"][0] > 0.99
    # centre 5/22, 11/22; half of width and height, by sigmoid(0); cut at the border
    torch.testing.assert_close(found["boxes"][0], torch.tensor([0.0, 55.0, 210.0, 165.0]))


def test_boxes_scale_with_the_image() -> None:
    torch.manual_seed(0)
    detector = FastestDet()
    small = torch.rand(3, 352, 352)
    found = detector.detect([small, small])
    assert len(found) == 2
    assert found[0]["boxes"].shape[1] == 4
    torch.testing.assert_close(found[0]["boxes"], found[1]["boxes"])
    assert detector.detect([]) == []
    with pytest.raises(UsageError):
        detector.detect(torch.rand(1, 1, 8, 8))


def test_torchvision_labels_lose_their_gaps() -> None:
    assert len(DETECTORS) > 5
    table = _contiguous_labels("fasterrcnn_resnet50_fpn")
    assert len(table) == 91
    assert table[[0, 1, -1]].tolist() == [-1, 0, 79]
    assert int((table >= 0).sum()) == len(COCO_CLASSES) == 80
    with pytest.raises(UsageError, match="fastestdet"):
        load_detector("yolo-100")
