"""What all trials of a search share: the net that they start from, measured at each target rate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deepsic import atomic
from deepsic.losses import DistortionMix
from deepsic.models import registry
from deepsic.models.semantic.joint import JointNet
from deepsic.tasks import load_classifier
from deepsic.training.data.crops import CropSize
from deepsic.training.data.images import ImageSet, Pixels
from deepsic.training.evaluator import Evaluation, evaluate, position_for
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage
from deepsic.training.start import from_checkpoint, model_file_of
from pipelines.models import kept, model_file
from pipelines.training.sources import Images, open_images
from pipelines.tuning.job import TuneJob

__all__ = [
    "Start", "StartFile", "images_of", "measure_start", "read_start", "recipe_of", "squares",
    "write_start",
]  # fmt: skip

HOLD_OUT = 5
"""Every n-th file is evaluated on and never trained on."""
_AROUND = 0.08
"""Share of the quality scale that is trained on either side of the target's place."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What the start is worth at one target rate."""

    position: float
    """On the quality scale, 0 .. 1."""
    found: Evaluation


@dataclass(frozen=True, kw_only=True)
class StartFile:
    """The model or checkpoint that all trials start from, on its way to every node."""

    name: str
    data: bytes

    @classmethod
    def of(cls, place: str) -> StartFile:
        """A model's name, path or place on s3://.

        Raises:
            UnknownModelError: no such model.
        """
        path = model_file(place)
        return cls(name=path.name, data=path.read_bytes())

    def find(self, _: str) -> Path:
        """The file on this node, whatever a recipe calls it."""
        return kept(self.name, self.data)

    def net(self) -> tuple[str, Any]:
        """Preset and net, without its head.

        Raises:
            InputError: a checkpoint that can't be read.
            UnknownModelError: a model that nothing trains on.
        """
        file = model_file_of(self.name, self.find)
        if file is None:
            net, recipe = from_checkpoint(self.find(self.name))
            return recipe.preset, net.codec if isinstance(net, JointNet) else net
        return file.preset, registry.load(registry.preset(file.preset).restore)(file)


def images_of(job: TuneJob) -> Images:
    """The images of a search.

    Raises: as `open_images`.
    """
    return open_images(job.data, labels="", hold_out=HOLD_OUT, count=job.validation_images)


def measure_start(job: TuneJob, file: StartFile, rates: Sequence[float]) -> dict[float, Start]:
    """Evaluate the start at each target rate, on this process's device.

    Raises:
        InputError: a checkpoint that can't be read; no images.
        UnknownModelError: no such model.
        UsageError: a net that has no rate to choose, or can't go as low.
    """
    _, net = file.net()
    net = net.to(job.device).eval()
    net.set_quantised(True)
    classifier = load_classifier(job.classifier).to(job.device)
    images = squares(images_of(job).held_out, job.side)
    made = {}
    for bpp in rates:
        position = position_for(net, images[:: max(1, len(images) // 16)], bpp)
        made[bpp] = Start(position=position, found=evaluate(net, images, classifier, bpp=bpp))
    return made


def recipe_of(
    job: TuneJob, file: StartFile, start: Start, config: Mapping[str, Any]
) -> Recipe[Any, Joint]:
    """What a trial trains: the start, at its target rate, with its lambda and tau."""
    preset, net = file.net()
    return Recipe(
        name="tune-saic",
        preset=preset,
        net=net.config,
        objective=Joint(
            distortion=DistortionMix(
                pixel=config.get("pixel", job.pixel), semantic=config["lam"], tau=config["tau"],
                layer=config.get("layer", job.layer),
            ),
            networks=(job.classifier,),
            qualities=(
                1 + 99 * max(0.0, start.position - _AROUND),
                1 + 99 * min(1.0, start.position + _AROUND),
            ),
        ),
        stages=(
            Stage(
                steps=job.steps, learning_rate=config.get("lr", job.learning_rate), floor=0.05,
                warmup=min(20, job.steps // 10), integer=True,
            ),
        ),
        crops=(CropSize(side=job.side, batch=job.batch),),
        optimiser=Optimiser(ema=0.99, shares={"gains": 10.0} if "gains" in net.groups() else {}),
        start=(job.start,),
        hold_out=HOLD_OUT,
        seed=job.seed,
    )  # fmt: skip


def squares(images: ImageSet, side: int) -> Tensor:
    """The middle of each image as uint8 (N, 3, side, side), the shorter side made `side` long."""
    made = [_square(images.image(k), side) for k in range(len(images))]
    return torch.from_numpy(np.stack(made).transpose(0, 3, 1, 2).copy())


def _square(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    resized = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def write_start(starts: Mapping[float, Start], path: Path) -> None:
    """Keep them beside the search, so that it resumes with the same numbers on any machine."""
    values = {bpp: asdict(s) for bpp, s in starts.items()}
    atomic.write(path, json.dumps(values, indent=1).encode())


def read_start(path: Path) -> dict[float, Start]:
    """Inverse of `write_start`."""
    return {
        float(bpp): Start(position=s["position"], found=Evaluation(**s["found"]))
        for bpp, s in json.loads(path.read_text("utf-8")).items()
    }
