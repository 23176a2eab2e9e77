"""Feature-level distortion: all channels of a layer count alike (APIC)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["channel_errors", "feature_errors", "feature_loss", "relative_errors"]


def channel_errors(f_hat: Tensor, f: Tensor) -> Tensor:
    """Mean squared error of each channel: BxKxMxN maps -> BxK.

    SAIC Eq. 10 sums over the positions; the mean differs by the constant MN and makes the
    value independent of the size of the map.
    """
    return (f_hat - f).square().mean((2, 3))


def feature_errors(f_hat: Tensor, f: Tensor) -> Tensor:
    """Error of each image, summed over channels: BxKxMxN maps -> B."""
    return channel_errors(f_hat, f).sum(1)


def feature_loss(f_hat: Tensor, f: Tensor) -> Tensor:
    """APIC: Eq. 10 with every weight 1, as SAIC's section 4.6 defines it; a scalar.

    Args:
        f_hat: BxKxMxN, maps of the decoded images.
        f: BxKxMxN, maps of the originals.
    """
    return feature_errors(f_hat, f).mean()


def relative_errors(f_hat: Tensor, f: Tensor) -> Tensor:
    """Share of the maps' energy that is lost, of each image: BxKxMxN maps -> B.

    It compares across layers and networks, whatever their scale: a mix of several needs that.
    """
    energy = f.square().mean((1, 2, 3)).clamp_min(1e-12)
    return (f_hat - f).square().mean((1, 2, 3)) / energy
