"""The four-stage net: Eq. 2, `x_hat = g(Q^-1(Q(f(x))))`, with the rate and the labels.

    x -> Extraction -> f -> / step -> Q -> n (six bits) -> * step -> Reconstruction -> x_hat
                       |                                 |
                       '-> h (pre-semantic)              '-> h (post-semantic)

In the paper f lies in [-1, 1), the step is 1/32 and each rate has a net of its own. Ours divides
by a step that quality chooses, so that one net has all rates. Six bits then are few for a local
mean at a fine step: such a feature is given several channels, each of which holds one stretch of
its range (`enter`) and rests at an end of it elsewhere (`leave`), where it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.models.blocks import QualityTable
from deepsic.models.fourstage.config import OURS, FourStageConfig
from deepsic.models.fourstage.density import ChannelDensity, rate
from deepsic.models.fourstage.quantiser import levels, round_levels
from deepsic.models.fourstage.semantic import SemanticModule, WholeModule
from deepsic.models.fourstage.stages import Extraction, Reconstruction
from deepsic.models.quality import base_step
from deepsic.models.semantic.head import SemanticHead

__all__ = ["HALF_RANGE", "FourStageNet", "FourStageOutput"]

HALF_RANGE = 127.5
"""Pixel values to [-1, 1]: x / 127.5 - 1."""

_SEMANTIC = "semantic."


@dataclass(kw_only=True)
class FourStageOutput:
    """What one pass over a batch gives."""

    x_hat: Tensor
    """(B, 3, H, W), RGB in [0, 255], not clamped."""
    bits: Tensor
    """(B,), bits an image by Eq. 6; files take fewer, their contexts see neighbours."""
    features: Tensor
    """f(x), (B, filters, H / s, W / s)."""
    logits: tuple[Tensor, ...]
    """Of the semantic module, (B, classes), if they were asked for."""


class FourStageNet(nn.Module):
    """RGB (B, 3, H, W) in [0, 255], sides multiples of the stride, to `FourStageOutput`."""

    rated = True
    """Whether what is read before rounding depends on the rate: see `shared`."""
    enter: Tensor
    leave: Tensor
    gain_mask: Tensor

    def __init__(self, config: FourStageConfig | None = None) -> None:
        super().__init__()
        c = config or OURS
        self.config = c
        self.extraction = Extraction(c)
        self.reconstruction = Reconstruction(c)
        self.density = ChannelDensity(c.filters)
        self._grown = False
        self.semantic: SemanticModule | WholeModule = (
            WholeModule(c.filters, c.stride, c.classes)
            if c.module == "whole"
            else SemanticModule(c.filters, c.width, c.classes)
        )
        self.gain = QualityTable(c.filters)
        self.mirror_x = nn.Parameter(torch.ones(c.filters))
        self.mirror_y = nn.Parameter(torch.ones(c.filters))
        # Levels taken off before rounding, and added after it; see `start.py`.
        self.register_buffer("enter", torch.zeros(c.filters))
        self.register_buffer("leave", torch.zeros(c.filters))
        self.register_buffer("gain_mask", torch.ones(c.filters))

    def train(self, mode: bool = True) -> FourStageNet:
        """Training mode; normalisation in the stages stays fixed unless the config says not to."""
        super().train(mode)
        if not self.config.batch_statistics:
            self.extraction.eval()
            self.reconstruction.eval()
        return self

    def steps(self, position: Tensor) -> tuple[Tensor | None, Tensor]:
        """Width of a level at positions (B,): for all (B, 1, 1, 1), and by channel (B, C, 1, 1).

        The first is None in a net of one rate.
        """
        if not self.config.many_rates:
            unit = 1.0 / (1 << (self.config.bits - 1))
            shape = (len(position), self.config.filters, 1, 1)
            return None, torch.full(shape, unit, device=position.device)
        step = base_step(position)[:, None, None, None] / HALF_RANGE
        return step, step * (self.gain(position) * _channels(self.gain_mask)).exp()

    def analyse(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Float features f(x) (B, C, H / s, W / s), and the same in levels, not yet rounded."""
        step, steps = self.steps(position)
        x = x / HALF_RANGE - 1
        s = self.config.stride
        if self.config.mirror:
            f = self.extraction(_reflected(x, s), step)[..., 1:-1, 1:-1]
        else:
            f = self.extraction(x, step)
        return f, f / steps - _channels(self.enter)

    def dequantise(self, n: Tensor, position: Tensor) -> Tensor:
        """Q^-1: levels (B, C, h, w) to features."""
        return (n + _channels(self.leave)) * self.steps(position)[1]

    def shared(self, w: Tensor, position: Tensor, rounded: bool = False) -> Tensor:
        """What the semantic module shares with the code, of features in levels (B, C, h, w).

        Pre-semantic it is f(x), in float precision; post-semantic (`rounded`) it is Q^-1(Q(f(x))).
        In the paper each rate has features of its own, fewer at low rates. Where one net serves all
        rates, f(x) would be the same at every rate: there the module sees those features that the
        rate lets through, which are those that Q doesn't bring to rest.
        """
        c = self.config
        n = round_levels(w, c.bits, c.dead_zone).detach()
        if rounded:
            return self.dequantise(n, position)
        if not c.many_rates:
            return (w + _channels(self.enter)) * self.steps(position)[1]
        kept = w.clamp(*levels(c.bits)) + _channels(self.leave)
        passes = n + _channels(self.leave) != 0
        return torch.where(passes, kept, torch.zeros_like(kept)) * self.steps(position)[1]

    def synthesise(self, v: Tensor, position: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 255], not clamped, of dequantised features."""
        step, _ = self.steps(position)
        s = self.config.stride
        if self.config.mirror:
            x = self.reconstruction(self._continued(v), step)[..., s:-s, s:-s]
        else:
            x = self.reconstruction(v, step)
        return (x.float() + 1) * HALF_RANGE

    def masses(self, n: Tensor, position: Tensor, fixed: bool = False) -> Tensor:
        """Eq. 5 of levels (B, C, h, w); if `fixed`, density and gain take no gradient."""
        steps = self.steps(position)[1]
        to_feature = steps.detach() if fixed else steps, _channels(self.enter)
        return self.density.masses(n, to_feature, self.config.bits, fixed)

    def set_quantised(self, quantised: bool) -> None:
        """This net's density is learnt in floats; files have a bit classifier in integers.

        Raises:
            UsageError: an integer grid is asked for.
        """
        if quantised:
            raise UsageError("the first paper's presets have no probability nets in integers")

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`linear`, the path that the linear start fills: more than little undoes it; `blocks`,
        the semantic module's inverted residuals."""
        linear: list[nn.Parameter] = [self.mirror_x, self.mirror_y]
        stages = [*self.extraction.parts(), *self.reconstruction.parts()]
        in_steps = [*self.extraction.in_steps, *self.reconstruction.in_steps]
        for stage, stays in zip(stages, in_steps, strict=True):
            linear += [] if stays else list(stage.parameters())
        return {"linear": linear, "blocks": list(self.semantic.blocks.parameters())}

    @property
    def semantic_module(self) -> SemanticModule | SemanticHead:
        """What a teacher may give its first weights to."""
        return self.semantic.head if isinstance(self.semantic, WholeModule) else self.semantic

    @property
    def has_trained_head(self) -> bool:
        """Whether the semantic module has seen images, all of it."""
        return not self._grown and self.semantic.measured

    def adopt(self, source: FourStageNet) -> None:
        """Take a net's weights; without its semantic module where that is of another kind.

        Raises:
            RuntimeError: other sizes.
        """
        state = source.state_dict()
        self._grown = source.config.module != self.config.module
        if self._grown:
            state = {k: v for k, v in state.items() if not k.startswith(_SEMANTIC)}
            state |= {k: v for k, v in self.state_dict().items() if k.startswith(_SEMANTIC)}
        self.load_state_dict(state)

    def seen(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """The semantic module's input of RGB (B, 3, H, W), before rounding and after it."""
        _, w = self.analyse(x, position)
        before, after = (self.shared(w, position, rounded) for rounded in (False, True))
        return self.semantic.seen(before), self.semantic.seen(after)

    def stem_features(self, seen: Tensor, position: Tensor) -> Tensor:
        """As `SemanticModule.stem_features`."""
        return self.semantic.stem_features(seen, position)

    def classify(self, features: Tensor) -> Tensor:
        """As `SemanticModule.classify`."""
        return self.semantic.classify(features)

    def forward(self, x: Tensor, position: Tensor, look: bool = False) -> FourStageOutput:
        """One pass; without `look` the semantic module rests and `logits` are empty."""
        c = self.config
        f, w = self.analyse(x, position)
        inside = w.clamp(*levels(c.bits))
        symbols = round_levels(inside, c.bits, c.dead_zone).detach()
        n = inside + (symbols - inside).detach()
        # Eq. 6 of the levels teaches the density; its gradient in the features is taken
        # where they were before rounding. The width of a bin counts in the former alone: in both,
        # the gain would feel it twice.
        smooth = rate(self.masses(inside, position, fixed=True))
        bits = rate(self.masses(symbols, position)) + smooth - smooth.detach()
        v = self.dequantise(n, position)
        logits: tuple[Tensor, ...] = ()
        if look:
            shared = v if c.semantics == "post" else self.shared(w, position)
            seen = self.semantic.seen(shared)
            logits = (self.semantic.classify(self.semantic.stem_features(seen, position)),)
        x_hat = self.synthesise(v, position)
        return FourStageOutput(x_hat=x_hat, bits=bits, features=f, logits=logits)

    def _continued(self, v: Tensor) -> Tensor:
        """One feature vector more on each side, as a reflected image would have it."""
        sign_x, sign_y = _channels(self.mirror_x), _channels(self.mirror_y)
        v = torch.cat((v[..., :1] * sign_x, v, v[..., -1:] * sign_x), 3)
        return torch.cat((v[..., :1, :] * sign_y, v, v[..., -1:, :] * sign_y), 2)


def _channels(values: Tensor) -> Tensor:
    return values[None, :, None, None]


def _reflected(x: Tensor, count: int) -> Tensor:
    """Images with `count` rows and columns more on each side, border pixels twice."""
    x = torch.cat((x[..., :count].flip(3), x, x[..., -count:].flip(3)), 3)
    return torch.cat((x[..., :count, :].flip(2), x, x[..., -count:, :].flip(2)), 2)
