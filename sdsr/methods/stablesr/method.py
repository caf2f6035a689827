"""StableSR: SFT features of the LQ latent, made by an encoder that is told the time, scale and shift inside the UNet.

arXiv:2305.07015 (IJCV 2024). The UNet is told an empty prompt and, in every residual block, the SFT features of the
time-aware encoder (`modulation.py`). The decoder may take details of the LQ photo, as many as the user wants
(`Plan.fidelity`, the paper's w; `feature_wrapping.py`). Photos larger than the prior's own size are restored in windows
whose estimates are blended at every step (`restoration/windowed.py`, which is this paper's too).
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from sdsr.adapters.sharing import share_weights
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.methods.guided_decoding import DecoderSettings, decoded
from sdsr.methods.method import Device
from sdsr.methods.prompts import Prompts, prompts_of
from sdsr.methods.stablesr.decoder import WrappedDecoder
from sdsr.methods.stablesr.encoder import EncoderSettings, TimeAwareEncoder
from sdsr.methods.stablesr.feature_wrapping import FeatureWrapping
from sdsr.methods.stablesr.modulation import Modulation
from sdsr.prior.condition import Condition, Conditioning
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import AUTOENCODER, Prior
from sdsr.prior.small import SmallLatents
from sdsr.prior.stable_diffusion import PublishedLatents
from sdsr.request import Request
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Looking, Parts, PromptedCondition, Restorer, from_noise, from_noised_photo
from sdsr.restoration.wishing import by_decoder, wished_plan
from sdsr.tensors import Image, Latent, Time

ENCODER = "time_aware_encoder"
MODULATION = "modulation"
WRAPPING = "feature_wrapping"
PLAN = Plan(times=spaced(200), step=ancestral)


@dataclass(frozen=True, slots=True)
class MapConditioner:
    """Tells the UNet a prompt and, at each time, the encoder's SFT features of the LQ latent."""

    encoder: TimeAwareEncoder

    def __call__(self, prior: Prior, photo: Looking, latent: Latent) -> PromptedCondition:
        def condition_for(prompt: str) -> Conditioning:
            condition = Condition(prompt=prior.embed(prompt))

            def mapped(noisy: Latent, t: int | Time) -> Condition:
                with prior.precision():
                    return replace(condition, sft_features=self.encoder(latent, t))

            return mapped

        return condition_for


@dataclass(frozen=True, slots=True, kw_only=True)
class StableSR:
    """What StableSR adds; the defaults are those published: 52,494,080 and 53,020,160 and 44,393,728 parameters.

    `hidden`: channels inside each modulation. `blocks` and `growth` are those of the feature wrapping, which normalises
    like the autoencoder: in as many groups, or not at all. `start`: the paper's own, noise, or the noised LQ latent,
    which the published programs for any size begin with. `decoder`: one that takes the feature wrapping's place on
    small priors. Deviation: the small autoencoder's linear path leads past the wrapping, so what it paints of a wrong
    guess can't be mended there; either is told the photo, learns on restored latents, and has the paper's w.
    """

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    hidden: int = 128
    blocks: int = 2
    growth: int = 32
    start: Literal["noise", "noised photo"] = "noise"
    decoder: DecoderSettings | None = None
    own_plan: Plan = PLAN

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        """Return the plan: any number of spaced times, and the fidelity of the decoder."""
        return wished_plan(self.own_plan, request, times=spaced, faithful=by_decoder)

    def build(self, prior: str | Prior, device: Device = None) -> Restorer:
        """Return the restorer on any prior.

        The encoder has as many levels as the UNet. The modulation begins at random, as published: even untrained it
        changes the UNet. Deviation: the feature wrapping begins by adding nothing, so that a run of the first stage
        alone restores.
        """
        prior = load_prior(prior, device=device)
        prior = prior.adapted(network=share_weights(prior.unet))
        levels = len(prior.unet.config["block_out_channels"])
        settings = replace(self.encoder, widths=tuple(self.encoder.widths)[:levels])
        encoder = TimeAwareEncoder(prior.channels, settings).to(prior.device)
        modulation = Modulation(prior.unet, map_channels=self.encoder.map_channels, hidden=self.hidden)
        modulation.attach(prior.unet)
        said = prompts_of(Prompts(), prior.text.vocabulary)
        restorer = Restorer(
            prior=prior,
            parts=Parts(
                conditioner=MapConditioner(encoder),
                start=from_noise if self.start == "noise" else from_noised_photo,
                modules=nn.ModuleDict({ENCODER: encoder, MODULATION: modulation}),
                prompt=said.positive,
                negative_prompt=said.negative or None,
                pass_share=1.2,
            ),
        )
        return self._wrapped(restorer) if self.decoder is None else decoded(restorer, self.decoder)

    def _wrapped(self, restorer: Restorer) -> Restorer:
        wrapping = self._silent_wrapping(restorer.prior)
        modules = nn.ModuleDict({**restorer.parts.modules, WRAPPING: wrapping})
        decoder = WrappedDecoder(wrapping)
        parts = replace(restorer.parts, modules=modules, decoder=decoder, used_with={WRAPPING: AUTOENCODER})
        return replace(restorer, parts=parts)

    def _silent_wrapping(self, prior: Prior) -> FeatureWrapping:
        """A fusion that gives nothing at first: nothing is merged, and without biases nothing stays nothing."""
        assert isinstance(prior.autoencoder, PublishedLatents | SmallLatents), "features are read from those we know"
        model = prior.autoencoder.model
        groups = model.config.get("norm_num_groups")  # None for autoencoders that normalise nothing
        wrapping = FeatureWrapping(model, blocks=self.blocks, growth=self.growth, groups=groups)
        for name, parameter in wrapping.named_parameters():
            if name.endswith(".bias") or ".merge.conv2." in name or ".merge.shortcut." in name:
                nn.init.zeros_(parameter)
        return wrapping
