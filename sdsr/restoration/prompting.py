"""Conditioners that tell the UNet words alone: the photo's prompt, or one that was learned."""

from dataclasses import dataclass
from functools import cache

from torch import nn

from sdsr.prior.evidence import Evidence
from sdsr.prior.prior import Prior
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.restorer import Conditioner, Witness
from sdsr.tensors import Latent, Tokens


def told_prompt(prior: Prior) -> Conditioner:
    """Return a conditioner that tells the photo's prompt; each prompt is embedded once."""
    embed = cache(prior.embed)

    def look(prior: Prior, photograph: Photograph, latent: Latent) -> Witness:
        return lambda prompt: Evidence(prompt=embed(prompt).to(latent.device))

    return look


class FixedPrompt(nn.Module):
    """One learned prompt for every photo, begun as one of the prior's, so that restoring needs no text encoder."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = nn.Parameter(tokens.detach().clone().float())


@dataclass(frozen=True, slots=True)
class FixedPromptConditioner:
    """The evidence of a learned prompt, whatever the photo."""

    prompt: FixedPrompt

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent) -> Witness:
        return lambda prompt: Evidence(prompt=self.prompt.tokens)
