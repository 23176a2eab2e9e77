"""Read the feature maps of any layer of any network, by the layer's name.

with LayerTap(network, ("layer3", "layer4")) as tap:
    logits = network(x)
f = tap["layer4"]                                 # BxKxMxN, part of the graph
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepsic.errors import UsageError

__all__ = ["LayerTap", "layer_names"]


class _Enough(Exception):
    """All maps are there: the rest of the network needn't run."""


def layer_names(network: nn.Module) -> list[str]:
    """Names by which the layers of `network` can be tapped."""
    return [name for name, _ in network.named_modules() if name]


def _find(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        kind, some = type(network).__name__, ", ".join(layer_names(network)[:8])
        raise UsageError(f"no layer {name!r} in {kind}; it has {some}, …") from None


class LayerTap:
    """Context manager that keeps the outputs of named layers of one forward pass.

    The hooks live only inside the `with` block, so a network is never left with hooks on it
    and two taps may overlap.

    Args:
        network: any module.
        names: its layers, as `layer_names` gives them.
        leaf: cut the graph at each map and let it take a gradient: what comes before the
            layer is not differentiated.
        stop: leave the `with` block as soon as every map is there.

    Raises:
        UsageError: `network` has no layer of that name, the layer's output isn't one tensor,
            or it was not run inside the block.
    """

    def __init__(
        self, network: nn.Module, names: Sequence[str], *, leaf: bool = False, stop: bool = False
    ) -> None:
        self._modules = {name: _find(network, name) for name in names}
        self._leaf, self._stop = leaf, stop
        self._handles: list[RemovableHandle] = []
        self._outputs: dict[str, Tensor] = {}

    def _keep(self, name: str, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise UsageError(f"layer {name!r} returns {type(output).__name__}, not one tensor")
        if self._leaf:
            output = output.detach().requires_grad_()
        self._outputs[name] = output
        if self._stop and len(self._outputs) == len(self._modules):
            raise _Enough
        # The network goes on with a copy: an in-place activation behind the layer would
        # otherwise change the map that was kept.
        return output.clone()

    def __enter__(self) -> LayerTap:
        for name, module in self._modules.items():
            self._handles.append(
                module.register_forward_hook(
                    lambda _module, _inputs, output, name=name: self._keep(name, output)
                )
            )
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        return kind is _Enough

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._outputs[name]
        except KeyError:
            raise UsageError(f"layer {name!r} did not run inside the tap") from None
