"""Agreement of outputs: the decoded image should be classified as the original was."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["agreement_errors", "agreement_loss"]


def agreement_errors(y_hat: Tensor, y: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence from the original's soft labels, BxC -> B nats, times T².

    The soft labels stand in for the labels that a data set lacks (DeepSIC Eq. 4's L_sem), and
    tell more than them: which mistakes would be small. T² keeps the gradient's size as T
    changes (Hinton et al. 2015).

    Args:
        y_hat: BxC logits for the decoded images.
        y: BxC logits for the originals; take no gradient.
        temperature: T > 0; above 1 the unlikely classes count for more.
    """
    log_p_hat = F.log_softmax(y_hat / temperature, 1)
    log_p = F.log_softmax(y.detach() / temperature, 1)
    divergence = F.kl_div(log_p_hat, log_p, reduction="none", log_target=True).sum(1)
    return divergence * temperature**2


def agreement_loss(y_hat: Tensor, y: Tensor, temperature: float = 1.0) -> Tensor:
    """`agreement_errors` averaged over the images; a scalar."""
    return agreement_errors(y_hat, y, temperature).mean()
