"""One look: latents moved once, towards what the networks that will look at an image miss.

>>> from deepsic import Codec, Look
>>> codec = Codec.load("sic-machine")
>>> look = Look.load("sic-machine", ["efficientnet-lite0"])
>>> blob = codec.encode("photo.jpg", quality=20, refiner=look)

The decoded image is shown to the networks, and the gradient of what they lose goes back to the
latents: through the wavelet, which is linear and all but orthonormal, so that its adjoint is the
wavelet itself. A latent moves against it by a small share of a step. Few symbols change, and those
that do were nearly rounded that way: this is rounding that knows what networks are sensitive to,
from one backward pass (cf. input-dependent squared error, arXiv 2504.02216).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic import weights
from deepsic.errors import UnknownModelError, UsageError
from deepsic.losses import Distortion, DistortionMix
from deepsic.models.device import device_named, has_bf16
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.layout import F32
from deepsic.models.sic.model_file.loading import unpack
from deepsic.models.sic.wavelet import bands, lifting_cpu
from deepsic.models.tiles.tiling import pad
from deepsic.refiner.kept import REFINED, check_size, kept, networks_of

if TYPE_CHECKING:
    from deepsic.tasks import Observer

__all__ = ["Look"]

WAY = 0.05
"""How far a latent moves whose gradient is as large as is usual, in quantisation steps."""
MOST = 0.5
"""How far any moves."""


class Look:
    """One model with the networks that it looks through. Make it with `Look.load`.

    Args:
        engine: of the model that encodes, on a CPU.
        identity: of that model.
        networks: frozen; their gradients are added.
        mix: what is kept of an image for classifiers; pixels don't count.
        device: where networks run.

    Raises:
        UsageError: no network, or a mix that asks none.
    """

    zone = 1.0
    """Stretches dead zones, as `Feedback.zone` does."""

    def __init__(
        self,
        engine: SicEngine,
        identity: bytes,
        networks: Sequence[Observer],
        *,
        mix: DistortionMix = REFINED,
        device: str | torch.device = "cpu",
    ) -> None:
        if not networks or not mix.needs_network:
            raise UsageError("a look needs a network to look through, and a mix that asks it")
        self.engine, self.identity, self.device = engine, identity, torch.device(device)
        self.distortions = [
            Distortion(replace(kept(network, mix), pixel=0.0, structure=0.0), network)
            for network in networks
        ]

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str],
        networks: Sequence[str],
        *,
        mix: DistortionMix = REFINED,
        device: str = "auto",
    ) -> Look:
        """Load a model and networks. Arguments and errors as `Refiner.load`."""
        path = weights.resolve(model)
        file = weights.read_arrays(path)
        if file.preset != "sic":
            raise UnknownModelError(f"only preset sic can be refined, not {file.preset}")
        where = device_named(device)
        found = networks_of(networks, where)
        return cls(unpack(file), weights.identity_of(path), found, mix=mix, device=where)

    def latents(self, rgb: NDArray[np.uint8], quality: int, tuning: int = 0) -> tuple[F32, F32]:
        """Latents of an image, moved once. Arguments, returns and errors as `Refiner.latents`."""
        check_size(rgb)
        engine = self.engine.tuned(tuning)
        v8, v16, _ = engine.analyse(pad(rgb), quality)
        drawn = engine.synthesise(engine.coded(v8, v16, quality)[1], quality)
        _, step8, step16 = engine.transforms.steps(quality)
        c8 = lifting_cpu.forward_planes(self._lost(drawn, rgb))
        c16 = lifting_cpu.forward16(np.ascontiguousarray(c8[..., : bands.LL]))
        g8, g16 = c8[..., bands.LL :] * step8, c16 * step16
        usual = _usual((v8, v16), (g8, g16))
        if usual > 0:
            v8, v16 = (
                v - np.clip(np.float32(WAY / usual) * g, -MOST, MOST, dtype=np.float32)
                for v, g in ((v8, g8), (v16, g16))
            )
        return v8, v16

    def _lost(self, drawn: NDArray[np.uint8], rgb: NDArray[np.uint8]) -> F32:
        """Gradient of what networks lose by a decoded image (H', W', 3) in place of one (H, W, 3):
        (3, H', W'), by rotated colours."""
        height, width = rgb.shape[:2]
        fast = self.device.type == "cuda" or has_bf16()
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=fast)
        # A caller may be in inference mode; gradients are needed whatever it does.
        with torch.inference_mode(False), torch.enable_grad(), half:
            meant, seen = self._planes(rgb), self._planes(drawn).requires_grad_()
            shown = seen[..., :height, :width]
            lost = [d(shown, meant, d.targets(meant))["total"].sum() for d in self.distortions]
            (gradient,) = torch.autograd.grad(torch.stack(lost).sum(), seen)
        rotation = torch.from_numpy(lifting_cpu.ROTATION).to(gradient)
        turned = torch.einsum("dc,chw->dhw", rotation, gradient[0])
        planes: F32 = turned.contiguous().cpu().numpy()
        return planes

    def _planes(self, rgb: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) to (1, 3, H, W) in [0, 1] on the networks' device."""
        x = torch.tensor(rgb, device=self.device)
        return x.permute(2, 0, 1)[None].float() / 255


def _usual(latents: tuple[F32, F32], gradients: tuple[F32, F32]) -> float:
    """Root mean square of the gradients of latents that aren't coded as zero."""
    found: list[Any] = [g[np.abs(v) > 0.5] for v, g in zip(latents, gradients, strict=True)]
    each = np.concatenate(found)
    return float(np.sqrt(np.mean(np.square(each, dtype=np.float64)))) if each.size else 0.0
