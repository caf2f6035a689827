"""What ConsisSR and SeeSR tell a UNet of a photo: a prompt, tokens of the photo, and a ControlNet's residuals."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from diffusers.models.controlnets.controlnet import ControlNetModel

from sdsr.adapters.control import residuals
from sdsr.prior.evidence import Evidence, Testimony
from sdsr.prior.prior import Prior
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.restorer import Witness
from sdsr.tensors import Image, Latent, PhotoTokens, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoConditioner:
    """Tells the UNet the prompt, tokens of the photo, and what the ControlNet, told the same, sees in the photo.

    `hint` says whether the ControlNet looks at the photo's latent or at its pixels. The tokens are those of the part of
    the photo that is restored, none without `tokens_of`. `voice` says whose image attention is meant.
    """

    controlnet: ControlNetModel
    hint: Literal["latent", "pixels"]
    tokens_of: Callable[[Image], PhotoTokens] | None = None
    voice: str = ""

    def __call__(self, prior: Prior, photograph: Photograph, latent: Latent) -> Witness:
        image = photograph.enlarged().to(prior.device)
        tokens = None
        if self.tokens_of is not None:
            with prior.precision():
                tokens = self.tokens_of(image)
        hint = latent if self.hint == "latent" else image

        def testify(prompt: str) -> Testimony:
            told = Evidence(prompt=prior.embed(prompt), tokens=tokens, voice=self.voice)

            def controlled(noisy: Latent, t: int | Time) -> Evidence:
                with prior.precision():
                    return replace(told, residuals=residuals(self.controlnet, noisy, t, told, hint))

            return controlled

        return testify
