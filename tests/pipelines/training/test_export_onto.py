"""A semantic module that was trained alone joins the codec that it began with, or another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepsic import weights
from deepsic.errors import UsageError
from deepsic.models.fourstage.config import FourStageConfig
from deepsic.models.fourstage.file import pack_four_stage
from deepsic.models.fourstage.net import FourStageNet
from deepsic.recipes import recipe
from deepsic.training.checkpoint import write_checkpoint
from deepsic.training.start import start_net
from pipelines.training.export import export
from pipelines.training.sources import Images
from tests.models.fourstage.test_start import images as photographs
from tests.training.made import images

SHORT = FourStageConfig(filters=12, width=8)


def codec(folder: Path, look: str, seed: int) -> Path:
    torch.manual_seed(seed)
    net = FourStageNet(replace(SHORT, semantics=look)).eval()
    path = folder / f"{look}.safetensors"
    file = pack_four_stage(net, photographs(1), (50,), steps=5, label_set="imagenette")
    weights.write(path, file)
    return path


def test_one_module_for_two_codecs(tmp_path: Path) -> None:
    pre, post = codec(tmp_path, "pre", 0), codec(tmp_path, "post", 1)
    made = replace(
        recipe("deepsic-head"),
        net=replace(SHORT, classes=1000, module="whole"),
        start=(str(pre),),
    )
    state = start_net(made).state_dict()
    checkpoint = tmp_path / "state.pt"
    write_checkpoint(checkpoint, {"recipe": made.to_json(), "net": {}, "average": state, "step": 3})
    held = images(count=1)
    data = Images(training=held, held_out=held, labels="imagenet1k", about={})
    for onto, source in ((None, pre), (str(post), post)):
        out = tmp_path / "out.safetensors"
        export(checkpoint, out, images=data, onto=onto)
        before, after = weights.read(source), weights.read(out)
        assert after.preset == before.preset
        assert after.label_set == "imagenet1k"
        for name, value in before.tensors.items():
            if not name.startswith("net.semantic."):
                assert torch.equal(after.tensors[name], value), name
        module = after.tensors["net.semantic.head.full2.weight"]
        assert module.shape == (1000, 1280)
    with pytest.raises(UsageError, match="of preset sic, the head of deepsic-pre"):
        export(checkpoint, out, images=data, onto="sic-1")
    trained = replace(recipe("deepsic-pre"), net=SHORT)
    net = FourStageNet(SHORT).state_dict()
    write_checkpoint(
        checkpoint, {"recipe": trained.to_json(), "net": {}, "average": net, "step": 3}
    )
    with pytest.raises(UsageError, match="leave --onto out"):
        export(checkpoint, out, images=data, onto=str(post))
