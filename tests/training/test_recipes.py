"""Every recipe: complete, as JSON and back, on fake CUDA; options for every field."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepsic.errors import UsageError
from deepsic.losses import DistortionMix
from deepsic.models.sic.net import SicNet
from deepsic.recipes import RECIPES, recipe
from deepsic.training.objectives.joint import Joint
from deepsic.training.objectives.terms import Step
from deepsic.training.recipe import Recipe
from tests.training.made import TINY

ON_CUDA = """
import sys, warnings
warnings.simplefilter("ignore")
from dataclasses import replace
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from deepsic.recipes import recipe
from deepsic.training.objectives.terms import Step
from deepsic.training.start import new_net

with FakeTensorMode(), torch.device("cuda"):
    for name in sys.argv[1:]:
        made = replace(recipe(name), start=())
        net = new_net(made)
        objective = made.objective.build(made.labels, torch.device("cuda"))
        for integer in sorted({stage.integer for stage in made.stages}):
            net.set_quantised(integer)
            step = Step(
                x=torch.zeros(2, 3, 64, 64), labels=torch.zeros(2, dtype=torch.long),
                number=0, seed=0,
            )
            terms = objective(objective.module(net), step)
            assert terms.loss.device.type == "cuda", name
            assert {v.device.type for v in terms.parts.values()} == {"cuda"}, name
        print(name, flush=True)
"""
#: Recipes whose objective asks no network: torch can't load one's weights onto a fake device.
WITHOUT_NETWORK = ("sic", "small", "saic-tdic", "deepsic-pre", "deepsic-post", "deepsic-paper")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_json(name: str) -> None:
    made = recipe(name)
    assert made.name == name
    back = Recipe.from_json(made.to_json())
    assert back == made
    assert back.identity == made.identity
    assert replace(made, seed=7).identity != made.identity


def test_earlier_checkpoints_have_their_qualities_on_another_scale() -> None:
    made = recipe("sic-machine")
    lowest, highest = made.objective.qualities
    written = json.loads(made.to_json())
    del written["objective"]["qualities"]
    written["objective"] |= {"low": (lowest - 1) / 99, "high": (highest - 1) / 99}
    back = Recipe.from_json(json.dumps(written))
    assert back.objective.qualities == pytest.approx((lowest, highest))


@pytest.mark.parametrize("qualities", [(0, 50), (60, 50), (50, 101)])
def test_qualities_beyond_the_scale_are_refused(qualities: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="give 1 <= lowest"):
        Joint(qualities=qualities)


def test_unknown_names_and_versions_are_named() -> None:
    with pytest.raises(UsageError, match="choose from sic"):
        recipe("sick")
    with pytest.raises(UsageError, match="another version"):
        Recipe.from_json(recipe("small").to_json().replace('"steps"', '"strides"', 1))


@pytest.mark.parametrize("name", RECIPES)
def test_what_print_config_prints_are_options(name: str) -> None:
    pytest.importorskip("tyro")
    from pipelines.training.overrides import described, overridden

    made = recipe(name)
    changed = replace(made, seed=5, optimiser=replace(made.optimiser, ema=0.5))
    lines = [
        line
        for line in described(changed).splitlines()
        if "head.blocks" not in line and "head.early" not in line
    ]
    # What is empty or None is the default, and has nothing to be given.
    given = [line for line in lines if not line.endswith((" None", " ", " ''"))]
    assert overridden(made, shlex.split(" ".join(given))) == changed


def test_options_that_a_recipe_lacks_are_an_error() -> None:
    pytest.importorskip("tyro")
    from pipelines.training.overrides import overridden

    for words in (["--size", "full"], ["--stages.9.steps", "3"], ["--seed", "often"]):
        with pytest.raises(UsageError, match="print-config"):
            overridden(recipe("deepsic-pre"), words)


def test_no_cpu_tensor_meets_a_cuda_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_CUDA, *WITHOUT_NETWORK],
        capture_output=True, text=True, check=False, timeout=300,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.split() == list(WITHOUT_NETWORK), done.stderr[-2000:]


def test_networks_are_asked_in_turn_and_at_the_layers_named() -> None:
    torch.manual_seed(0)
    mix = DistortionMix(relative=1.0)
    x, net = torch.rand(1, 3, 64, 64) * 255, SicNet(TINY)
    steps = [Step(x=x, labels=torch.tensor([-1]), number=n, seed=0) for n in (0, 1)]
    networks = ("squeezenet", "squeezenet@features.3")
    working = Joint(distortion=mix, networks=networks).build("", torch.device("cpu"))
    errors = [float(working(net, step).parts["relative"]) for step in steps]
    assert errors[0] != pytest.approx(errors[1], rel=1e-3)
    wrong = Joint(distortion=mix, networks=("squeezenet@nowhere",)).build("", torch.device("cpu"))
    with pytest.raises(UsageError, match="no layer 'nowhere'"):
        wrong(net, steps[0])
