"""Both sides of the adversarial game on lists of logits, one entry per head or scale, all heads equally heavy."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

Scalar = Float[Tensor, ""]
Logits = Sequence[Tensor]


def _mean_over_heads(values: Sequence[Tensor]) -> Scalar:
    return torch.stack([value.mean() for value in values]).mean()


def critic_bce(real: Logits, fake: Logits) -> Scalar:
    """-log D(real) - log(1 - D(fake)), D the sigmoid of the logits (D3SR, arXiv:2410.04224)."""
    return _mean_over_heads([F.softplus(-logit.float()) for logit in real]) + _mean_over_heads(
        [F.softplus(logit.float()) for logit in fake]
    )


def generator_bce(fake: Logits) -> Scalar:
    """-log D(fake), the non-saturating side of `critic_bce`."""
    return _mean_over_heads([F.softplus(-logit.float()) for logit in fake])


def critic_hinge(real: Logits, fake: Logits) -> Scalar:
    """(relu(1 - real) + relu(1 + fake)) / 2, as in the published training of InvSR and StableSR's fusion."""
    sides = (
        _mean_over_heads([F.relu(1 - logit) for logit in real]),
        _mean_over_heads([F.relu(1 + logit) for logit in fake]),
    )
    return (sides[0] + sides[1]) / 2


def generator_hinge(fake: Logits) -> Scalar:
    """-fake, the generator's side of `critic_hinge`."""
    return -_mean_over_heads(fake)


def r1(critic: Callable[[Tensor], Logits], real: Tensor) -> Scalar:
    """Mean squared gradient norm of the critic at real samples (arXiv:1801.04406, without its factor gamma / 2)."""
    real = real.detach().requires_grad_()
    score = torch.stack([logit.flatten(1).mean(dim=1) for logit in critic(real)]).mean(dim=0).sum()
    (gradient,) = torch.autograd.grad(score, real, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def approximate_r1(critic: Callable[[Tensor], Logits], real: Tensor, rng: Generator, *, sigma: float = 0.01) -> Scalar:
    """`r1` from finite differences: squared change of each logit under noise of deviation `sigma`, over sigma squared.

    First order only, so that it works under gradient checkpointing and with attention kernels that have no second
    derivative. Its expectation tends to the squared gradient norm of a single logit as sigma tends to zero
    (arXiv:2501.08316, there without the division).
    """
    real = real.detach()
    noise = torch.randn(real.shape, generator=rng, device=rng.device).to(real)
    changes = zip(critic(real), critic(real + sigma * noise), strict=True)
    return _mean_over_heads([(moved - still).square() / sigma**2 for still, moved in changes])
