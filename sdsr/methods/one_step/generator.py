"""Generators of one step from the LQ latent: an adapted Stable Diffusion.

As in D3SR (arXiv:2410.04224), OSEDiff (arXiv:2406.08177) and HYPIR (arXiv:2507.20590).

z_H = (z_L - sqrt(1 - a) eps(z_L; T)) / sqrt(a) at one fixed time T, no noise. What tells these methods apart is a
value: the time, what of the prior is adapted and how much, and which prompt is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from sdsr.adapters.lora import TARGETS, Lora
from sdsr.adapters.sharing import share_weights
from sdsr.methods.method import Device
from sdsr.methods.prompts import Prompts, prompts_of
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import AUTOENCODER, Prior
from sdsr.prior.small import SmallLatents
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.request import Request
from sdsr.restoration.plan import Plan
from sdsr.restoration.prompting import FixedPrompt, FixedPromptConditioner, PromptConditioner
from sdsr.restoration.restorer import Conditioner, Parts, Restorer, from_photo
from sdsr.restoration.wishing import wished_plan
from sdsr.tensors import Image

PLAN = Plan(times=(399,))
LORA = "lora"
ENCODER_LORA = "encoder_lora"
FIRST_LAYER = "first_layer"
PROMPT = "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneStep:
    """What of a prior is adapted; the defaults are D3SR's.

    `rank` and `alpha` are those of the UNet's low-rank updates, scaled by alpha / rank, on the layers whose name ends
    in one of `targets`; `encoder_rank` and `encoder_alpha` those of the autoencoder's encoder, 0 where it stays as it
    is. `first_layer`: whether the UNet's first convolution learned whole. `prompts` are what it is conditioned on;
    None: one learned prompt for every photo, which begins as that of the empty text.
    """

    rank: int = 16
    alpha: int = 16
    targets: tuple[str, ...] = TARGETS
    encoder_rank: int = 0
    encoder_alpha: int = 0
    first_layer: bool = False
    prompts: Prompts | None = None
    own_plan: Plan = PLAN

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        """Return the plan: its one step."""
        return wished_plan(self.own_plan, request)

    def build(self, prior: str | Prior, device: Device = None) -> Restorer:
        """Return the restorer on any prior, whose own networks stay as they are: weight-sharing copies are adapted.

        Fused, the copies have weights of their own, with the updates added: the memory of a second UNet, but no more
        work.
        """
        prior = load_prior(prior, device=device)
        said = prompts_of(self.prompts or Prompts(), prior.text.vocabulary)
        prior = prior.adapted(network=share_weights(prior.network))
        network = prior.network
        modules = nn.ModuleDict()
        if self.first_layer:
            modules[FIRST_LAYER] = prior.unet.conv_in = _own(prior.unet.conv_in)
        lora = modules[LORA] = Lora(network, rank=self.rank, alpha=self.alpha, targets=self.targets)
        adapted: list[tuple[Lora, nn.Module]] = [(lora, network)]
        if self.encoder_rank:
            encoder_lora, latents = self._adapt_encoder(prior)
            prior = prior.adapted(autoencoder=latents)
            modules[ENCODER_LORA] = encoder_lora
            adapted.append((encoder_lora, latents.model))
        for updates, network in adapted:
            updates.attach(network)
        conditioner: Conditioner = PromptConditioner()
        if self.prompts is None:
            prompt = modules[PROMPT] = FixedPrompt(prior.embed(said.training))
            conditioner = FixedPromptConditioner(prompt)
        modules.to(prior.device)
        parts = Parts(
            conditioner=conditioner,
            start=from_photo,
            modules=modules,
            prompt=said.positive,
            fuse=partial(_fuse, adapted),
            used_with={ENCODER_LORA: AUTOENCODER},
        )
        return Restorer(prior=prior, parts=parts)

    def _adapt_encoder(self, prior: Prior) -> tuple[Lora, PublishedLatents | SmallLatents]:
        """Return a weight-sharing copy of a prior's autoencoder, after updates of every layer of its encoder."""
        assert isinstance(prior.autoencoder, PublishedLatents | SmallLatents), (
            "only autoencoders we know can be adapted"
        )
        model = share_weights(prior.autoencoder.model)
        lora = Lora(model, rank=self.encoder_rank, alpha=self.encoder_alpha, targets=encoder_layers(model))
        return lora, type(prior.autoencoder)(model)  # pyright: ignore[reportArgumentType]  (its own kind of model)


D3SR = OneStep()
OSEDIFF = OneStep(
    rank=4,
    alpha=8,
    encoder_rank=4,
    encoder_alpha=8,
    first_layer=True,
    prompts=Prompts(tagged=True),
    own_plan=Plan(times=(999,)),
)
"""arXiv:2406.08177; alpha is peft's default, which its authors left in place, so the scale is 2.
Its prompts are tags alone, in training those of the HQ photo."""
HYPIR = OneStep(
    rank=256,
    alpha=256,
    targets=tuple(name for name in TARGETS if name != "conv_in"),
    prompts=Prompts(),
    own_plan=Plan(times=(200,)),
)
"""arXiv:2507.20590. In training and in use it is told a description, which may be empty."""


def _fuse(adapted: Sequence[tuple[Lora, nn.Module]]) -> None:
    for updates, network in adapted:
        updates.fuse(network)


def encoder_layers(autoencoder: nn.Module) -> list[str]:
    """Return the names of all layers that lead to an autoencoder's latent."""
    return [
        name
        for name, layer in autoencoder.named_modules()
        if name.startswith(("encoder.", "quant_conv")) and isinstance(layer, nn.Linear | nn.Conv2d)
    ]


def _own(layer: nn.Conv2d) -> nn.Conv2d:
    """Return the layer with weights of its own, in float32, that learn."""
    own = share_weights(layer)
    for name, parameter in layer.named_parameters():
        own.register_parameter(name, nn.Parameter(parameter.detach().clone().float()))
    return own
