"""A one-step restorer as three modules of tensors alone, which can be exported as graphs."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sdsr.errors import InputError
from sdsr.prior.condition import Condition
from sdsr.prior.prior import Prior
from sdsr.prior.small import WINDOW_CELLS, SmallLatents
from sdsr.restoration.plan import Plan
from sdsr.restoration.prompting import FixedPromptConditioner
from sdsr.restoration.restorer import Restorer, from_photo


@runtime_checkable
class ExportableDecoder(Protocol):
    """A method's own decoder that can be a graph."""

    @property
    def halo_px(self) -> int:
        """Pixels around a decoded one that it looks at."""
        ...

    def as_module(self) -> nn.Module:
        """Return it as latent, enlarged photo and fidelity (a number) -> image."""
        ...

    def as_detailed_module(self) -> nn.Module:
        """Return what it is at fidelity 0 as latent and enlarged photo -> image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedParts:
    """The modules, by name, and how much context (in cells) each part needs that is encoded or decoded on its own.

    `decode_detailed`: what `decode` is at fidelity 0, where it is guided.
    """

    encode: nn.Module
    denoise: nn.Module
    decode: nn.Module
    decode_detailed: nn.Module | None
    encode_cells: int
    encode_margin: int
    decode_margin: int

    @property
    def guided(self) -> bool:
        """Whether the decoder looks at the enlarged photo, too."""
        return self.decode_detailed is not None


class Encode(nn.Module):
    """image (1, 3, H, W) in [0, 1] -> latent."""

    def __init__(self, latents: SmallLatents) -> None:
        super().__init__()
        self.latents = latents
        self.autoencoder = latents.model

    def forward(self, image: Tensor) -> Tensor:
        return self.latents.encode(image)


class Denoise(nn.Module):
    """noisy (1, c, h, w) -> clean, at one time and under one prompt.

    The clean estimate is linear in what the network predicts and in the noisy latent, whatever it predicts.
    """

    def __init__(self, prior: Prior, time: int, condition: Condition) -> None:
        super().__init__()
        self.network = prior.network
        self.backbone = prior.backbone
        schedule = prior.schedule
        zero = torch.zeros(1, 1, 1, 1)
        one = torch.ones(1, 1, 1, 1)
        self.register_buffer("prompt", condition.prompt.detach().clone())
        self.register_buffer("timestep", schedule.curves.timestep(time).float())
        self.register_buffer("of_noisy", schedule.clean(zero, one, time))
        self.register_buffer("of_prediction", schedule.clean(one, zero, time))

    def forward(self, noisy: Tensor) -> Tensor:
        condition = Condition(prompt=self.get_buffer("prompt"))
        prediction = self.backbone.predict(noisy, self.get_buffer("timestep"), condition)
        return self.get_buffer("of_noisy") * noisy + self.get_buffer("of_prediction") * prediction


class Decode(nn.Module):
    """latent -> image (about [0, 1], not clamped), by the prior's own decoder."""

    def __init__(self, autoencoder: SmallLatents) -> None:
        super().__init__()
        self.autoencoder = autoencoder.model

    def forward(self, latent: Tensor) -> Tensor:
        return self.autoencoder.decode(latent)


def parts_of(restorer: Restorer, plan: Plan, name: str) -> ExportedParts:
    """Return what a restorer does as modules; raise InputError for one that does more than one step or looks twice."""
    parts = restorer.parts
    autoencoder = restorer.prior.autoencoder
    conditioner = parts.conditioner
    plain = parts.start is from_photo and parts.negative_prompt is None and plan.refinement is None
    if len(plan.times) != 1 or not plain or not isinstance(conditioner, FixedPromptConditioner):
        raise InputError(
            f"model (={name}) can't be exported as graphs: only methods of one step from the photo, under a learned "
            "prompt, can; export d3sr-small, or restore with torch."
        )
    if not isinstance(autoencoder, SmallLatents) or not isinstance(parts.decoder, ExportableDecoder | None):
        raise InputError(
            f"prior (={restorer.prior.name}) of {name} can't be exported as graphs: only a small one, whose encoder "
            "and decoder look a few cells around, can; restore with torch."
        )
    model = autoencoder.model
    decoder = parts.decoder
    condition = Condition(prompt=conditioner.prompt.tokens)
    halo_px = model.halo_px if decoder is None else decoder.halo_px
    return ExportedParts(
        encode=Encode(autoencoder),
        denoise=Denoise(restorer.prior, plan.times[0], condition),
        decode=Decode(autoencoder) if decoder is None else decoder.as_module(),
        decode_detailed=None if decoder is None else decoder.as_detailed_module(),
        encode_cells=WINDOW_CELLS,
        encode_margin=autoencoder.encoder_margin,
        decode_margin=-(-halo_px // autoencoder.factor),
    )
