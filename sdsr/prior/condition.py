"""What conditions one prediction of noise: the ports into a stock diffusers UNet."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sdsr.tensors import Latent, PhotoTokens, Time, Tokens

IMAGE_TOKENS = "image_tokens"
ADAPTER = "adapter"
SFT_FEATURES: ContextVar[Mapping[int, Tensor] | None] = ContextVar("sft_features", default=None)
"""Those at hand while a UNet is called, which its own arguments have no place for; None outside of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The conditioning of one UNet call; a port that is None stays closed.

    `prompt`: tokens for cross-attention, (b, n, d). `tokens`: tokens of the photo, of a number and width of their own,
    for adapters that attend to them (`IMAGE_TOKENS` among the `cross_attention_kwargs`). `adapter`: which of several
    adapters on one network attends to them (`ADAPTER` there). `residuals`: what a ControlNet adds to the skips (a tuple
    in the order of the down blocks) and to the bottleneck. `sft_features`: features of the photo by the factor at which
    they are smaller than the latent, for adapters that scale and shift with them inside residual blocks
    (`SFT_FEATURES`).
    """

    prompt: Tokens
    tokens: PhotoTokens | None = None
    adapter: str = ""
    residuals: tuple[tuple[Tensor, ...], Tensor] | None = None
    sft_features: Mapping[int, Tensor] | None = None

    @property
    def attention(self) -> dict[str, Tensor | str] | None:
        """What goes to the attention layers of a UNet or ControlNet as `cross_attention_kwargs`."""
        return None if self.tokens is None else {IMAGE_TOKENS: self.tokens, ADAPTER: self.adapter}

    def joined(self, other: "Condition", count: int) -> "Condition | None":
        """Return both for a batch of twice `count`, this one's for its first half; None where the ports are not alike.

        What is one for all of a batch becomes one for each.
        """
        if _ports(self) != _ports(other):
            return None

        def both(one: Tensor, two: Tensor) -> Tensor:
            return torch.cat([each.expand(count, *each.shape[1:]) for each in (one, two)])

        tokens = residuals = sft_features = None
        if self.tokens is not None and other.tokens is not None:
            tokens = both(self.tokens, other.tokens)
        if self.residuals is not None and other.residuals is not None:
            (skips, bottleneck), (other_skips, other_bottleneck) = self.residuals, other.residuals
            residuals = tuple(map(both, skips, other_skips)), both(bottleneck, other_bottleneck)
        if self.sft_features is not None and other.sft_features is not None:
            sft_features = {by: both(self.sft_features[by], other.sft_features[by]) for by in self.sft_features}
        prompt = both(self.prompt, other.prompt)
        return replace(self, prompt=prompt, tokens=tokens, residuals=residuals, sft_features=sft_features)

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """While it lasts, adapters find the SFT features; to be around a call of a UNet."""
        token = SFT_FEATURES.set(self.sft_features)
        try:
            yield
        finally:
            SFT_FEATURES.reset(token)


Conditioning = Condition | Callable[[Latent, int | Time], Condition]
"""How a UNet is conditioned: always the same, or a function of the noisy latent and its time."""


def condition_at(conditioning: Conditioning, noisy: Latent, t: int | Time) -> Condition:
    """Return the condition of this noisy latent at its time."""
    return conditioning if isinstance(conditioning, Condition) else conditioning(noisy, t)


def _ports(condition: Condition) -> tuple[object, ...]:
    """Which ports are open, what goes through each in shape but for the batch, and to which adapter."""
    skips, bottleneck = condition.residuals or ((), None)
    features = condition.sft_features or {}
    single = (condition.prompt, condition.tokens, bottleneck)
    shapes = [None if each is None else each.shape[1:] for each in single]
    return (
        condition.adapter,
        shapes,
        [each.shape[1:] for each in skips],
        {by: each.shape[1:] for by, each in features.items()},
    )
