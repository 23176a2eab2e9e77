"""Semantic-level distortion: channels count by what they mean to the task (SAIC Eq. 10)."""

from __future__ import annotations

from torch import Tensor

from deepsic.losses.feature import channel_errors

__all__ = ["semantic_errors", "semantic_loss"]


def semantic_errors(f_hat: Tensor, f: Tensor, weights: Tensor) -> Tensor:
    """Σ_k w'_k ‖f'_k - f_k‖² of each image: BxKxMxN maps -> B.

    Args:
        f_hat: BxKxMxN, maps of the decoded images.
        f: BxKxMxN, maps of the originals.
        weights: K (one set for a data set) or BxK (one for each image), see
            `semantic_weights`. All 1 gives `feature_errors` bit for bit.
    """
    return (weights * channel_errors(f_hat, f)).sum(1)


def semantic_loss(f_hat: Tensor, f: Tensor, weights: Tensor) -> Tensor:
    """SAIC Eq. 10: `semantic_errors` averaged over the images; a scalar."""
    return semantic_errors(f_hat, f, weights).mean()
