"""What ConsisSR and SeeSR tell a UNet of a photo: a prompt, tokens of the photo, and a ControlNet's residuals."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from sdsr.adapters.control import HintFeatures, hint_features, residuals
from sdsr.prior.condition import Condition, Conditioning
from sdsr.prior.notes import LatestMade, Made
from sdsr.prior.prior import Prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import PromptedCondition
from sdsr.tensors import Image, Latent, PhotoTokens, Time

_KEPT_WINDOWS = 4
"""Of how many windows hint features are kept from step to step: they are as large as ten photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoConditioner:
    """Tells the UNet the prompt, tokens of the photo, and what the ControlNet, told the same, sees in the photo.

    `hint` says whether the ControlNet looks at the photo's latent or at its pixels. The tokens are those of the part of
    the photo that is restored, none without `tokens_of`. `adapter` says whose image attention is meant. What its layers
    make of the hint is made once, and kept for the latest windows.
    """

    controlnet: ControlNetModel
    hint: Literal["latent", "pixels"]
    tokens_of: Callable[[Image], PhotoTokens] | None = None
    adapter: str = ""
    _latest: LatestMade = field(default_factory=lambda: LatestMade(_KEPT_WINDOWS), repr=False, compare=False)

    def __call__(self, prior: Prior, lq_image: LqImage, latent: Latent) -> PromptedCondition:
        tokens = None
        if self.tokens_of is not None:
            with prior.precision():
                tokens = self.tokens_of(lq_image.enlarged().to(prior.device))

        def features() -> HintFeatures:
            looked_at = latent if self.hint == "latent" else lq_image.enlarged().to(prior.device)
            with prior.precision():
                return hint_features(self.controlnet, looked_at)

        made = Made(features)

        def condition_for(prompt: str) -> Conditioning:
            condition = Condition(prompt=prior.embed(prompt), tokens=tokens, adapter=self.adapter)

            def controlled(noisy: Latent, t: int | Time) -> Condition:
                hint = self._latest.value(made)
                time = torch.as_tensor(t).to(noisy.device, non_blocking=True).expand(len(noisy))
                cells = noisy.shape[-2] * noisy.shape[-1]
                with prior.precision():
                    seen = prior.run(self._residuals, noisy, time, condition, hint, cells=cells)
                return replace(condition, residuals=seen)

            return controlled

        return condition_for

    def _residuals(
        self, noisy: Latent, t: Time, condition: Condition, hint: HintFeatures
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        return residuals(self.controlnet, noisy, t, condition, hint)
