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
from sdsr.restoration.restorer import Looking, PromptedCondition
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

    def __call__(self, prior: Prior, photo: Looking, latent: Latent) -> PromptedCondition:
        seen = _Seen(conditioner=self, prior=prior, photo=photo, latent=latent)
        if torch.is_grad_enabled() or not photo.decoded:
            seen.tell()  # once, whatever learns from it; encoders that come to a card do so for all windows
        made = Made(seen.hint)

        def condition_for(prompt: str) -> Conditioning:
            embedded = prior.embed(prompt)

            def controlled(noisy: Latent, t: int | Time) -> Condition:
                hint = self._latest.value(made)
                condition = Condition(prompt=embedded, tokens=seen.tokens, adapter=self.adapter)
                time = torch.as_tensor(t).to(noisy.device, non_blocking=True).expand(len(noisy))
                cells = noisy.shape[-2] * noisy.shape[-1]
                with prior.precision():
                    told = prior.run(self._residuals, noisy, time, condition, hint, cells=cells)
                return replace(condition, residuals=told)

            return controlled

        return condition_for

    def _residuals(
        self, noisy: Latent, t: Time, condition: Condition, hint: HintFeatures
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        return residuals(self.controlnet, noisy, t, condition, hint)


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What is seen of a photo, or a part of one: tokens, which stay, and the hint, seen anew when a step asks for it.

    So are tokens where pixels must be decoded first, which then are there for one part at a time.
    """

    conditioner: PhotoConditioner
    prior: Prior
    photo: Looking
    latent: Latent
    tokens: PhotoTokens | None = None

    def hint(self) -> HintFeatures:
        """Return what the ControlNet's layers make of the hint; the tokens are there afterwards."""
        pixels = None if self.conditioner.hint == "latent" else self._pixels()
        self.tell(pixels)
        with self.prior.precision():
            return hint_features(self.conditioner.controlnet, self.latent if pixels is None else pixels)

    def tell(self, pixels: Image | None = None) -> None:
        """Have the tokens there, of these pixels where they are at hand."""
        if self.tokens is None and self.conditioner.tokens_of is not None:
            looked_at = self._pixels() if pixels is None else pixels
            with self.prior.precision():
                self.tokens = self.conditioner.tokens_of(looked_at)

    def _pixels(self) -> Image:
        return self.photo.enlarged().to(self.prior.device)
