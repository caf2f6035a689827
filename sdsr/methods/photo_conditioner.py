"""What ConsisSR and SeeSR tell a UNet of a photo: a prompt, tokens of the photo, and a ControlNet's residuals."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from diffusers.models.controlnets.controlnet import ControlNetModel

from sdsr.adapters.control import residuals
from sdsr.prior.condition import Condition, Conditioning
from sdsr.prior.prior import Prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import PromptedCondition
from sdsr.tensors import Image, Latent, PhotoTokens, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoConditioner:
    """Tells the UNet the prompt, tokens of the photo, and what the ControlNet, told the same, sees in the photo.

    `hint` says whether the ControlNet looks at the photo's latent or at its pixels. The tokens are those of the part of
    the photo that is restored, none without `tokens_of`. `adapter` says whose image attention is meant.
    """

    controlnet: ControlNetModel
    hint: Literal["latent", "pixels"]
    tokens_of: Callable[[Image], PhotoTokens] | None = None
    adapter: str = ""

    def __call__(self, prior: Prior, lq_image: LqImage, latent: Latent) -> PromptedCondition:
        image = lq_image.enlarged().to(prior.device)
        tokens = None
        if self.tokens_of is not None:
            with prior.precision():
                tokens = self.tokens_of(image)
        hint = latent if self.hint == "latent" else image

        def condition_for(prompt: str) -> Conditioning:
            condition = Condition(prompt=prior.embed(prompt), tokens=tokens, adapter=self.adapter)

            def controlled(noisy: Latent, t: int | Time) -> Condition:
                with prior.precision():
                    return replace(condition, residuals=residuals(self.controlnet, noisy, t, condition, hint))

            return controlled

        return condition_for
