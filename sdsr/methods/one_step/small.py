"""The small default: one step of D3SR's by a small UNet trained whole, and a decoder of its own that sees the photo.

Deviation: the paper (arXiv:2410.04224) trains LoRA on Stable Diffusion's UNet; a UNet this small is trained whole. What
it predicts is read as noise, as in the paper's formula, whatever the prior predicts: all of it learns.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

from torch import nn

from sdsr.adapters.first_level import first_level
from sdsr.methods.guided_decoding import DecoderSettings, decoded
from sdsr.methods.method import Device
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.small import SmallLatents
from sdsr.request import Request
from sdsr.restoration.plan import Plan
from sdsr.restoration.prompting import FixedPrompt, FixedPromptConditioner
from sdsr.restoration.restorer import Parts, Restorer, from_photo
from sdsr.restoration.wishing import by_decoder, wished_plan
from sdsr.tensors import Image

PLAN = Plan(times=(99,), fidelity=0.0)
"""Of the small prior's step; the decoder's detailed end alone, chosen by eye on degraded validation photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallOneStep:
    """A small prior's UNet, trained whole, and a decoder that sees the LQ photo beside the restored latent.

    `levels` "first": without the levels below the UNet's first, which alone are told a prompt; so none is learned.
    `decoder` None: the prior's own. `encoder` "linear": photos are encoded by the autoencoder's lapped transform alone,
    on a prior that has one. Of an enlarged photo that is the same latent but for 2 % of its deviation, at a fortieth of
    the operations.
    """

    levels: Literal["all", "first"] = "all"
    decoder: DecoderSettings | None = None
    own_plan: Plan = PLAN
    encoder: Literal["full", "linear"] = "full"

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        """Return the plan: its one step, with the fidelity of the decoder where it has its own."""
        return wished_plan(self.own_plan, request, faithful=by_decoder if self.decoder else None)

    def build(self, prior: str | Prior, device: Device = None) -> Restorer:
        """Return the restorer on a small prior, whose own networks stay as they are."""
        prior = load_prior(prior, device=device)
        if self.encoder == "linear" and isinstance(prior.autoencoder, SmallLatents):
            prior = prior.adapted(autoencoder=prior.autoencoder.linearly)
        unet = first_level(prior.unet) if self.levels == "first" else deepcopy(prior.unet).requires_grad_(True)
        prompt = FixedPrompt(prior.embed("clean"))
        modules = nn.ModuleDict({"unet": unet} if self.levels == "first" else {"unet": unet, "prompt": prompt})
        parts = Parts(conditioner=FixedPromptConditioner(prompt), start=from_photo, modules=modules)
        restorer = Restorer(
            prior=prior.adapted(network=unet, schedule=prior.schedule.predicting("epsilon")), parts=parts
        )
        return decoded(restorer, self.decoder)
