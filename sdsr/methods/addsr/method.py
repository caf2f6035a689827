"""SeeSR, and AddSR, which distils it to four steps: the networks, the teacher beside a student, and the plans.

SeeSR (arXiv:2311.16518): a ControlNet on the photo, and attention of UNet and ControlNet to soft tags of it, made by a
tagger that sees through degradation; fifty guided steps from the noised LQ latent. AddSR (arXiv:2404.01717): the same
networks, unguided, at one to four of the times 999, 749, 499, 249, re-noised between them, where after each step the
encoded LQ is refreshed with the result (`Plan.refinement`).

Tags as words are not asked for: prompts are fixed, or the user's.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import nn

from sdsr.adapters.control import HINT_WIDTHS, photo_control
from sdsr.adapters.image_attention import ImageAttention
from sdsr.adapters.sharing import share_weights
from sdsr.diffusion.steps import ancestral, renoise
from sdsr.diffusion.times import trailing
from sdsr.errors import InputError
from sdsr.methods.guided_decoding import DecoderSettings, decoded
from sdsr.methods.method import Device
from sdsr.methods.photo_conditioner import PhotoConditioner
from sdsr.methods.prompts import Prompts, prompts_of
from sdsr.methods.tags import ATTENTION, CONTROL_ATTENTION, TAGGER, attach_tags
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.request import Request
from sdsr.restoration.plan import Plan, Refinement
from sdsr.restoration.restorer import Parts, Restorer, from_noised_photo
from sdsr.restoration.wishing import by_decoder, wished_plan
from sdsr.tensors import Image

CONTROLNET = "controlnet"
HINT = "controlnet_cond_embedding"
TEACHER = "teacher"
TIMES = trailing(4)


def leading(count: int) -> tuple[int, ...]:
    """Return `count` times as the prior's own scheduler spaces them, from 981 to 1 where there are 50.

    SeeSR begins with them although its latent is noised to 999 (published code).
    """
    if not 1 <= count <= 999:
        raise InputError(f"count of steps (={count}) must be in 1 ... 999; choose fewer or more steps.")
    stride = 1000 // count
    return tuple(min(stride * place + 1, 999) for place in reversed(range(count)))


def first_times(count: int) -> tuple[int, ...]:
    """Return the first `count` of AddSR's times; raise InputError where it has no such number."""
    if not 1 <= count <= len(TIMES):
        raise InputError(f"count of steps (={count}) must be in 1 ... {len(TIMES)}; choose one of these.")
    return TIMES[:count]


SEESR_PLAN = Plan(times=leading(50), step=ancestral, start=999, guidance=5.5)
ADDSR_PLAN = Plan(times=TIMES, step=renoise, refinement=Refinement())
PROMPTS = {
    "seesr": Prompts(
        positive="clean, high-resolution, 8k", negative="dotted, noise, blur, lowres, smooth", tagged=True
    ),
    "addsr": Prompts(positive="clean, high-resolution, 8k, extremely detailed, best quality, sharp", tagged=True),
}
"""By role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeeSR:
    """The shape of what SeeSR adds; the defaults are those published.

    `hint_widths` are those of the ControlNet's layers on the photo; `hint_init_scale` is what the last of them begins
    at, as a share of its usual initialisation. `head_width` is that of image attention's heads, None for that of the
    prior's; `init_scale` what its last layers begin at. `tags`: whether there is a tagger; without, image attention is
    silent. `deferred`: whether the full tagger waits on "meta" for a folder's weights. `role`: AddSR's student is SeeSR
    unguided, with prompts and times of its own. `decoder`: one that sees the photo beside the latent, for small priors.
    """

    hint_widths: tuple[int, ...] = HINT_WIDTHS
    hint_init_scale: float | int = 0.0
    head_width: int | None = None
    init_scale: float | int = 1.0
    tags: bool = True
    deferred: bool = True
    role: Literal["seesr", "addsr"] = "seesr"
    decoder: DecoderSettings | None = None
    own_plan: Plan = SEESR_PLAN

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        """Return the plan: any number of steps, or of AddSR one to four."""
        times = leading if self.role == "seesr" else first_times
        return wished_plan(self.own_plan, request, times=times, faithful=by_decoder if self.decoder else None)

    def build(self, prior: str | Prior, device: Device = None) -> Restorer:
        """Return the restorer on any prior."""
        prior = load_prior(prior, device=device)
        prior = prior.adapted(network=share_weights(prior.unet))
        controlnet = photo_control(prior.unet, widths=self.hint_widths, init_scale=self.hint_init_scale)
        modules = nn.ModuleDict({CONTROLNET: controlnet})
        tags = None
        if self.tags:
            tags, tagged = attach_tags(
                prior, controlnet, head_width=self.head_width, init_scale=self.init_scale, deferred=self.deferred
            )
            modules.update(tagged)
        said = prompts_of(PROMPTS[self.role], prior.text.vocabulary)
        restorer = Restorer(
            prior=prior,
            parts=Parts(
                conditioner=PhotoConditioner(controlnet=controlnet, hint="pixels", tokens_of=tags),
                start=from_noised_photo,
                modules=modules,
                prompt=said.positive,
                negative_prompt=said.negative if self.role == "seesr" else None,
                pass_share=1.5,
                used_with={TAGGER: TAGGER},
            ),
        )
        return decoded(restorer, self.decoder)


def teacher_of(restorer: Restorer) -> Restorer:
    """The teacher beside a student, as the student is now: image attention and layers on the photo of its own.

    The rest of its ControlNet has the student's tensors, which must not learn; and it has the student's tagger.
    """
    conditioner = restorer.parts.conditioner
    own = restorer.parts.modules
    assert isinstance(conditioner, PhotoConditioner), "SeeSR's teacher teaches SeeSR's networks"
    controlnet = _body(conditioner.controlnet, own)
    hint = deepcopy(conditioner.controlnet.get_submodule(HINT))
    controlnet.set_submodule(HINT, hint)
    modules = nn.ModuleDict({HINT: hint})
    for name, network in ((ATTENTION, restorer.prior.unet), (CONTROL_ATTENTION, controlnet)):
        if name in own:
            modules[name] = _beside(own.get_submodule(name), network)
    telling = replace(conditioner, controlnet=controlnet, adapter=TEACHER)
    return replace(restorer, parts=replace(restorer.parts, conditioner=telling, modules=modules))


def _body(controlnet: ControlNetModel, own: nn.ModuleDict) -> ControlNetModel:
    """A ControlNet of the same tensors, without the image attention that is attached to this one."""
    if CONTROL_ATTENTION not in own:
        return share_weights(controlnet)
    attention = own.get_submodule(CONTROL_ATTENTION)
    assert isinstance(attention, ImageAttention), "the student has no image attention of SeeSR's"
    attention.detach(controlnet)
    body = share_weights(controlnet)
    attention.attach(controlnet)
    return body


def _beside(attention: nn.Module, network: nn.Module) -> ImageAttention:
    """A copy of an image attention, attached under the teacher's name."""
    assert isinstance(attention, ImageAttention), "the student has no image attention of SeeSR's"
    copied = attention.copied(TEACHER)
    copied.attach(network)
    return copied
