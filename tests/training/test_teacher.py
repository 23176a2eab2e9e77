"""A head's teacher answers at the size of each crop that the recipe has."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from deepsic.recipes import recipe
from deepsic.training.objectives.terms import Step
from deepsic.training.start import new_net

pytest.importorskip("efficientnet_lite_pytorch", reason="the teacher comes with extra `tasks`")


def test_a_head_s_first_step_at_each_crop_size() -> None:
    made = recipe("head")
    small = replace(made, net=replace(made.net, width8=16, width16=16, context=16), start=())
    net = new_net(small)
    objective = small.objective.build(small.labels, torch.device("cpu"))
    module = objective.module(net)
    for crop in made.crops:
        labels = torch.tensor([-1])
        x = torch.rand(1, 3, crop.side, crop.side) * 255
        terms = objective(module, Step(x=x, labels=labels, number=0, seed=0))
        assert torch.isfinite(terms.loss)
        _, hint = objective.teacher.outputs(x / 255)
        assert hint.shape[-2:] == (crop.side // 8, crop.side // 8)
