"""The semantic module of two sizes: what a teacher gives it, and where it goes in model files."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.models.fourstage.config import FourStageConfig
from deepsic.models.fourstage.file import pack_four_stage, restore, with_labels
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.fourstage.semantic import SemanticModule
from deepsic.recipes import recipe
from deepsic.training.objectives.terms import Step
from deepsic.training.start import start_net
from tests.models.fourstage.test_start import images

SHORT = FourStageConfig(filters=12, width=8)
WHOLE = replace(SHORT, module="whole", classes=1000)


def grown(module: str = "whole") -> tuple[weights.ModelFile, FourStageNet]:
    """A model file of ten classes, and a net with its codec and a module of a thousand."""
    torch.manual_seed(0)
    file = pack_four_stage(
        FourStageNet(SHORT).eval(), images(2), (50,), steps=5, label_set="imagenette"
    )
    net = FourStageNet(replace(WHOLE, module=module))
    if module == "whole":
        net.adopt(restore(file))
    return file, net


def test_sizes_that_there_are() -> None:
    with pytest.raises(UsageError, match="none of short, whole"):
        FourStageConfig(module="tiny")
    features = torch.randn(2, 6, 9, 12)
    for size in ("short", "whole"):
        assert SemanticModule(6, 8, 5, size).eval()(features).shape == (2, 5)


def test_files_from_before_the_sizes_are_short() -> None:
    config = asdict(SHORT)
    del config["module"]
    assert FourStageConfig(**config) == SHORT


def test_behind_an_eighth_the_whole_module_is_the_teacher() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the teacher comes with extra `tasks`")
    from deepsic.training.teacher import Teacher

    teacher = Teacher("imagenet1k")
    module = SemanticModule(6, 8, 1000, "whole").eval()
    assert teacher.give_weights(module) == 11
    logits, maps = teacher.outputs(torch.rand(1, 3, 96, 128))
    with torch.no_grad():
        torch.testing.assert_close(module.classify(maps), logits, atol=1e-3, rtol=1e-3)
    assert teacher.give_weights(SemanticModule(6, 8, 10)) == 7


def test_a_module_that_grows_keeps_what_stands_before_the_classifier() -> None:
    file, net = grown()
    assert not net.has_trained_head
    short = restore(file)
    assert short.has_trained_head
    x, at = torch.from_numpy(images(1)[0]).permute(2, 0, 1)[None].float(), torch.tensor([0.5])
    with torch.no_grad():
        expected = short.eval().stem_features(short.seen(x, at)[1], at)
        torch.testing.assert_close(net.eval().stem_features(net.seen(x, at)[1], at), expected)


def test_a_step_trains_what_stands_before_the_teacher_s_layers_alone() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the teacher comes with extra `tasks`")
    _, net = grown()
    made = recipe("deepsic-head")
    (stage,) = made.stages
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not name.startswith(stage.frozen))
    objective = made.objective.build(made.labels, torch.device("cpu"))
    before = {name: value.clone() for name, value in net.train().state_dict().items()}
    x, labels = torch.rand(2, 3, 64, 64) * 255, torch.full((2,), -1)
    terms = objective(objective.module(net), Step(x=x, labels=labels, number=0, seed=0))
    torch.autograd.backward(terms.loss)
    reached = {n.split(".")[1] for n, p in net.named_parameters() if p.grad is not None}
    assert reached == {"first", "second", "pairs", "stem"}
    # Nor does a step move the scale that files have.
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


def test_the_recipe_starts_from_ten_classes(tmp_path: Path) -> None:
    file, _ = grown()
    path = tmp_path / "m.safetensors"
    weights.write(path, file)
    made = replace(recipe("deepsic-head"), net=WHOLE, start=(str(path),))
    net = start_net(made)
    assert not net.has_trained_head
    weights.write(path, with_labels(file, net, "imagenet1k", {}))
    assert start_net(made).has_trained_head
