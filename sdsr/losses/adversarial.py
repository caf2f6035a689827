"""Both sides of the adversarial game on lists of logits, one entry per head or scale, all heads equally heavy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sdsr.tensors import Float

Scalar = Float[Tensor, ""]
Logits = Sequence[Tensor]


def _mean_over_heads(values: Sequence[Tensor]) -> Scalar:
    return torch.stack([value.mean() for value in values]).mean()


def discriminator_bce(real: Logits, fake: Logits) -> Scalar:
    """-log D(real) - log(1 - D(fake)), D the sigmoid of the logits (arXiv:1406.2661, Eq. 1; D3SR, arXiv:2410.04224)."""
    return _mean_over_heads([F.softplus(-logit.float()) for logit in real]) + _mean_over_heads(
        [F.softplus(logit.float()) for logit in fake]
    )


def generator_bce(fake: Logits) -> Scalar:
    """-log D(fake), the non-saturating side of `discriminator_bce`."""
    return _mean_over_heads([F.softplus(-logit.float()) for logit in fake])


def discriminator_hinge(real: Logits, fake: Logits) -> Scalar:
    """(relu(1 - real) + relu(1 + fake)) / 2, as in the published training of InvSR and StableSR's fusion."""
    sides = (
        _mean_over_heads([F.relu(1 - logit) for logit in real]),
        _mean_over_heads([F.relu(1 + logit) for logit in fake]),
    )
    return (sides[0] + sides[1]) / 2


def summed_hinge(real: Logits, fake: Logits) -> Scalar:
    """relu(1 - real) + relu(1 + fake), not halved, as in the published training of AddSR."""
    return 2 * discriminator_hinge(real, fake)


def generator_hinge(fake: Logits) -> Scalar:
    """-fake, the generator's side of `discriminator_hinge`."""
    return -_mean_over_heads(fake)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialLoss:
    """Both sides of a game: what the discriminator minimizes of real and fake logits, and the generator of fakes."""

    discriminator: Callable[[Logits, Logits], Scalar]
    generator: Callable[[Logits], Scalar]


BCE = AdversarialLoss(discriminator=discriminator_bce, generator=generator_bce)
HINGE = AdversarialLoss(discriminator=discriminator_hinge, generator=generator_hinge)
SUMMED_HINGE = AdversarialLoss(discriminator=summed_hinge, generator=generator_hinge)
