"""What conditions one prediction of noise: the ports into a stock diffusers UNet."""

from dataclasses import dataclass

from torch import Tensor

from sdsr.tensors import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The conditioning of one UNet call; a port that is None stays closed.

    `prompt`: tokens for cross-attention, (b, n, d).
    `residuals`: what a ControlNet adds to the skips (a tuple in the order of the down blocks) and to the bottleneck.
    """

    prompt: Tokens
    residuals: tuple[tuple[Tensor, ...], Tensor] | None = None
