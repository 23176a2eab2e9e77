"""The second paper: one net of a fixed rate, trained for pixels first (TDIC), then for maps (APIC)
or for maps weighed by gradients (SAIC), from that common start (section 4.4)."""

from __future__ import annotations

from dataclasses import replace

from deepsic.losses import DistortionMix
from deepsic.models.saic.net import BinaryConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["saic_apic", "saic_saic", "saic_tdic"]

_NETWORK = "efficientnet-lite0"


def saic_tdic() -> Recipe[BinaryConfig, Joint]:
    """The first stage: squared error (Eq. 5), at 0.125 bpp; 16 and 32 `net.bits` give 0.25 and 0.5.

    Section 4.2: Adam at 1e-5, batches of 32, 2 to 3 x 10^4 iterations; ours starts at random and
    needs a larger rate.
    """
    return Recipe(
        name="saic-tdic",
        preset="saic",
        net=BinaryConfig.for_bpp(0.125),
        objective=Joint(lambda1=0.0145),
        stages=(Stage(steps=20_000, learning_rate=1e-3, floor=0.05, warmup=100),),
        crops=(CropSize(side=224, batch=8),),
        optimiser=Optimiser(ema=0.999),
        data=("imagenette/train",),
    )


def saic_apic() -> Recipe[BinaryConfig, Joint]:
    """The second stage for maps (section 4.3). Give the first stage's model as `--start`."""
    return _second("saic-apic", DistortionMix(feature=1.0))


def saic_saic() -> Recipe[BinaryConfig, Joint]:
    """The second stage with semantic weights (Eq. 10). Give the first stage's model as
    `--start`; `objective.semantic-weights dataset` takes Algorithm 1's step 2."""
    return _second("saic-saic", DistortionMix(semantic=1.0))


def _second(name: str, mix: DistortionMix) -> Recipe[BinaryConfig, Joint]:
    first = saic_tdic()
    return replace(
        first,
        name=name,
        objective=Joint(distortion=mix, networks=(_NETWORK,), lambda1=0.0145),
        stages=(Stage(steps=20_000, learning_rate=2e-4, floor=0.05, warmup=20),),
        optimiser=Optimiser(ema=0.99),
    )
