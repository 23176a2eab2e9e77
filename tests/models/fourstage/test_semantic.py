"""The semantic module of a thousand classes: what it sees, learns, and its place in model files."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from deepsic import weights
from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.models.fourstage.config import FourStageConfig
from deepsic.models.fourstage.file import pack_four_stage, restore, with_labels
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.fourstage.semantic import WholeModule, resized
from deepsic.models.fourstage.start import begin
from deepsic.recipes import recipe
from deepsic.training.objectives.terms import Step
from deepsic.training.start import start_net
from tests.models.fourstage.test_start import images

SHORT = FourStageConfig(filters=12, width=8)
WHOLE = replace(SHORT, module="whole", classes=1000)


def grown() -> tuple[weights.ModelFile, FourStageNet]:
    """A model file of ten classes, and a net with its codec and a module of a thousand."""
    torch.manual_seed(0)
    file = pack_four_stage(
        FourStageNet(SHORT).eval(), images(2), (50,), steps=5, label_set="imagenette"
    )
    net = FourStageNet(WHOLE)
    net.adopt(restore(file))
    return file, net


def test_kinds_that_there_are() -> None:
    with pytest.raises(UsageError, match="none of short, whole"):
        FourStageConfig(module="tiny")


def test_files_from_before_the_kinds_are_short() -> None:
    config = asdict(SHORT)
    del config["module"]
    assert FourStageConfig(**config) == SHORT


def test_the_linear_map_is_found() -> None:
    """Features that are a linear map of an image give it back."""
    torch.manual_seed(0)
    module = WholeModule(12, 2, 5).eval()
    shown = [torch.from_numpy(image).permute(2, 0, 1)[None].float() for image in images(4)]
    mix = torch.linalg.qr(torch.randn(12, 12))[0]
    features = [
        torch.einsum("ij,bjhw->bihw", mix, functional.pixel_unshuffle(x - 127, 2)) / 100
        for x in shown
    ]
    assert not module.measured
    module.fit(features[:3], shown[:3])
    assert module.measured
    with torch.no_grad():
        assert (module.seen(features[3]) - shown[3]).abs().max() < 2


def test_large_images_are_seen_small() -> None:
    assert resized(torch.zeros(1, 3, 224, 224)).shape[2:] == (224, 224)
    assert resized(torch.zeros(1, 3, 512, 768)).shape[2:] == (183, 274)
    assert resized(torch.zeros(1, 3, 64, 96)).shape[2:] == (64, 96)


def test_a_codec_stays_as_its_module_grows_and_the_map_is_fitted() -> None:
    file, net = grown()
    assert not net.has_trained_head
    before = {n: v.clone() for n, v in net.state_dict().items() if not n.startswith("semantic.")}
    assert begin(net, images(2), trained=True)
    assert net.has_trained_head is False  # until it is trained, or comes from a file
    assert net.semantic.measured
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    codec = restore(file).state_dict()
    assert all(torch.equal(codec[name], value) for name, value in before.items())


def test_a_step_trains_what_stands_before_the_teacher_s_layers_alone() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the teacher comes with extra `tasks`")
    _, net = grown()
    made = recipe("deepsic-head")
    (stage,) = made.stages
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not name.startswith(stage.frozen))
    objective = made.objective.build(made.labels, torch.device("cpu"))
    assert objective.teacher.give_weights(net.semantic_module) == 16
    before = {name: value.clone() for name, value in net.train().state_dict().items()}
    x, labels = torch.rand(2, 3, 64, 64) * 255, torch.full((2,), -1)
    terms = objective(objective.module(net), Step(x=x, labels=labels, number=0, seed=0))
    torch.autograd.backward(terms.loss)
    reached = {n.split(".")[2] for n, p in net.named_parameters() if p.grad is not None}
    assert reached == {"first", "modulate", "early"}
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("look", ["pre", "post"])
def test_a_module_joins_a_file_whose_codec_stays(tmp_path: Path, look: str) -> None:
    file, net = grown()
    file = replace(file, preset=f"deepsic-{look}", config=file.config | {"semantics": look})
    codecs = []
    for name, made in ((f"a{look}", file), ("b", with_labels(file, net, "imagenet1k", {}))):
        weights.write(tmp_path / f"{name}.safetensors", made)
        codecs.append(Codec.load(tmp_path / f"{name}.safetensors", device="cpu"))
    first, second = codecs
    rgb = images(1)[0]
    blobs = [codec.encode(rgb, quality=50) for codec in codecs]
    streams = [codec.encode(rgb, quality=50, labels=False) for codec in codecs]
    assert len(streams[0]) == len(streams[1])
    assert np.array_equal(first.decode(blobs[0]), second.decode(blobs[1]))
    assert len(second.labels(blobs[1], top=5)) == 5
    assert second.read(rgb, quality=50)[0].wnid


def test_the_recipe_starts_from_ten_classes_and_from_its_own(tmp_path: Path) -> None:
    file, _ = grown()
    path = tmp_path / "m.safetensors"
    weights.write(path, file)
    made = replace(recipe("deepsic-head"), net=WHOLE, start=(str(path),))
    net = start_net(made)
    assert not net.has_trained_head
    begin(net, images(2), trained=True)
    weights.write(path, with_labels(file, net, "imagenet1k", {}))
    assert start_net(made).has_trained_head
