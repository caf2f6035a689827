"""InvSR: the prior as it is, started from the LQ latent and the noise that a small network predicts for this photo.

arXiv:2412.09013 (CVPR 2025). n = mu + exp(log variance / 2) eps, with (mu, log variance) from the photo as it was given
and the start's time; x = sqrt(a) z_LQ + sqrt(1 - a) n; then one to five ordinary steps of the prior. Only the predictor
learns. The published program writes the same state divided by sqrt(a), as Euler's method in sigma does.

The predictor's grid has two pixels of the photo to a cell of the latent, so the photo must be a fourth of its canvas.
Deviation: the published program enlarges by 4 only. For other sizes the photo is resampled to a fourth of the result
first, which for an enlargement below 4 costs the predictor detail that the latent still has.
Deviation: the noise is that of the canvas, where published windows each draw their own and are blended as pictures.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import nn

from sdsr.adapters.hybrid_attention import HybridAttention, HybridSettings
from sdsr.adapters.image_prompt import ImagePrompt
from sdsr.adapters.sharing import share_weights
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.errors import InputError
from sdsr.images.kernels import KEYS
from sdsr.methods.guided_decoding import DecoderSettings, decoded
from sdsr.methods.invsr.predictor import HALVING, NoisePredictor
from sdsr.methods.invsr.times import PLAN, TRAINED_STARTS, at_fidelity, automatic_start, times_for
from sdsr.methods.method import Device
from sdsr.methods.prompts import Prompts, prompts_of
from sdsr.prior.condition import Condition
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import ImageEncoder, Prior
from sdsr.request import Request
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.plan import Plan
from sdsr.restoration.prompting import PromptConditioner
from sdsr.restoration.restorer import Conditioner, EncodedLq, Looking, Parts, PromptedCondition, Restorer, latent_region
from sdsr.restoration.wishing import faithful_plan, with_steps
from sdsr.tensors import Image, Latent, Time

PART = "noise_predictor"
_PROMPT = (
    "Cinematic, high-contrast, photo-realistic, 8k, ultra HD, meticulous detailing, hyper sharpness, "
    "perfect without deformations"
)
PROMPTS = Prompts(
    training=_PROMPT,
    positive=_PROMPT,
    # the space missing after "noisy," is missing in the published text too
    negative="Low quality, blurring, jpeg artifacts, deformed, over-smooth, cartoon, noisy,painting, drawing, sketch, "
    "oil painting",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorSettings:
    """The shape of a `NoisePredictor`; the defaults are those published."""

    widths: tuple[int, int] = (256, 512)
    layers: int = 3
    attention: tuple[bool, bool, bool] = (True, True, True)
    head_width: int = 64
    norm_groups: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class InvSR:
    """The predictor, and whether a token of the photo is told; the defaults are what was published.

    `photo_token`: the prior is told a token of the photo as well, by ConsisSR's hybrid attention without its other
    additions: a content-aware prompt, which InvSR's authors name as missing. `starts` are those of the training.
    `decoder`: one that sees the photo beside the latent, for small priors; published, the prior decodes.
    """

    predictor: PredictorSettings = field(default_factory=PredictorSettings)
    photo_token: bool = False
    decoder: DecoderSettings | None = None
    own_plan: Plan = PLAN
    starts: tuple[int, ...] = TRAINED_STARTS

    def plan(self, request: Request, photo: Image | None = None) -> Plan:
        """Return the plan: one to five steps from a start, or from that of a fidelity, or one that the photo asks for.

        A start that the predictor was not trained at must be allowed. Raise InputError where there is no such plan.
        """
        if request.start is None:
            own = with_steps(self.own_plan, request.steps, times_for)
            return faithful_plan(own, request.fidelity, at_fidelity)
        if request.fidelity is not None:
            raise InputError(
                f"fidelity (={request.fidelity}) chooses the start (={request.start}); leave one of them out."
            )
        if request.start == "auto":
            return self._chosen(request, photo)
        if request.start not in self.starts and not request.untrained_start:
            raise InputError(
                f"start (={request.start}) must be one of {', '.join(map(str, self.starts))}, where this method was "
                "trained to; choose one of them, or allow --untrained-start."
            )
        return replace(self.own_plan, times=times_for(request.steps or len(self.own_plan.times), request.start))

    def _chosen(self, request: Request, photo: Image | None) -> Plan:
        if photo is None:
            return with_steps(self.own_plan, request.steps, times_for)
        choice = automatic_start(photo)
        steps = request.steps or choice.steps
        reason = f"start {choice.start}, {steps} step{'s' if steps > 1 else ''}: {choice.reason}"
        return replace(self.own_plan, times=times_for(steps, choice.start), reason=reason)

    def build(self, prior: str | Prior, device: Device = None) -> Restorer:
        """Return the restorer on any prior, with the published prompt where the prior understands it.

        The predictor begins as plain noise, whatever the photo: its last layer is zero. The rest is the same each time.
        Deviation: the published one begins at random.
        """
        prior = load_prior(prior, device=device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            predictor = NoisePredictor(**asdict(self.predictor), latent_channels=prior.channels)
        for parameter in predictor.conv_out.parameters():
            nn.init.zeros_(parameter)
        predictor.to(prior.device)
        said = prompts_of(PROMPTS, prior.text.vocabulary)
        conditioner = PromptConditioner()
        modules = nn.ModuleDict({PART: predictor})
        if self.photo_token:
            prior = prior.adapted(network=share_weights(prior.unet))
            conditioner, added = told_photo(prior)
            modules.update(added)
        restorer = Restorer(
            prior=prior,
            parts=Parts(
                conditioner=conditioner,
                start=PredictedNoise(predictor, prior),
                modules=modules,
                prompt=said.positive,
                negative_prompt=said.negative,
            ),
        )
        return decoded(restorer, self.decoder)


@dataclass(frozen=True, slots=True)
class PredictedNoise:
    """Starts with the LQ latent, noised up to the start's time by the noise predicted for its photo."""

    predictor: NoisePredictor
    prior: Prior

    def __call__(
        self, schedule: NoiseSchedule, encoded: EncodedLq, t: int | Time, noise: Callable[[], Latent]
    ) -> Latent:
        photo = reduced(encoded.lq_image, self.prior.factor // HALVING).to(encoded.latent)
        with self.prior.precision():
            predicted = self.predictor(photo, t)
        return schedule.noisy(encoded.latent, predicted.sample(noise()), t)


def reduced(lq_image: LqImage, divisor: int) -> Image:
    """Return this part of the photo with its canvas divided: the pixels as given, where that is how it was enlarged.

    Sizes round up, so that the last pixel may be stretched over up to one more.
    """
    height, width = (-(-side // divisor) for side in lq_image.size)
    region = latent_region(lq_image.region, divisor)
    multiple = lq_image.multiple // divisor
    small = replace(lq_image, size=(height, width), multiple=multiple, region=region, kernel=KEYS, clamped=True)
    return small.enlarged()


@dataclass(frozen=True, slots=True)
class TokenConditioner:
    """Tells a prompt, and a token of the photo."""

    encoder: ImageEncoder
    image_prompt: ImagePrompt

    def __call__(self, prior: Prior, photo: Looking, latent: Latent) -> PromptedCondition:
        with prior.precision():
            with torch.no_grad():
                embedding = self.encoder(photo.enlarged().to(prior.device))
            tokens = self.image_prompt(embedding)
        return lambda prompt: Condition(prompt=prior.embed(prompt), tokens=tokens)


def told_photo(prior: Prior) -> tuple[Conditioner, dict[str, nn.Module]]:
    """Let the prior's UNet attend to a token of the photo; return what tells it, and the modules that learn to."""
    encoder = prior.image
    if encoder is None:
        raise InputError(
            f"photo_token needs an image encoder, which prior (={prior.name}) lacks; add one to its folder."
        )
    hybrid = HybridAttention(prior.unet, HybridSettings(image="shared", positional=False, transposed=False))
    hybrid.attach(prior.unet)
    image_prompt = ImagePrompt(encoder.width, prior.unet.config["cross_attention_dim"]).to(prior.device)

    return TokenConditioner(encoder, image_prompt), {"hybrid": hybrid, "image_prompt": image_prompt}
