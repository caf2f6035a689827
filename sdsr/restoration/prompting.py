"""Conditioners that tell the UNet words alone: the photo's prompt, or one that was learned."""

from dataclasses import dataclass, field

from torch import nn

from sdsr.prior.condition import Condition
from sdsr.prior.prior import Prior
from sdsr.restoration.restorer import Looking, PromptedCondition
from sdsr.tensors import Latent, Tokens


@dataclass(frozen=True, slots=True, eq=False)
class PromptConditioner:
    """Tells the photo's prompt to a prior's network; each prompt is embedded once."""

    _embedded: dict[str, Tokens] = field(default_factory=dict, repr=False)

    def __call__(self, prior: Prior, photo: Looking, latent: Latent) -> PromptedCondition:
        return lambda prompt: Condition(prompt=self._tokens(prior, prompt).to(latent.device))

    def _tokens(self, prior: Prior, prompt: str) -> Tokens:
        if prompt not in self._embedded:
            self._embedded[prompt] = prior.embed(prompt)
        return self._embedded[prompt]


class FixedPrompt(nn.Module):
    """One learned prompt for every photo, begun as one of the prior's, so that restoring needs no text encoder."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = nn.Parameter(tokens.detach().clone().float())


@dataclass(frozen=True, slots=True)
class FixedPromptConditioner:
    """The condition of a learned prompt, whatever the photo."""

    prompt: FixedPrompt

    def __call__(self, prior: Prior, photo: Looking, latent: Latent) -> PromptedCondition:
        return lambda prompt: Condition(prompt=self.prompt.tokens)
