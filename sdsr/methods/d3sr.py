"""D3SR: one step from the LQ latent, a diffusion UNet as discriminator, EA-DISTS; here on the embedded small prior.

arXiv:2410.04224 (NeurIPS 2025). z_H = (z_L - sqrt(1 - a) eps(z_L; T_L)) / sqrt(a) at one fixed time T_L, no noise.
Deviation: the paper trains LoRA on Stable Diffusion's UNet; a UNet this small is trained whole.
Deviation: T_L was never published; that of the same group's OSDFace, which is built alike, is 399. On the small prior
it is 99: the smaller T_L, the nearer to the identity the step begins, so a short training gets further at first. After
40 steps the image L1 was 0.043 against 0.080 with 399, though at another learning rate; after 150 steps validation PSNR
was about equal (22.27 and 22.19 dB). A comparison under equal settings is open.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from sdsr.critics.diffusion_unet import DiffusionCritic
from sdsr.critics.patch import PatchCritic
from sdsr.losses.terms import Term, gradient_l1, image_l1, latent_l2, lattice, unevenness
from sdsr.methods.recipe import OptimizerSettings, Recipe, Stage
from sdsr.objectives.critics import Critics
from sdsr.objectives.restoration import Restoration
from sdsr.prior.evidence import Evidence
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Parts, Restorer, from_photo
from sdsr.tensors import Latent, Tokens

TIME = 99
PLAN = Plan(times=(TIME,))


class FixedPrompt(nn.Module):
    """One learned prompt for every photo, begun as the prior's own, so that no text encoder is needed to restore."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = nn.Parameter(tokens.detach().clone().float())


@dataclass(frozen=True, slots=True)
class FixedPromptConditioner:
    """The evidence of D3SR: its one prompt, whatever the photo."""

    prompt: FixedPrompt

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent, prompt: str | None) -> Evidence:
        return Evidence(prompt=self.prompt.tokens)


def small_system(prior_name: str, device: torch.device | str | None = None) -> Restorer:
    """The restorer on a small prior, all UNet weights trained: the variant for a UNet this light."""
    prior = load_prior(prior_name, device=device)
    unet = deepcopy(prior.unet)
    prompt = FixedPrompt(prior.embed("clean"))
    modules = nn.ModuleDict({"unet": unet, "prompt": prompt})
    prior.unet = unet
    return Restorer(
        prior=prior,
        parts=Parts(conditioner=FixedPromptConditioner(prompt), start=from_photo, modules=modules),
    )


def small_critics(system: Restorer) -> Critics:
    """The prior's own UNet as critic of latents, all its weights trained, and a light critic of the pixels' detail."""
    unet = deepcopy(system.prior.unet)
    unet.disable_gradient_checkpointing()  # its weights are frozen and freed between forward and backward
    return Critics(
        system.schedule,
        DiffusionCritic(unet, train="all", heads_on=(0,), hidden=128),
        PatchCritic(sees="image"),
    )


_FIDELITY = Stage(
    name="fidelity",
    system=small_system,
    objective=Restoration(
        plan=PLAN,
        terms=(
            Term(name="latent", weight=0.2, function=latent_l2),
            Term(name="image", weight=1.0, function=image_l1),
            Term(name="gradient", weight=1.0, function=gradient_l1),
        ),
    ),
    optimizer=OptimizerSettings(learning_rate=5e-4, warmup_steps=100, decay_from=1.0),
    steps=20_000,
    batch=16,
    crop_px=128,
    degradation="photo",
    ema_decay=0.99,
)

_REALISM = Stage(
    name="realism",
    system=small_system,
    objective=Restoration(
        plan=PLAN,
        terms=(
            Term(name="latent", weight=0.1, function=latent_l2),
            Term(name="image", weight=1.0, function=image_l1),
            Term(name="gradient", weight=0.3, function=gradient_l1),
            Term(name="unevenness", weight=1.0, function=unevenness(8)),
            Term(name="lattice", weight=2.0, function=lattice(8)),
        ),
        ea_dists=0.05,
        critics_from=0.04,
        latent_critic=0.005,
        image_critic=0.05,
    ),
    optimizer=OptimizerSettings(learning_rate=2e-4, warmup_steps=50, decay_from=0.6),
    critic=small_critics,
    critic_optimizer=OptimizerSettings(learning_rate=3e-4, betas=(0.5, 0.99), warmup_steps=20, decay_from=0.6),
    steps=20_000,
    batch=12,
    crop_px=128,
    degradation="photo",
    ema_decay=0.995,
)

D3SR_SMALL = Recipe(
    name="d3sr-small",
    paper="arXiv:2410.04224",
    summary="One step from the LQ latent on the embedded prior; fast on a CPU.",
    prior="small",
    system=small_system,
    plan=PLAN,
    stages=(_FIDELITY, _REALISM),
)
